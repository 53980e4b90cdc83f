//! Who may in, and whom we trust.

use super::record;
use crate::harness::{MongoDb, certificates::Certificates, mongodb::WRITER, wait::LONG};
use rowcall::call_log::{
    CallLogError, CallLogStore,
    mongodb::{MongoCallLog, MongoDbSettings},
};
use tokio::time::timeout;

fn store(url: &str) -> MongoCallLog {
    // What cannot work is not to be waited for long.
    let url = url.replace("/?", "/?serverSelectionTimeoutMS=3000&");
    MongoCallLog::new(&MongoDbSettings::at(url.into())).expect("a store")
}

async fn refused(url: &str) -> CallLogError {
    let error = timeout(LONG, store(url).store(&[record(9)])).await.expect("in time");
    let error = error.expect_err("not to be let in");
    assert!(
        !format!("{error} {error:?}").contains("p@ss") && !error.to_string().contains("p%40ss"),
        "{error}"
    );
    error
}

async fn works(mongodb: &MongoDb) {
    let store = store(&mongodb.url());
    store.try_write().await.expect("to be allowed to write");
    let collection = mongodb.collection("rowcall", "call_log").await;
    let names = collection.client().database("rowcall").list_collection_names().await.expect("a list");
    assert!(names.is_empty(), "trying makes nothing: {names:?}");
    // `readWrite` is enough for the indexes too.
    assert_eq!(store.store(&[record(1), record(2)]).await.expect("to store"), []);
    store.try_write().await.expect("to be allowed to write");
    assert_eq!(store.get(&record(1).id).await.expect("an answer"), Some(record(1)));
    assert_eq!(collection.count_documents(mongodb::bson::doc! {}).await.expect("a number"), 2);
    assert!(
        !store.place().contains('@') && store.place().ends_with(", rowcall.call_log"),
        "{}",
        store.place()
    );
}

#[tokio::test]
async fn mongodb_wants_a_user_and_a_password() {
    let mongodb = MongoDb::guarded(false).await;
    works(&mongodb).await;
    let error = refused(&mongodb.url_of("writer:wrong-p%40ss@")).await;
    assert!(error.lasting && error.to_string().contains("Authentication failed"), "{error}");
    let error = refused(&mongodb.url_of("")).await;
    assert!(error.to_string().contains("requires authentication"), "{error}");
    // It may write into another database only.
    let elsewhere =
        MongoDbSettings { database: "other".to_owned(), ..MongoDbSettings::at(mongodb.url().into()) };
    let elsewhere = MongoCallLog::new(&elsewhere).expect("a store");
    let error = elsewhere.try_write().await.expect_err("not to be allowed");
    assert!(error.to_string().contains("not authorized on other"), "{error}");
}

#[tokio::test]
async fn mongodb_is_trusted_by_its_certificate() {
    let mongodb = MongoDb::guarded(true).await;
    works(&mongodb).await;
    let url = mongodb.url_of(&format!("{WRITER}@"));
    let (before, _) = url.split_once("&tlsCAFile=").expect("an authority");
    let others = Certificates::new();
    let other = format!("{before}&tlsCAFile={}", others.path().display());
    for (url, says) in [(other.as_str(), "certificate"), (before, "certificate")] {
        let error = refused(url).await;
        assert!(error.to_string().contains(says), "{url}: {error}");
    }
    // Without TLS it does not even answer.
    refused(
        &url.replace("&tls=true", "&tls=false")
            .replace(&format!("&tlsCAFile={}", url.split_once("&tlsCAFile=").expect("it").1), ""),
    )
    .await;
    // A certificate is for a name.
    refused(&url.replace("@localhost:", "@127.0.0.1:").replace("replicaSet=rs", "directConnection=true"))
        .await;
}
