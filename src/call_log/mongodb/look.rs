//! Looking: at whether the database can be reached and written to, without writing anything; and how far a
//! search may look that no index helps.

use super::{ANSWERING, MongoCallLog, document, in_time, query};
use crate::call_log::{CallLogError, CallQuery, RecordId};
use ::mongodb::{
    Collection,
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind, WriteFailure},
    options::{ConnectionString, HostInfo},
};
use jiff::Timestamp;
use secrecy::ExposeSecret;

/// The last record that may be looked at, if there are more: only a text has to be looked for.
pub(super) async fn last_of(
    collection: &Collection<Document>,
    query: &CallQuery,
) -> Result<Option<(Timestamp, RecordId)>, Error> {
    let (Some(_), Some(look)) = (&query.text, query.look) else { return Ok(None) };
    let all = query::filter(&CallQuery { text: None, ..query.clone() });
    let times = doc! { "at": 1, "at_ns": 1 };
    let last = collection.find_one(all).sort(query::newest_first()).skip(look.saturating_sub(1) as u64);
    last.projection(times).await?.map(document::place).transpose()
}

impl MongoCallLog {
    /// Fails where a record could not be stored now. No document may have a list for its `_id`: the server
    /// looks whether we may insert at all, and refuses this one.
    pub async fn try_write(&self) -> Result<(), CallLogError> {
        const DOING: &str = "trying to write to MongoDB";
        let collection = self.collection().await?;
        let trying = async {
            match collection.insert_one(doc! { "_id": Bson::Array(Vec::new()) }).await {
                Err(error) if matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(_))) => Ok(()),
                Err(error) => Err(self.failed(DOING, &error)),
                // Of something that only speaks MongoDB's language.
                Ok(_) => {
                    let gone = collection.delete_one(doc! { "_id": Bson::Array(Vec::new()) }).await;
                    gone.map(drop).map_err(|error| self.failed(DOING, &error))
                }
            }
        };
        in_time(ANSWERING, DOING, trying).await
    }

    /// Where it is, without credentials: `host:27017, rowcall.call_log`.
    pub fn place(&self) -> String {
        let hosts = match ConnectionString::parse(self.settings.url.expose_secret()).map(|it| it.host_info) {
            Ok(HostInfo::HostIdentifiers(hosts)) => {
                hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            }
            Ok(HostInfo::DnsRecord(name)) => name,
            _ => "?".to_owned(),
        };
        format!("{hosts}, {}.{}", self.settings.database, self.settings.collection)
    }
}
