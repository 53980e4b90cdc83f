use super::{SpoolSettings, mongodb::MongoDbSettings, rabbitmq::RabbitMqSettings};
use crate::model::{ByteSize, Redact, Span};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// `call_log`: what is kept of every call, and where.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "CallLog")]
pub struct Settings {
    /// Whether a log of the calls is kept at all.
    pub enabled: bool,
    /// The file that it is kept in, unless `rabbitmq` or `mongodb` is given.
    pub sqlite: Sqlite,
    /// Records are published here, for the log keeper and whoever else listens.
    pub rabbitmq: Option<RabbitMqSettings>,
    /// Where the log keeper stores them; without `rabbitmq` they are stored there straight away.
    pub mongodb: Option<MongoDbSettings>,
    /// Whether `rowcall run` is a log keeper too; others are `rowcall log-keeper`.
    pub keeper: bool,
    /// Where records wait on disk while they cannot be sent; without it they wait in memory only.
    pub spool: Option<SpoolSettings>,
    /// A change counts as done only once the records of its calls are durable here or at the broker.
    pub required: bool,
    /// How much of a body is kept.
    pub body_limit: ByteSize,
    /// What a record must not hold.
    pub redact: Redact,
    /// Seals bodies before they leave the process.
    pub encrypt: Option<Encrypt>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            sqlite: Sqlite::default(),
            rabbitmq: None,
            mongodb: None,
            keeper: true,
            spool: None,
            required: false,
            body_limit: ByteSize(16 << 10),
            redact: Redact::default(),
            encrypt: None,
        }
    }
}

/// `call_log.sqlite`: one file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sqlite {
    /// Below the folder of the configuration file, unless it begins with `/`.
    pub path: PathBuf,
    /// How long a record is kept.
    pub keep: Span,
}

impl Default for Sqlite {
    fn default() -> Self {
        Self { path: "rowcall-calls.db".into(), keep: Span(Duration::from_secs(30 * 86_400)) }
    }
}

/// `call_log.encrypt`: AES-256-GCM.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encrypt {
    /// 32 bytes in Base64 or hexadecimal digits: `openssl rand -base64 32` makes one.
    #[schemars(with = "String", extend("writeOnly" = true))]
    #[serde(serialize_with = "crate::model::masked")]
    pub key: SecretString,
    /// Former keys, by which older records are still read.
    #[serde(default, serialize_with = "crate::model::masked_all")]
    #[schemars(with = "Vec<String>", extend("writeOnly" = true))]
    pub former: Vec<SecretString>,
}
