use crate::model::Span;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `call_log.mongodb`: the database that records are kept in.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MongoDb")]
pub struct MongoDbSettings {
    /// `mongodb://user:password@host:27017/?replicaSet=…`, or `mongodb+srv://…`, with the options that
    /// MongoDB knows there; `tls=true` and `tlsCAFile` for TLS.
    #[serde(serialize_with = "crate::model::masked")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub url: SecretString,
    /// The database.
    #[serde(default = "database")]
    pub database: String,
    /// The collection.
    #[serde(default = "collection")]
    pub collection: String,
    /// How long a record is kept; the server forgets it by itself then.
    #[serde(default = "keep")]
    pub keep: Span,
}

impl MongoDbSettings {
    /// The usual names behind this URL.
    pub fn at(url: SecretString) -> Self {
        Self { url, database: database(), collection: collection(), keep: keep() }
    }
}

fn database() -> String {
    "rowcall".to_owned()
}

fn collection() -> String {
    "call_log".to_owned()
}

/// A year, and time to look for what happened a year ago.
fn keep() -> Span {
    Span(Duration::from_secs(400 * 86_400))
}
