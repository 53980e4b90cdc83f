//! What MongoDB's store promises beyond the port.

use super::record;
use crate::harness::{MongoDb, wait::LONG};
use ::mongodb::{
    Collection, IndexModel,
    bson::{Bson, Document, doc},
};
use futures_util::TryStreamExt;
use rowcall::{
    call_log::{
        CallLogStore, CallQuery,
        mongodb::{MongoCallLog, MongoDbSettings},
    },
    model::Span,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

fn settings(url: String) -> MongoDbSettings {
    MongoDbSettings::at(url.into())
}

async fn indexes(collection: &Collection<Document>) -> BTreeMap<String, IndexModel> {
    let all: Vec<IndexModel> =
        collection.list_indexes().await.expect("a list").try_collect().await.expect("a list");
    let name = |it: &IndexModel| it.options.as_ref().and_then(|it| it.name.clone()).expect("a name");
    all.into_iter().map(|it| (name(&it), it)).collect()
}

#[tokio::test]
async fn documents_are_for_people_too_and_are_forgotten_when_configured() {
    let mongodb = MongoDb::start().await;
    let collection = mongodb.collection("rowcall", "call_log").await;
    let expiry = async || {
        let all = indexes(&collection).await;
        let ttl = all["rowcall_keep"].options.clone().expect("options");
        (all.len(), ttl.expire_after.map(|it| it.as_secs()))
    };
    let store = MongoCallLog::new(&settings(mongodb.url())).expect("a store");
    store.store(&[record(1)]).await.expect("to store");
    assert_eq!(expiry().await, (10, Some(400 * 86_400)));
    let document = collection.find_one(doc! { "keys": "1" }).await.expect("an answer").expect("a document");
    let (first, id) = document.iter().next().expect("a field");
    assert_eq!((first.as_str(), id.as_str()), ("_id", Some(&*record(1).id.0)));
    assert!(matches!(document.get("at"), Some(Bson::DateTime(_))), "{document}");
    assert!(!document.contains_key("id"));

    // As it was, then with another time, and again.
    for (keep, seconds) in
        [("400d", 400 * 86_400), ("30d", 30 * 86_400), ("90000d", i32::MAX as u64), ("1h", 3_600)]
    {
        let keep: Span = keep.parse().expect("a time");
        let store = MongoCallLog::new(&MongoDbSettings { keep, ..settings(mongodb.url()) }).expect("a store");
        store.store(&[record(1), record(2)]).await.expect("to store");
        assert_eq!(expiry().await, (10, Some(seconds)));
    }
}

#[tokio::test]
async fn pages_are_read_from_an_index() {
    let mongodb = MongoDb::start().await;
    let store = MongoCallLog::new(&settings(mongodb.url())).expect("a store");
    store.store(&(0..100).map(record).collect::<Vec<_>>()).await.expect("to store");
    let collection = mongodb.collection("rowcall", "call_log").await;
    let database = collection.client().database("rowcall");
    for filter in [
        doc! { "entity": "loan", "keys": "7" },
        doc! { "keys": "7" },
        doc! { "route": "loan@lender" },
        doc! { "changes": "0/7-0" },
        doc! { "run": 7 },
        doc! { "class": "timeout" },
        doc! {},
    ] {
        let find = doc! { "find": "call_log", "filter": filter.clone(), "sort": { "at": -1, "at_ns": -1, "_id": -1 }, "limit": 10 };
        let plan = database
            .run_command(doc! { "explain": find, "verbosity": "queryPlanner" })
            .await
            .expect("a plan")
            .to_string();
        let winner = plan.split("\"rejectedPlans\"").next().unwrap_or_default();
        assert!(winner.contains("IXSCAN") && !winner.contains("\"SORT\""), "{filter}: {winner}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_in_time_and_no_more_than_that() {
    let mut mongodb = MongoDb::start().await;
    let store = MongoCallLog::new(&settings(mongodb.url().replace("?", "?serverSelectionTimeoutMS=500&")))
        .expect("a store");
    mongodb.stop();
    // Also before it was ever there.
    let error = timeout(LONG, store.store(&[record(1)])).await.expect("in time").expect_err("it is away");
    assert!(!error.lasting, "{error}");
    mongodb.start_again().await;
    store.store(&[record(1)]).await.expect("to store");
    mongodb.kill();
    timeout(LONG, store.store(&[record(2)])).await.expect("in time").expect_err("it is away");
    timeout(LONG, store.find(&CallQuery { limit: 9, ..CallQuery::default() }))
        .await
        .expect("in time")
        .expect_err("it is away");
    mongodb.start_again().await;
    store.store(&[record(1), record(2)]).await.expect("to store");
    let found = store.find(&CallQuery { limit: 9, ..CallQuery::default() }).await.expect("an answer");
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_without_its_credentials() {
    let url = "mongodb://planted-user:planted-password@127.0.0.1:1/?serverSelectionTimeoutMS=50".to_owned();
    let store = MongoCallLog::new(&settings(url)).expect("a store");
    let error = timeout(Duration::from_secs(60), store.store(&[record(1)]))
        .await
        .expect("in time")
        .expect_err("nobody is there");
    assert!(!format!("{error} {error:?}").contains("planted"), "{error:?}");
}
