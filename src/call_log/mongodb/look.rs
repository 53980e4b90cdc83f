//! Whether the database can be reached and written to, found out without writing anything.

use super::{ANSWERING, MongoCallLog, in_time};
use crate::call_log::CallLogError;
use ::mongodb::{
    bson::{Bson, doc},
    error::{ErrorKind, WriteFailure},
    options::{ConnectionString, HostInfo},
};
use secrecy::ExposeSecret;

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
