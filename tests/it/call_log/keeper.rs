//! The log keeper, with a store in memory: what it does with messages.

use super::{at, line, lines, record};
use crate::harness::{RabbitMq, eventually, wait::LONG};
use async_trait::async_trait;
use jiff::Timestamp;
use lapin::{BasicProperties, options::*, types::AMQPValue};
use rowcall::{
    call_log::{
        CallLogError, CallLogStore, CallQuery, CallRecord, Found, MemoryCallLog, Outlet, RecordId, Refused,
        rabbitmq::{DEAD_REASON, RabbitMqSettings, RabbitOutlet},
    },
    log_keeper::{Keeper, KeeperCounts},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

const QUEUE: &str = "rowcall.call_log.keeper";
const DEAD: &str = "rowcall.call_log.dead";

/// A keeper at work. Dropped, it dies as in a crash.
pub(super) struct Working {
    pub counts: Arc<KeeperCounts>,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Working {
    pub fn start(settings: &RabbitMqSettings, store: Arc<dyn CallLogStore>) -> Self {
        let keeper = Keeper::new(settings, store).expect("a keeper");
        let (stop, stopped) = watch::channel(false);
        let counts = keeper.counts();
        let task = JoinSet::from_iter([async move { keeper.run(stopped).await }]);
        Self { counts, stop, task }
    }

    /// Asks it to end, and waits for it.
    pub async fn stop(mut self) {
        self.stop.send(true).expect("it works");
        timeout(LONG, self.task.join_next())
            .await
            .expect("it ends")
            .expect("it worked")
            .expect("it did not panic");
    }
}

/// A store that may be away, also after it has stored.
#[derive(Default)]
struct Faulty {
    store: MemoryCallLog,
    away: AtomicBool,
    forgets_to_answer: AtomicBool,
}

#[async_trait]
impl CallLogStore for Faulty {
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError> {
        let away = || CallLogError { doing: "storing", message: "it is away".to_owned(), lasting: false };
        if self.away.load(SeqCst) {
            return Err(away());
        }
        let refused = self.store.store(records).await?;
        if self.forgets_to_answer.swap(false, SeqCst) {
            return Err(away());
        }
        Ok(refused)
    }

    async fn search(&self, query: &CallQuery) -> Result<Found, CallLogError> {
        self.store.search(query).await
    }

    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError> {
        self.store.get(id).await
    }

    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError> {
        self.store.expire(before).await
    }
}

async fn has(store: &MemoryCallLog, count: usize) {
    eventually("the records are stored", LONG, async || match store.records().len() {
        seen if seen == count => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn is_deep(rabbit: &RabbitMq, queue: &str, depth: u32) {
    eventually(&format!("{queue} has {depth} messages"), LONG, async || match rabbit.depth(queue).await {
        seen if seen == Some(depth) => Ok(()),
        seen => Err(seen),
    })
    .await;
}

async fn publish(rabbit: &RabbitMq, body: &[u8]) {
    let (_connection, channel) = rabbit.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let (options, properties) =
        (BasicPublishOptions::default(), BasicProperties::default().with_message_id("m".into()));
    let sent =
        channel.basic_publish("rowcall.call_log".into(), "call.a.b".into(), options, body, properties).await;
    assert!(sent.expect("to publish").await.expect("a confirm").is_ack());
}

#[tokio::test]
async fn what_is_no_record_goes_to_the_dead_letters_with_its_reason_and_takes_no_other_with_it() {
    let rabbit = RabbitMq::start().await;
    let settings = at(&rabbit.url());
    let store = Arc::new(MemoryCallLog::default());
    let keeper = Working::start(&settings, store.clone());
    let mut outlet = RabbitOutlet::new(&settings).expect("an outlet");
    outlet.send(&lines(0..10)).await.expect("to send");
    let good = String::from_utf8(line(&record(10)).json().to_vec()).expect("text");
    let newer = good.replace(r#""v":1"#, r#""v":99"#);
    let cases = [
        ("hello", "not JSON"),
        ("", "not JSON"),
        (r#"{"v":1,"id":"x"}"#, "no record"),
        (&newer, "version 99"),
        (&format!("[{good}, 7]"), "no record"),
    ];
    for (n, (body, reason)) in cases.iter().enumerate() {
        publish(&rabbit, body.as_bytes()).await;
        is_deep(&rabbit, DEAD, 1).await;
        let dead = rabbit.take(DEAD).await.expect("a dead letter");
        let headers = dead.properties.headers().clone().expect("headers");
        let header = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(header(DEAD_REASON).contains(reason), "{}", header(DEAD_REASON));
        assert_eq!(
            (header("x-rowcall-exchange"), header("x-rowcall-routing-key")),
            ("rowcall.call_log".into(), "call.a.b".into())
        );
        assert_eq!(dead.properties.message_id().as_ref().map(|it| it.as_str()), Some("m"));
        let expected = if n == 4 { "7" } else { body };
        assert_eq!(String::from_utf8_lossy(&dead.data), expected);
    }
    outlet.send(&lines(11..20)).await.expect("to send");
    has(&store, 20).await;
    eventually("all are counted", LONG, async || match (keeper.counts.stored(), keeper.counts.dead()) {
        (20, 5) => Ok(()),
        seen => Err(seen),
    })
    .await;

    // Behind its back.
    let (connection, channel) = rabbit.channel().await;
    for queue in [QUEUE, DEAD] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("to delete");
    }
    drop((connection, channel));
    eventually("the keeper is back", LONG, async || match keeper.counts.connections() {
        1 => Err(()),
        _ => Ok(()),
    })
    .await;
    outlet.send(&lines(20..30)).await.expect("to send");
    publish(&rabbit, b"again").await;
    has(&store, 30).await;
    is_deep(&rabbit, DEAD, 1).await;
    keeper.stop().await;
    assert_eq!(rabbit.depth(QUEUE).await, Some(0));
}

#[tokio::test]
async fn a_store_that_is_away_costs_no_record_and_the_queue_keeps_what_was_not_stored() {
    let rabbit = RabbitMq::start().await;
    let settings = at(&rabbit.url());
    let store = Arc::new(Faulty::default());
    store.away.store(true, SeqCst);
    let keeper = Working::start(&settings, store.clone());
    let mut outlet = RabbitOutlet::new(&settings).expect("an outlet");
    outlet.send(&lines(0..2_000)).await.expect("to send");
    eventually("it is tried again", LONG, async || match keeper.counts.store_failures() {
        0..3 => Err(()),
        _ => Ok(()),
    })
    .await;
    // It does not wait for the store to be told to stop, and leaves everything.
    keeper.stop().await;
    is_deep(&rabbit, QUEUE, 2_000).await;

    // Stored, and the answer lost: once more, which changes nothing.
    store.forgets_to_answer.store(true, SeqCst);
    store.away.store(false, SeqCst);
    let keepers = [(); 2].map(|()| Working::start(&settings, store.clone()));
    has(&store.store, 2_000).await;
    is_deep(&rabbit, QUEUE, 0).await;
    let failures = keepers.iter().map(|it| it.counts.store_failures()).sum::<u64>();
    assert_eq!(failures, 1);
    for keeper in keepers {
        keeper.stop().await;
    }
    assert_eq!(rabbit.depth(QUEUE).await, Some(0));
}
