//! How the server is reached, and the indexes that searching and forgetting need.

use super::MongoDbSettings;
use crate::model::Span;
use ::mongodb::{
    Collection, IndexModel,
    bson::{Document, doc},
    error::{Error, ErrorKind},
    options::{Acknowledgment, ClientOptions, IndexOptions, WriteConcern},
};
use secrecy::ExposeSecret;
use std::time::Duration;

const REACHING: Duration = Duration::from_secs(5);
const TTL: &str = "rowcall_keep";

/// What the URL says, and what storing durably takes.
pub(super) async fn options(settings: &MongoDbSettings) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::parse(settings.url.expose_secret()).await?;
    options.app_name.get_or_insert_with(|| "rowcall".to_owned());
    options.server_selection_timeout.get_or_insert(REACHING);
    options.connect_timeout.get_or_insert(REACHING);
    // Some that speak MongoDB's language cannot, and say so in the URL.
    options.retry_writes.get_or_insert(true);
    // The journal as well: a server without replicas counts as a majority before anything is on disk.
    let concern = WriteConcern::builder().w(Acknowledgment::Majority).journal(true);
    options.write_concern = Some(concern.w_timeout(Duration::from_secs(10)).build());
    Ok(options)
}

/// Makes what is missing; those that are there already cost a question.
///
/// Each ends in what results are ordered by, so that a page is read from the index alone.
pub(super) async fn index(collection: &Collection<Document>, keep: Span) -> Result<(), Error> {
    let by = |mut keys: Document, name: &str| {
        keys.extend(super::query::newest_first());
        // Most records have neither, and are not in these.
        let only = matches!(name, "class" | "run").then(|| doc! { name: { "$exists": true } });
        let options = IndexOptions::builder().name(format!("rowcall_{name}")).partial_filter_expression(only);
        IndexModel::builder().keys(keys).options(options.build()).build()
    };
    let search = [
        by(doc! {}, "time"),
        by(doc! { "entity": 1, "keys": 1 }, "entity_key"),
        by(doc! { "keys": 1 }, "key"),
        by(doc! { "route": 1 }, "route"),
        by(doc! { "response.status": 1 }, "status"),
        by(doc! { "class": 1 }, "class"),
        by(doc! { "changes": 1 }, "change"),
        by(doc! { "run": 1 }, "run"),
    ];
    collection.create_indexes(search).await?;
    forget(collection, keep).await
}

/// The server forgets what is older than `keep`; one that was made with another time is altered.
async fn forget(collection: &Collection<Document>, keep: Span) -> Result<(), Error> {
    let seconds = i32::try_from(keep.0.as_secs()).unwrap_or(i32::MAX);
    let options = IndexOptions::builder()
        .name(TTL.to_owned())
        .expire_after(Duration::from_secs(seconds.unsigned_abs().into()))
        .build();
    let index = IndexModel::builder().keys(doc! { "at": 1 }).options(options).build();
    match collection.create_index(index).await {
        Err(error) if is_conflict(&error) => {
            let change = doc! {
                "collMod": collection.name(),
                "index": { "name": TTL, "expireAfterSeconds": seconds },
            };
            let namespace = collection.namespace();
            collection.client().database(&namespace.db).run_command(change).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// `IndexOptionsConflict` or `IndexKeySpecsConflict`.
fn is_conflict(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 85 | 86))
}
