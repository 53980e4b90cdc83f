//! The log of calls in a storm: a broker and a store, each with a bad way before it, and what the records
//! that come to the store are held against: the requests that the remote saw.

use super::{storm::Storm, trouble::Part};
use crate::harness::{
    MongoDb, RabbitMq, eventually,
    proxy::{Proxy, Way},
    wait::LONG,
};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use rowcall::demo::Effect;
use std::collections::{BTreeMap, BTreeSet};

pub struct Log {
    rabbitmq: RabbitMq,
    mongodb: MongoDb,
    broker: Proxy,
    store: Proxy,
}

/// What is looked at of a record.
struct Stored {
    call_key: String,
    span: String,
    answered: bool,
}

impl Log {
    pub async fn start() -> Self {
        let (rabbitmq, mongodb) = tokio::join!(RabbitMq::start(), MongoDb::start());
        let broker = Proxy::before(rabbitmq.port()).await;
        let store = Proxy::before(mongodb.port()).await;
        Self { rabbitmq, mongodb, broker, store }
    }

    /// The store's driver would go straight to the server, if it were told of its replica set.
    pub fn configuration(&self, required: bool) -> String {
        format!(
            "call_log:\n  rabbitmq: {{ url: \"amqp://guest:guest@127.0.0.1:{}\" }}\n  \
             mongodb: {{ url: \"mongodb://127.0.0.1:{}/?directConnection=true\" }}\n  \
             spool: {{ path: spool }}\n  required: {required}\n",
            self.broker.port(),
            self.store.port()
        )
    }

    pub fn set(&self, part: Part, way: Way) {
        if part == Part::Broker { &self.broker } else { &self.store }.set(way);
    }

    pub fn open(&self) {
        self.broker.set(Way::Open);
        self.store.set(Way::Open);
    }

    pub async fn restart(&mut self, part: Part, crash: bool) {
        match (part, crash) {
            (Part::Broker, true) => self.rabbitmq.kill(),
            (Part::Broker, false) => self.rabbitmq.stop(),
            (_, true) => self.mongodb.kill(),
            (_, false) => self.mongodb.stop(),
        }
        match part {
            Part::Broker => self.rabbitmq.start_again().await,
            _ => self.mongodb.start_again().await,
        }
    }

    async fn records(&self) -> Vec<Stored> {
        let collection = self.mongodb.collection("rowcall", "call_log").await;
        let fields = doc! { "call_key": 1, "span": 1, "response.status": 1 };
        let found = collection.find(doc! {}).projection(fields).await.expect("an answer");
        let found: Vec<Document> = found.try_collect().await.expect("all records");
        let text = |it: &Document, name| it.get_str(name).expect("a text").to_owned();
        let stored = |it: &Document| Stored {
            call_key: text(it, "call_key"),
            span: text(it, "span"),
            answered: it.contains_key("response"),
        };
        found.iter().map(stored).collect()
    }
}

impl Storm<'_> {
    /// Of RabbitMQ 3.10 a quorum queue that was made just before its only node is killed has no leader
    /// afterwards: docs/call-log.md. An orderly end in between mends that.
    pub(super) async fn let_the_queues_be_made(&mut self) {
        let Some(log) = &mut self.log else { return };
        let service = self.world.rowcall.run();
        eventually("a record is stored", LONG, async || match log.records().await.len() {
            0 => Err(()),
            _ => Ok(()),
        })
        .await;
        service.sigterm();
        assert!(service.wait().await.success(), "{}", self.seed);
        log.restart(Part::Broker, false).await;
    }

    /// The service ended in order each time, and whoever else was killed: the requests that the remote saw
    /// and those in the store are the same. A request that never came to the remote may be in the store, but
    /// without an answer.
    pub async fn every_request_has_its_record(&self) {
        self.records_are(|stored, seen, wrong| {
            for span in seen.keys().filter(|span| !stored.contains_key(**span)) {
                wrong.push(format!("request {span} has no record"));
            }
        })
        .await;
    }

    /// It was also killed. Then a record may be lost, but not the last of a call that was applied.
    pub async fn every_applied_call_has_a_record(&self) {
        let journal = self.world.bank.journal();
        let applied: BTreeSet<&str> = journal
            .iter()
            .filter(|it| it.effect == Effect::Applied)
            .filter_map(|it| it.key.as_deref())
            .collect();
        self.records_are(|stored, _, wrong| {
            let kept: BTreeSet<&str> = stored.values().map(|it| &*it.call_key).collect();
            wrong.extend(applied.difference(&kept).map(|key| format!("call {key} has no record")));
        })
        .await;
    }

    /// What is still on its way comes, and then nothing is wrong with what is there.
    async fn records_are(
        &self,
        more: impl Fn(&BTreeMap<&str, &Stored>, &BTreeMap<&str, u32>, &mut Vec<String>),
    ) {
        let log = self.log.as_ref().expect("a log");
        let spans = self.world.bank.spans();
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        spans.iter().for_each(|span| *seen.entry(&**span).or_default() += 1);
        let service = self.world.rowcall.run();
        let counts =
            eventually(&format!("the records are those of the requests; {}", self.seed), LONG, async || {
                let records = log.records().await;
                let stored: BTreeMap<&str, &Stored> = records.iter().map(|it| (&*it.span, it)).collect();
                let mut wrong = Vec::new();
                if stored.len() < records.len() {
                    wrong.push(format!("{} requests have {} records", stored.len(), records.len()));
                }
                for record in records.iter().filter(|it| it.answered && !seen.contains_key(&*it.span)) {
                    wrong.push(format!("{} of {} was never sent", record.span, record.call_key));
                }
                for (span, times) in seen.iter().filter(|(_, times)| **times > 1) {
                    wrong.push(format!("{times} requests share the id of {span}"));
                }
                more(&stored, &seen, &mut wrong);
                if wrong.is_empty() { Ok((stored.len(), seen.len())) } else { Err(wrong) }
            })
            .await;
        eprintln!("{} requests, {counts:?} records and ids", spans.len());
        self.terminate(service).await;
    }
}
