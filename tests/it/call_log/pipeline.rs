//! All of it: out of the process, through RabbitMQ, by keepers, into MongoDB.

use super::{at, keeper::Working, lines};
use crate::harness::{MongoDb, RabbitMq, eventually, wait::LONG};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use rowcall::call_log::{
    Outlet,
    mongodb::{MongoCallLog, MongoDbSettings},
    rabbitmq::{RabbitMqSettings, RabbitOutlet},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};
use tokio::{task::JoinSet, time::Instant};

const QUEUE: &str = "rowcall.call_log.keeper";

fn store(mongodb: &MongoDb) -> Arc<MongoCallLog> {
    Arc::new(MongoCallLog::new(&MongoDbSettings::at(mongodb.url().into())).expect("a store"))
}

async fn ids(mongodb: &MongoDb) -> Vec<String> {
    let collection = mongodb.collection("rowcall", "call_log").await;
    let found = collection.find(doc! {}).projection(doc! { "_id": 1 }).await.expect("an answer");
    let found: Vec<Document> = found.try_collect().await.expect("all ids");
    found.iter().map(|it| it.get_str("_id").expect("a text").to_owned()).collect()
}

fn sent(count: u32) -> BTreeSet<String> {
    lines(0..count).iter().map(|it| it.id().to_string()).collect()
}

/// Sends records until it is told to stop, as the spool would: what failed comes again.
struct Load {
    sent: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    task: JoinSet<u32>,
}

impl Load {
    fn start(settings: &RabbitMqSettings) -> Self {
        let mut outlet = RabbitOutlet::new(settings).expect("an outlet");
        let (sent, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, told) = (sent.clone(), stop.clone());
        let sending = async move {
            let mut next = 0;
            while !told.load(SeqCst) {
                let batch = lines(next..next + 20);
                while outlet.send(&batch).await.is_err() {}
                next += 20;
                counted.store(next, SeqCst);
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            next
        };
        Self { sent, stop, task: JoinSet::from_iter([sending]) }
    }

    /// Waits until so many more were confirmed.
    async fn more(&self, count: u32) {
        let enough = self.sent.load(SeqCst) + count;
        eventually("records are confirmed", LONG, async || match self.sent.load(SeqCst) {
            seen if seen >= enough => Ok(()),
            seen => Err(seen),
        })
        .await;
    }

    async fn end(mut self) -> u32 {
        self.stop.store(true, SeqCst);
        self.task.join_next().await.expect("it sends").expect("it did not panic")
    }
}

#[tokio::test]
async fn whoever_is_killed_under_load_every_record_is_stored_once() {
    let (mut rabbit, mut mongodb) = tokio::join!(RabbitMq::start(), MongoDb::start());
    let settings = at(&rabbit.url());
    let store = store(&mongodb);
    let mut keepers = [(); 2].map(|()| Working::start(&settings, store.clone()));
    let load = Load::start(&settings);
    load.more(200).await;

    // In its own way first: see `kill`.
    rabbit.stop();
    rabbit.start_again().await;
    load.more(200).await;
    rabbit.kill();
    rabbit.start_again().await;
    load.more(200).await;

    mongodb.kill();
    load.more(200).await;
    mongodb.start_again().await;
    load.more(200).await;

    // One dies and comes again; then both.
    keepers[0] = Working::start(&settings, store.clone());
    load.more(200).await;
    keepers = [(); 2].map(|()| Working::start(&settings, store.clone()));
    load.more(200).await;

    rabbit.stop();
    mongodb.stop();
    mongodb.start_again().await;
    rabbit.start_again().await;
    load.more(200).await;

    let count = load.end().await;
    let expected = sent(count);
    let stored = eventually("everything is stored", LONG, async || {
        let stored = ids(&mongodb).await;
        if stored.len() == expected.len() { Ok(stored) } else { Err((stored.len(), expected.len())) }
    })
    .await;
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), expected);
    eventually("nothing is left in the queue", LONG, async || match rabbit.depth(QUEUE).await {
        Some(0) => Ok(()),
        seen => Err(seen),
    })
    .await;
    for keeper in keepers {
        keeper.stop().await;
    }
    assert_eq!(rabbit.depth("rowcall.call_log.dead").await, Some(0));
}

/// `cargo nextest run --release --run-ignored only -E 'test(records_a_second)' --no-capture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn records_a_second() {
    const COUNT: u32 = 50_000;
    let (rabbit, mongodb) = tokio::join!(RabbitMq::start(), MongoDb::start());
    for batch in [1, 50] {
        let settings = RabbitMqSettings { batch: batch.try_into().expect("not zero"), ..at(&rabbit.url()) };
        let mut outlet = RabbitOutlet::new(&settings).expect("an outlet");
        let all = lines(0..COUNT);
        outlet.send(&Arc::from(&all[..1])).await.expect("to send");
        let begun = Instant::now();
        for part in all.chunks(2_000) {
            outlet.send(&Arc::from(part)).await.expect("to send");
        }
        let sent = begun.elapsed();
        let begun = Instant::now();
        let keeper = Working::start(&settings, store(&mongodb));
        eventually("everything is stored", LONG, async || match keeper.counts.stored() {
            seen if seen > u64::from(COUNT) => Ok(()),
            seen => Err(seen),
        })
        .await;
        let kept = begun.elapsed();
        keeper.stop().await;
        let rate = |took: std::time::Duration| f64::from(COUNT) / took.as_secs_f64();
        eprintln!("{batch} a message: sent {:.0}/s, kept {:.0}/s", rate(sent), rate(kept));
        mongodb.collection("rowcall", "call_log").await.delete_many(doc! {}).await.expect("to delete");
        let begun = Instant::now();
        let keeper = Working::start(&settings, store(&mongodb));
        for part in all.chunks(2_000) {
            outlet.send(&Arc::from(part)).await.expect("to send");
        }
        eventually("everything is stored", LONG, async || match keeper.counts.stored() {
            seen if seen >= u64::from(COUNT) => Ok(()),
            seen => Err(seen),
        })
        .await;
        eprintln!("{batch} a message, both at once: {:.0}/s", rate(begun.elapsed()));
        keeper.stop().await;
        mongodb.collection("rowcall", "call_log").await.delete_many(doc! {}).await.expect("to delete");
    }
}
