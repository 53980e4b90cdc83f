//! Records in MongoDB: one document each, `_id` being the record's id.
//!
//! Upholds invariant 6: a batch counts as stored when all of it was written to a majority and its
//! journal, or was there already; a record that comes again stays as it is.
//!
//! A document is the record as its schema says, but for the time: `at` is a date, which has
//! milliseconds, and `at_ns` the nanoseconds below. What no document can hold is cut (see
//! `document.rs`).

mod document;
mod look;
mod query;
mod refusal;
mod settings;
mod setup;

pub use settings::MongoDbSettings;

use super::{CallLogError, CallLogStore, CallQuery, CallRecord, Found, RecordId, Refused};
use ::mongodb::{
    Client, Collection,
    bson::{Document, RawDocumentBuf, doc},
    error::{Error, ErrorKind},
    options::ConnectionString,
};
use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use refusal::Verdict;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::{sync::OnceCell, time::timeout};

/// A server that says nothing for so long has gone.
const ANSWERING: Duration = Duration::from_secs(30);
/// A search for a text may have to read everything.
const SEARCHING: Duration = Duration::from_secs(600);
const LONGEST_MESSAGE: usize = 400;

/// The call log in MongoDB.
pub struct MongoCallLog {
    settings: MongoDbSettings,
    /// Made when it is used first: the server may be away when we start.
    collection: OnceCell<Collection<Document>>,
    /// Whether the indexes are there. Who only looks may not be allowed to make them.
    indexed: OnceCell<()>,
}

impl MongoCallLog {
    /// A store with these settings. It connects when it is used.
    pub fn new(settings: &MongoDbSettings) -> Result<Self, CallLogError> {
        const DOING: &str = "reading the settings of MongoDB";
        let wrong = |message: String| CallLogError { doing: DOING, message, lasting: true };
        ConnectionString::parse(settings.url.expose_secret()).map_err(|error| {
            wrong(format!("`url` cannot be used: {}", without_credentials(&settings.url, &error.to_string())))
        })?;
        for (key, name) in [("database", &settings.database), ("collection", &settings.collection)] {
            if name.is_empty()
                || name.contains(['$', '\0'])
                || key == "database" && name.contains(['.', '/', ' '])
            {
                return Err(wrong(format!("`{key}` is `{name}`, which is no name there")));
            }
        }
        Ok(Self { settings: settings.clone(), collection: OnceCell::new(), indexed: OnceCell::new() })
    }

    async fn collection(&self) -> Result<&Collection<Document>, CallLogError> {
        const DOING: &str = "connecting to MongoDB";
        let making = self.collection.get_or_try_init(async || {
            let client = setup::options(&self.settings).await.and_then(Client::with_options);
            let client = client.map_err(|error| self.failed(DOING, &error))?;
            Ok(client.database(&self.settings.database).collection(&self.settings.collection))
        });
        in_time(ANSWERING, DOING, making).await
    }

    /// The collection with its indexes.
    async fn indexed(&self) -> Result<&Collection<Document>, CallLogError> {
        const DOING: &str = "making the call log's indexes in MongoDB";
        let collection = self.collection().await?;
        let making = self.indexed.get_or_try_init(async || {
            let made = setup::index(collection, self.settings.keep).await;
            made.map_err(|error| self.failed(DOING, &error))
        });
        // Of a collection that is large already they take as long as they take.
        in_time(SEARCHING, DOING, making).await?;
        Ok(collection)
    }

    fn failed(&self, doing: &'static str, error: &Error) -> CallLogError {
        let lasting = matches!(
            &*error.kind,
            ErrorKind::Authentication { .. }
                | ErrorKind::InvalidArgument { .. }
                | ErrorKind::InvalidTlsConfig { .. }
        );
        let message = match &*error.kind {
            // Not each of a thousand.
            ErrorKind::InsertMany(failed) => {
                let errors = failed.write_errors.iter().flatten();
                let errors = errors.filter(|it| matches!(refusal::of(it), Verdict::Fails));
                match (errors.clone().next(), &failed.write_concern_error) {
                    (Some(first), _) => format!("{} records, the first: {}", errors.count(), first.message),
                    (None, Some(concern)) => format!("not on a majority yet: {}", concern.message),
                    (None, None) => "it says no reason".to_owned(),
                }
            }
            _ => error.to_string(),
        };
        let message = crate::model::one_line(&message, LONGEST_MESSAGE);
        CallLogError { doing, message: without_credentials(&self.settings.url, &message), lasting }
    }
}

async fn in_time<T>(
    within: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, CallLogError>>,
) -> Result<T, CallLogError> {
    let late =
        |_| Err(CallLogError { doing, message: format!("no answer within {within:?}"), lasting: false });
    timeout(within, work).await.unwrap_or_else(late)
}

#[async_trait]
impl CallLogStore for MongoCallLog {
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError> {
        const DOING: &str = "storing records of calls in MongoDB";
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let collection = self.indexed().await?;
        let (mut documents, mut places, mut refused) =
            (Vec::with_capacity(records.len()), Vec::new(), Vec::new());
        for (at, record) in records.iter().enumerate() {
            match document::raw(record) {
                Ok(document) => {
                    documents.push(document);
                    places.push(at);
                }
                Err(reason) => refused.push(Refused { at, reason }),
            }
        }
        if documents.is_empty() {
            return Ok(refused);
        }
        let collection = collection.clone_with_type::<RawDocumentBuf>();
        let inserting = async {
            let Err(error) = collection.insert_many(documents).ordered(false).await else {
                return Ok(Vec::new());
            };
            refusal::all(&error).ok_or_else(|| self.failed(DOING, &error))
        };
        let by_server = in_time(ANSWERING, DOING, inserting).await?;
        refused
            .extend(by_server.into_iter().filter_map(|it| Some(Refused { at: *places.get(it.at)?, ..it })));
        Ok(refused)
    }

    async fn search(&self, query: &CallQuery) -> Result<Found, CallLogError> {
        const DOING: &str = "looking for calls in MongoDB";
        if query.limit == 0 {
            // To the server it means all.
            return Ok(Found::default());
        }
        let collection = self.collection().await?;
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let finding = async {
            let last = look::last_of(collection, query).await?;
            let mut filter = query::filter(query);
            if let Some(last) = &last {
                filter = doc! { "$and": [filter, query::down_to(last)] };
            }
            let found = collection.find(filter).sort(query::newest_first()).limit(limit).await?;
            let found: Vec<Document> = found.try_collect().await?;
            let found = found.into_iter().map(document::read).collect::<Result<Vec<_>, Error>>()?;
            let found = Found::of(found, query.limit);
            Ok(match last {
                Some(last) => found.cut(last, query.look.unwrap_or_default()),
                None => found,
            })
        };
        in_time(SEARCHING, DOING, async { finding.await.map_err(|error| self.failed(DOING, &error)) }).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError> {
        const DOING: &str = "looking for a call in MongoDB";
        let collection = self.collection().await?;
        let finding = async {
            let found = collection.find_one(doc! { "_id": &*id.0 }).await;
            found
                .and_then(|it| it.map(document::read).transpose())
                .map_err(|error| self.failed(DOING, &error))
        };
        in_time(ANSWERING, DOING, finding).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError> {
        const DOING: &str = "forgetting calls in MongoDB";
        let collection = self.collection().await?;
        let deleting = async {
            let deleted = collection.delete_many(query::begun_before(before)).await;
            deleted.map(|it| it.deleted_count).map_err(|error| self.failed(DOING, &error))
        };
        in_time(SEARCHING, DOING, deleting).await
    }
}

/// The text without what stands before the `@` of the URL, of which a message may quote a part.
fn without_credentials(url: &SecretString, text: &str) -> String {
    let url = url.expose_secret();
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let Some((credentials, _)) = behind.rsplit_once('@') else { return text.to_owned() };
    let mut text = text.replace(url, crate::model::MASK).replace(credentials, crate::model::MASK);
    for part in credentials.split([':', '/', '?', '@']).skip(1).filter(|it| !it.is_empty()) {
        text = text.replace(part, crate::model::MASK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "mongodb://user:hidden@",
            "mongodb://user:hidden%zz@h",
            "http://user:hidden@h",
            "mongodb://user:hidden:hidden@h",
            "mongodb://user:hidden@h/?w=%zz&x=hidden",
            "mongodb://user:hidden/hidden@h/?tls=perhaps",
        ] {
            let error = MongoCallLog::new(&MongoDbSettings::at(url.to_owned().into())).err().expect(url);
            assert!(error.lasting && !error.to_string().contains("hidden"), "{error}");
        }
        assert!(
            MongoCallLog::new(&MongoDbSettings::at("mongodb://u:p@h/?replicaSet=r".to_owned().into()))
                .is_ok()
        );
    }
}
