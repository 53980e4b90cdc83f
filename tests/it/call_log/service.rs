//! The service with its log of calls through RabbitMQ into MongoDB.

use crate::harness::{Live, MongoDb, RabbitMq, Service, Version, eventually, wait::LONG};
use rowcall::demo::Effect;
use serde_json::Value;
use std::collections::BTreeSet;

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

struct World {
    live: Live,
    rabbitmq: RabbitMq,
    mongodb: MongoDb,
}

impl World {
    async fn new(more: &str) -> Self {
        let (live, rabbitmq, mongodb) =
            tokio::join!(Live::new(Version::V16, TABLE, ENTITY), RabbitMq::start(), MongoDb::start());
        let block = format!(
            "call_log:\n  rabbitmq: {{ url: \"{}\" }}\n  mongodb: {{ url: \"{}\" }}\n{more}",
            rabbitmq.url(),
            mongodb.url()
        );
        live.reconfigure(|yaml| yaml + &block);
        live.rowcall.command(&["init"]).await.expect_code(0);
        Self { live, rabbitmq, mongodb }
    }

    /// With a service whose spool lies on a disk that is full, and far more to record than its memory holds, while the
    /// broker is away. `None` where this cannot be tried.
    async fn on_a_full_disk(spool: &str) -> Option<(Self, Service)> {
        let mut world = Self::new(&format!("  spool: {{ path: disk/spool{spool} }}\n")).await;
        let service = world.live.rowcall.run_on_a_full_disk().await?;
        world.rabbitmq.stop();
        world.insert_large(1_000).await;
        Some((world, service))
    }

    async fn insert(&self, from: usize, to: usize) {
        let sql = format!("insert into customers select i, 'n' from generate_series({from}, {to}) i");
        self.live.postgres.execute(&sql).await;
    }

    /// Some 20 MB of records, which the memory of the log cannot hold, nor what is left of a full disk.
    async fn insert_large(&self, rows: usize) {
        let sql =
            format!("insert into customers select i, repeat('n', 20000) from generate_series(1, {rows}) i");
        self.live.postgres.execute(&sql).await;
    }

    /// How many calls were made once no more are.
    async fn calls_stand_still(&self) -> usize {
        let (mut made, mut looks) = (0, 0);
        eventually("no call is made any more", LONG, async || {
            let now = self.live.bank.journal().len();
            looks = if now == made { looks + 1 } else { 0 };
            made = now;
            if looks == 20 { Ok(made) } else { Err(made) }
        })
        .await
    }

    /// The call keys in the store, once as many are there as the bank has applied.
    async fn logged(&self) -> BTreeSet<String> {
        let applied = self.applied();
        eventually("every call is in the store", 2 * LONG, async || {
            let arguments = ["calls", "search", "--json", "--limit", "100000"];
            let found = self.live.rowcall.command(&arguments).await;
            let keys: BTreeSet<String> = found
                .stdout
                .lines()
                .filter_map(|line| {
                    serde_json::from_str::<Value>(line).ok()?["call_key"].as_str().map(str::to_owned)
                })
                .collect();
            if keys == applied { Ok(keys) } else { Err((keys.len(), applied.len(), found.stderr)) }
        })
        .await
    }

    fn applied(&self) -> BTreeSet<String> {
        let journal = self.live.bank.journal();
        let applied = journal.iter().filter(|it| it.effect == Effect::Applied);
        applied.filter_map(|it| it.key.as_deref().map(str::to_owned)).collect()
    }
}

#[tokio::test]
async fn calls_come_through_the_broker_into_the_store_and_are_found() {
    let world = World::new("").await;
    let service = world.live.run();
    world.insert(1, 200).await;
    world.live.after(&[]).await;
    assert_eq!(world.logged().await.len(), 200);
    let found = world.live.rowcall.command(&["calls", "search", "--key", "7"]).await.expect_code(0).stdout;
    assert!(found.contains("customer/7") && found.lines().count() == 2, "{found}");
    service.sigterm();
    assert!(service.wait().await.success());
}

/// What counts as done is in the log, whoever dies, and in whatever order.
#[tokio::test]
async fn the_broker_the_store_the_keeper_and_the_service_may_die_in_turn() {
    let mut world = World::new("  keeper: false\n  required: true\n  spool: { path: spool }\n").await;
    let mut keeper = world.live.rowcall.start(&["log-keeper"]);
    let mut service = world.live.run();
    world.insert(1_001, 1_001).await;
    world.live.after(&[]).await;
    assert_eq!(world.logged().await.len(), 1);
    // Of RabbitMQ 3.10 a quorum queue that was made just before its only node is killed has no leader
    // afterwards: docs/call-log.md.
    world.rabbitmq.stop();
    world.rabbitmq.start_again().await;
    for round in 0..4 {
        let from = round * 100;
        world.insert(from + 1, from + 100).await;
        eventually("it is under way", LONG, async || {
            let made = world.live.bank.journal().len();
            if made > from + 11 { Ok(()) } else { Err(made) }
        })
        .await;
        match round {
            0 => world.rabbitmq.kill(),
            1 => world.mongodb.kill(),
            2 => {
                keeper.sigkill().await;
                keeper = world.live.rowcall.start(&["log-keeper"]);
            }
            _ => {
                service.sigkill().await;
                service = world.live.run();
            }
        }
        // Nothing waits for the log: it goes into the spool meanwhile.
        world.live.after(&[]).await;
        match round {
            0 => world.rabbitmq.start_again().await,
            1 => world.mongodb.start_again().await,
            _ => {}
        }
    }
    assert_eq!(world.logged().await.len(), 401);
    service.sigterm();
    assert!(service.wait().await.success());
    keeper.sigterm();
    assert!(keeper.wait().await.success());
}

/// Calls wait then. Once there is room they go on, with the broker still away.
#[tokio::test]
async fn a_full_disk_below_the_spool_holds_calls_up_until_there_is_room() {
    let Some((mut world, service)) = World::on_a_full_disk("").await else { return };
    eventually("it says what is full, and what waits", LONG, async || {
        let said = world.live.rowcall.command(&["status"]).await.stdout;
        let full = said.contains("✗ the spool does not work") && said.contains("make room there");
        if full && said.contains("calls wait until there is room") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(world.calls_stand_still().await < 1_000);
    service.make_room(&world.live.rowcall);
    world.live.after(&[]).await;
    assert_eq!(world.applied().len(), 1_000);
    eventually("it says that all is well again", LONG, async || {
        let said = world.live.rowcall.command(&["status"]).await.stdout;
        if said.contains("the spool does not work") || said.contains("calls wait") {
            Err(said)
        } else {
            Ok(())
        }
    })
    .await;
    world.rabbitmq.start_again().await;
    world.logged().await;
    service.sigterm();
    assert!(service.wait().await.success());
}

/// Calls come first then.
#[tokio::test]
async fn on_a_full_disk_the_oldest_records_may_go() {
    let Some((world, service)) = World::on_a_full_disk(", when_full: drop_oldest").await else { return };
    world.live.after(&[]).await;
    assert_eq!(world.applied().len(), 1_000);
    assert!(service.stderr().contains("dropped"), "{}", service.stderr());
    service.sigterm();
    assert!(service.wait().await.success());
}
