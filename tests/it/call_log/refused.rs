//! A record that no store takes, and those beside it.

use super::{at, keeper::Working, line, record};
use crate::harness::{MongoDb, RabbitMq, eventually, wait::LONG};
use futures_util::future::OptionFuture;
use lapin::types::AMQPValue;
use mongodb::bson::doc;
use rowcall::call_log::{
    CallLogSink, CallLogStore, CallQuery, CallRecord, Content, Direct, Line, MemoryCallLog, Outlet, Pipeline,
    PipelineOptions, Prepare, Record, SqliteCallLog,
    mongodb::{MongoCallLog, MongoDbSettings},
    rabbitmq::{DEAD_REASON, RabbitOutlet},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const DEAD: &str = "rowcall.call_log.dead";

/// Larger than a document may be, though it has no body.
fn huge(number: u32) -> CallRecord {
    let headers = [("x-huge", &*"h".repeat(17 << 20))].into();
    CallRecord { request: Content { headers, ..Content::default() }, ..record(number) }
}

fn unwanted(number: u32) -> CallRecord {
    CallRecord { step: "unwanted".into(), ..record(number) }
}

/// A store that does not take `unwanted` records.
async fn choosy(mongodb: &MongoDb) -> Arc<MongoCallLog> {
    let collection = mongodb.collection("rowcall", "call_log").await;
    let options = doc! { "create": "call_log", "validator": { "step": { "$ne": "unwanted" } } };
    collection.client().database("rowcall").run_command(options).await.expect("a collection");
    Arc::new(MongoCallLog::new(&MongoDbSettings::at(mongodb.url().into())).expect("a store"))
}

async fn stored(store: &dyn CallLogStore) -> Vec<String> {
    let found = store.find(&CallQuery { limit: 1_000, ..CallQuery::default() }).await.expect("an answer");
    let mut ids: Vec<String> = found.iter().map(|it| it.keys[0].to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn through_the_broker_it_becomes_a_dead_letter_and_the_others_are_stored() {
    let (rabbit, mongodb) = tokio::join!(RabbitMq::start(), MongoDb::start());
    let (settings, store) = (at(&rabbit.url()), choosy(&mongodb).await);
    let mut outlet = RabbitOutlet::new(&settings).expect("an outlet");
    // All at hand before the keeper begins: they are one batch.
    let batch = [record(1), unwanted(2), record(3), huge(4), record(5), record(3)];
    outlet.send(&batch.each_ref().map(line).into()).await.expect("to send");
    let keeper = Working::start(&settings, store.clone());
    eventually("all are dealt with", LONG, async || match (keeper.counts.stored(), keeper.counts.dead()) {
        (4, 2) => Ok(()),
        seen => Err(seen),
    })
    .await;
    assert_eq!(stored(&*store).await, ["1", "3", "5"]);
    assert_eq!(keeper.counts.store_failures(), 0);
    let mut dead = BTreeMap::new();
    for _ in 0..2 {
        let letter = rabbit.take(DEAD).await.expect("a dead letter");
        let headers = letter.properties.headers().clone().expect("headers");
        let Some(AMQPValue::LongString(reason)) = headers.inner().get(DEAD_REASON) else {
            panic!("{headers:?}")
        };
        let whole: CallRecord = serde_json::from_slice(&letter.data).expect("the record");
        dead.insert(whole.keys[0].to_string(), (reason.to_string(), whole));
    }
    assert_eq!(dead["2"].1, unwanted(2));
    assert!(dead["2"].0.contains("Document failed validation (code 121)"), "{}", dead["2"].0);
    assert!(dead["4"].1 == huge(4));
    assert!(dead["4"].0.contains("16777216 at most"), "{}", dead["4"].0);
    // Which goes on.
    outlet.send(&[line(&record(6))].into()).await.expect("to send");
    eventually("it goes on", LONG, async || match stored(&*store).await {
        seen if seen.len() == 4 => Ok(()),
        seen => Err(seen),
    })
    .await;
    keeper.stop().await;
}

#[tokio::test]
async fn a_body_gives_way_to_what_a_document_must_have() {
    let mongodb = MongoDb::start().await;
    let store = choosy(&mongodb).await;
    let headers = [("x-large", &*"h".repeat(9 << 20))].into();
    let request = Content { headers, body: "b".repeat(8 << 20).into(), size: 8 << 20, base64: false };
    let large = CallRecord { request, ..record(1) };
    assert_eq!(store.store(std::slice::from_ref(&large)).await.expect("to store"), []);
    let kept = store.get(&large.id).await.expect("an answer").expect("a record").request;
    assert!(kept.headers == large.request.headers && kept.is_cut());
}

#[tokio::test]
async fn a_unique_index_of_somebody_else_refuses_and_says_so() {
    let mongodb = MongoDb::start().await;
    let store = choosy(&mongodb).await;
    let index = doc! { "createIndexes": "call_log", "indexes": [{ "key": { "url": 1 }, "name": "theirs", "unique": true }] };
    let collection = mongodb.collection("rowcall", "call_log").await;
    collection.client().database("rowcall").run_command(index).await.expect("an index");
    let same = CallRecord { url: record(1).url, ..record(2) };
    let refused = store.store(&[record(1), same, record(1), record(3)]).await.expect("an answer");
    let at: Vec<usize> = refused.iter().map(|it| it.at).collect();
    assert_eq!(at, [1], "what is there already under its id is no refusal: {refused:?}");
    assert!(refused[0].reason.contains("theirs"), "{refused:?}");
    assert_eq!(stored(&*store).await, ["1", "3"]);
}

/// Brings ten records, the fourth of which is not wanted, and says how many were sent and refused.
async fn piped(store: Arc<dyn CallLogStore>) -> (u64, u64) {
    let prepare: Prepare = Arc::new(|record: Record<'_>| Line::from(record));
    let pipeline = Pipeline::start(Box::new(Direct(store)), prepare, None, PipelineOptions::default());
    for number in 0..10 {
        OptionFuture::from(pipeline.write(if number == 3 { unwanted(number) } else { record(number) })).await;
    }
    let gauges = pipeline.close(LONG).await;
    assert_eq!((gauges.written, gauges.dropped, gauges.outlet), (10, 0, None));
    (gauges.sent, gauges.refused)
}

#[tokio::test]
async fn stored_straight_away_it_is_left_out_and_counted() {
    let mongodb = MongoDb::start().await;
    let store = choosy(&mongodb).await;
    assert_eq!(piped(store.clone()).await, (9, 1));
    assert_eq!(stored(&*store).await.len(), 9);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("calls.db");
    let store = Arc::new(SqliteCallLog::open(&path).expect("a store"));
    rusqlite::Connection::open(&path)
        .and_then(|it| {
            it.execute_batch(
                "create trigger choosy before insert on call when new.record like '%\"unwanted\"%'
                 begin select raise(abort, 'it is not wanted'); end",
            )
        })
        .expect("a trigger");
    let refused = store.store(&[record(100), unwanted(101), record(102)]).await.expect("an answer");
    assert_eq!((refused.len(), refused[0].at), (1, 1));
    assert!(refused[0].reason.contains("it is not wanted"), "{refused:?}");
    assert_eq!(piped(store.clone()).await, (9, 1));
    assert_eq!(stored(&*store).await.len(), 11);
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_nothing() {
    let store = Arc::new(MemoryCallLog::default());
    let bad = Line::new("2", "loans", "{}");
    let lines = [line(&record(1)), bad, line(&record(3))].into();
    let sent = tokio::time::timeout(Duration::from_secs(60), Direct(store.clone()).send(&lines)).await;
    let refused = sent.expect("in time").expect("to send");
    assert_eq!(refused.iter().map(|it| it.at).collect::<Vec<_>>(), [1]);
    assert_eq!(store.records().len(), 2);
}
