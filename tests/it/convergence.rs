//! Whatever is written, and however often the service is killed in the middle: in the end the
//! bank equals the database, every committed version of every row arrived exactly once, and a
//! row's versions arrived in order (invariants 1 to 3).
//!
//! `ROWCALL_SEED=… scripts/test convergence::` makes a failed run's choices again;
//! `ROWCALL_ROUNDS` makes it longer, `ROWCALL_CUSTOMERS` gives it larger tables.

mod again;

use crate::harness::{
    Postgres, Rowcall, each_version, eventually, live::parked_lines, postgres::Client, settled, wait::LONG,
};
use rowcall::demo::{
    Bank, Dice, Effect, Entry, Fault, Rule,
    world::{Writer, compare, configuration, create, expected, held, seed},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

each_version! {
    async fn a_killed_service_loses_repeats_and_reorders_nothing(version: Version) {
        converges_exactly(version, End::Killed).await;
    }
}

#[tokio::test]
async fn a_service_stopped_in_order_loses_repeats_and_reorders_nothing() {
    converges_exactly(crate::harness::Version::V16, End::InOrder).await;
}

async fn converges_exactly(version: crate::harness::Version, end: End) {
    let seed = Seed::new();
    let world = World::new(version, |yaml| yaml).await;
    world.survive(end, &seed).await;
    world.equal(&seed).await;
    let (writes, history) = (applied(&world.bank.journal()), world.history().await);
    assert!(history.len() > 200, "only {} versions were written; {seed}", history.len());
    assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
    assert_eq!(not_once(&writes, &history), [""; 0], "{seed}");
    assert_eq!(world.bank.stats().mismatched, 0, "a key came back with another request; {seed}");
}

#[tokio::test]
async fn a_service_that_coalesces_and_is_stopped_in_order_converges() {
    converges_coalescing(End::InOrder).await;
}

#[tokio::test]
async fn a_killed_service_that_coalesces_converges() {
    converges_coalescing(End::Killed).await;
}

/// Coalescing leaves versions out, so that only the end can be held against the database.
async fn converges_coalescing(end: End) {
    let seed = Seed::new();
    let coalescing =
        |yaml: String| yaml.replace("    remote: bank\n", "    remote: bank\n    coalesce: true\n");
    let world = World::new(crate::harness::Version::V16, coalescing).await;
    world.survive(end, &seed).await;
    world.equal(&seed).await;
    let committed: BTreeSet<_> = world.history().await.into_iter().collect();
    for write in applied(&world.bank.journal()) {
        let known = committed.contains(&(write.object.clone(), write.version));
        assert!(known, "{write:?} was never committed; {seed}");
    }
}

/// A change whose row is deleted or goes on before its parent comes is left out, so that only the end can be
/// held against the database, and that the bank never had to refuse what came too early or too late.
#[tokio::test]
async fn a_killed_service_with_dependencies_converges_in_the_order_of_parents() {
    let seed = Seed::new();
    let dependent = |yaml: String| {
        let on = |table: &str, column: &str| {
            let at = format!("    table: public.{table}\n");
            let (parent, _) = column.split_once('_').expect("a column");
            (at.clone(), format!("{at}    depends_on: {{ {parent}: '{{{{ row.{column} }}}}' }}\n"))
        };
        [on("loans", "customer_id"), on("collateral", "loan_id")]
            .into_iter()
            .fold(yaml, |yaml, (from, to)| yaml.replace(&from, &to))
    };
    let world = World::new(crate::harness::Version::V16, dependent).await;
    world.bank.relate("/loans", "customer", "/customers");
    world.survive(End::Killed, &seed).await;
    world.equal(&seed).await;
    assert_eq!(world.bank.stats().out_of_order, 0, "{seed}");
    let writes = applied(&world.bank.journal());
    assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
    let committed: BTreeSet<_> = world.history().await.into_iter().collect();
    for write in writes {
        let known = committed.contains(&(write.object.clone(), write.version));
        assert!(known, "{write:?} was never committed; {seed}");
    }
}

each_version! {
    /// A row that is read may leave versions out, so that only the end can be held against the database;
    /// that nothing older came after something newer; and that nothing was created twice.
    async fn a_killed_service_brings_what_was_there_and_keeps_up_with_what_changes(version: Version) {
        let seed = Seed::new();
        let initial = |yaml: String| yaml.replace("    remote: bank\n", "    remote: bank\n    initial: true\n");
        let world = World::filled(version, initial).await;
        world.survive(End::Killed, &seed).await;
        world.equal(&seed).await;
        let open = "select count(*) from rowcall.run where state <> 'done'";
        let within = LONG + Duration::from_secs(u64::from(customers()) / 20);
        eventually("every run is done", within, async || {
            let open = world.postgres.text(open).await;
            if open.as_deref() == Some("0") { Ok(()) } else { Err(open) }
        })
        .await;
        let writes = applied(&world.bank.journal());
        assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
        let committed: BTreeSet<_> = world.history().await.into_iter().collect();
        for write in writes {
            let known = committed.contains(&(write.object.clone(), write.version));
            assert!(known, "{write:?} was never committed; {seed}");
        }
    }
}

/// How many are there before anything is captured, with two loans and one collateral each.
fn customers() -> u32 {
    let customers = std::env::var("ROWCALL_CUSTOMERS");
    customers.map_or(400, |it| it.parse().expect("a number of customers"))
}

/// How each of the service's lives ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    InOrder,
}

/// What every random choice follows from.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        let given = std::env::var("ROWCALL_SEED").ok();
        let seed = given.map(|seed| seed.parse().expect("ROWCALL_SEED is a number"));
        Self(seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32))
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ROWCALL_SEED={}", self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to make the same choices again: {self}");
        }
    }
}

struct World {
    postgres: Postgres,
    bank: Bank,
    rowcall: Rowcall,
}

impl World {
    async fn new(version: crate::harness::Version, adapt: fn(String) -> String) -> Self {
        let world = Self::empty(version, adapt).await;
        world.rowcall.command(&["init"]).await.expect_code(0);
        // Only what is written after `init` is captured.
        seed(&*world.postgres.client().await, 20).await.expect("the rows");
        world
    }

    /// With rows that nothing in the log tells of.
    async fn filled(version: crate::harness::Version, adapt: fn(String) -> String) -> Self {
        let world = Self::empty(version, adapt).await;
        seed(&*world.postgres.client().await, customers()).await.expect("the rows");
        world.rowcall.command(&["init"]).await.expect_code(0);
        world
    }

    async fn empty(version: crate::harness::Version, adapt: fn(String) -> String) -> Self {
        let postgres = Postgres::start(version).await;
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        let client = postgres.client().await;
        create(&client).await.expect("the tables");
        client.batch_execute(HISTORY).await.expect("the history");
        let yaml = configuration(&postgres.url(), &bank.url(), "rowcall");
        // It opens at nearly every outage and is soon closed again.
        let yaml = yaml.replace("open: 1s, max: 5s", "failures: 2, open: 30ms, max: 100ms");
        let rowcall = Rowcall::with_config(&adapt(yaml));
        Self { postgres, bank, rowcall }
    }

    /// Two writers write and the bank misbehaves, while the service ends again and again.
    async fn survive(&self, end: End, seed: &Seed) {
        let mut dice = Dice::new(seed.0);
        let rounds =
            std::env::var("ROWCALL_ROUNDS").map_or(12, |rounds| rounds.parse().expect("a number of rounds"));
        let faults = self.bank.faults();
        faults.add(Rule::new(Fault::DropAfter).every(17));
        faults.add(Rule::new(Fault::Status(503)).every(23));
        faults.add(Rule::new(Fault::DropBefore).every(31));
        faults.add(Rule::new(Fault::Delay(30)).every(11));
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for number in 0..2 {
            let writer = Writer::new(dice.split(), number, 2, 60);
            writers.spawn(write(writer, self.postgres.client().await, enough.clone()));
        }
        for _ in 0..rounds {
            if dice.happens(30) {
                // An outage: the breaker opens, and only its probes are lost.
                faults.add(Rule::new(Fault::DropBefore).times(8));
            }
            let mut service = self.rowcall.run();
            if dice.happens(25) {
                // At any moment of its start.
                sleep(Duration::from_millis(dice.below(400))).await;
            } else {
                let seen = self.bank.stats().requests + dice.below(150);
                eventually("the service makes calls", LONG, async || {
                    if let Some(status) = service.ended() {
                        panic!("the service ended by itself, {status}; {seed}\n{}", service.stderr());
                    }
                    let requests = self.bank.stats().requests;
                    if requests >= seen { Ok(()) } else { Err(requests) }
                })
                .await;
            }
            match end {
                End::Killed => service.sigkill().await,
                End::InOrder => {
                    service.sigterm();
                    service.wait().await;
                }
            }
        }
        enough.store(true, Ordering::Relaxed);
        while let Some(written) = writers.join_next().await {
            written.expect("a writer");
        }
        faults.clear();
    }

    /// Runs the service until both sides are equal, and ends it in good order.
    async fn equal(&self, seed: &Seed) {
        let client = self.postgres.client().await;
        let expected = expected(&client).await.expect("the rows");
        let service = self.rowcall.run();
        settled(&self.postgres).await;
        let within = LONG + Duration::from_secs(u64::from(customers()) / 20);
        eventually(&format!("the bank equals the database; {seed}"), within, async || {
            let comparison = compare(&expected, &held(&self.bank.dump()));
            let parked = parked_lines(&client).await;
            // Both sides may look alike while versions of what is gone by now are still to come.
            if comparison.is_equal() && parked.is_empty() {
                return Ok(());
            }
            Err(format!("{comparison}\nparked: {parked:#?}"))
        })
        .await;
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0), "{seed}");
        // The end in good order changed nothing.
        let comparison = compare(&expected, &held(&self.bank.dump()));
        assert!(comparison.is_equal(), "{comparison}; {seed}");
    }

    /// Every version of every row that was ever committed.
    async fn history(&self) -> Vec<Version> {
        let rows = self.postgres.client().await.query("select name, version from history", &[]).await;
        rows.expect("the history").iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// An object's name in the database, such as `loan 7`, and the version.
type Version = (String, i64);

const HISTORY: &str = "
    create table history (name text, version bigint);
    create function remember() returns trigger language plpgsql as $$ begin
        insert into history values (tg_argv[0] || ' ' || new.id, new.version); return null; end $$;
    create trigger remember after insert or update on customers for each row execute function remember('customer');
    create trigger remember after insert or update on loans for each row execute function remember('loan');
    create trigger remember after insert or update on collateral for each row execute function remember('collateral');";

/// Writes in bursts: until there is enough, but a hundred transactions at least.
async fn write(mut writer: Writer, mut client: Client, enough: Arc<AtomicBool>) {
    let mut transactions = 0;
    while transactions < 100 || !enough.load(Ordering::Relaxed) {
        writer.write(&mut client).await.expect("a transaction");
        transactions += 1;
        // Leaves the machine to the service; what comes of it holds at any speed.
        sleep(Duration::from_millis(transactions % 10)).await;
    }
}

/// One write of a row that the bank applied: which call of its sequence, and the version it carried.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Applied {
    object: String,
    step: &'static str,
    version: i64,
}

/// The row writes in the order they were applied, loans by their own ids instead of the bank's.
fn applied(journal: &[Entry]) -> Vec<Applied> {
    let mut loans = HashMap::new();
    let mut writes = Vec::new();
    for entry in journal.iter().filter(|entry| entry.effect == Effect::Applied && &*entry.method != "DELETE")
    {
        let body = entry.body();
        let (object, step) = match entry.path.split('/').collect::<Vec<_>>()[..] {
            ["", "loans"] => {
                loans.insert(entry.object.clone(), body["ref"].clone());
                (format!("loan {}", body["ref"]), "put")
            }
            ["", "loans", _] => (format!("loan {}", loans[&entry.object]), "put"),
            ["", "loans", _, "schedule"] => (format!("loan {}", loans[&entry.object]), "schedule"),
            ["", "customers", id] => (format!("customer {id}"), "put"),
            ["", "objects", kind, id] => (format!("{kind} {id}"), "put"),
            _ => panic!("who wrote {}?", entry.path),
        };
        let version = body["version"].as_i64().unwrap_or_else(|| panic!("no version in {entry:?}"));
        writes.push(Applied { object, step, version });
    }
    writes
}

/// What of an object's versions came after a newer one.
fn out_of_order(writes: &[Applied]) -> Vec<String> {
    let mut newest: HashMap<&str, i64> = HashMap::new();
    let mut wrong = Vec::new();
    for write in writes {
        let newest = newest.entry(&write.object).or_insert(write.version);
        if *newest > write.version {
            wrong.push(format!("{write:?} was applied after version {newest}"));
        }
        *newest = write.version.max(*newest);
    }
    wrong
}

/// Which calls of committed versions were not made exactly once, or of versions never committed.
fn not_once(writes: &[Applied], history: &[Version]) -> Vec<String> {
    let mut times: BTreeMap<Applied, u32> = BTreeMap::new();
    for write in writes {
        *times.entry(write.clone()).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for (object, version) in history {
        let steps: &[&str] = if object.starts_with("loan") { &["put", "schedule"] } else { &["put"] };
        for step in steps {
            let expected = Applied { object: object.clone(), step, version: *version };
            let times = times.remove(&expected).unwrap_or(0);
            if times != 1 {
                wrong.push(format!("{expected:?} was applied {times} times"));
            }
        }
    }
    wrong.extend(times.keys().map(|write| format!("{write:?} was never committed")));
    wrong
}

#[test]
fn the_oracle_sees_what_is_repeated_reordered_lost_or_invented() {
    let write = |object: &str, step, version| Applied { object: object.to_owned(), step, version };
    let history = [("customer 1", 1), ("loan 7", 2), ("customer 1", 3)];
    let history = history.map(|(object, version)| (object.to_owned(), version));
    let good = [
        write("loan 7", "put", 2),
        write("customer 1", "put", 1),
        write("customer 1", "put", 3),
        write("loan 7", "schedule", 2),
    ];
    assert!(out_of_order(&good).is_empty() && not_once(&good, &history).is_empty());
    let mut swapped = good.clone();
    swapped.swap(1, 2);
    assert_eq!(out_of_order(&swapped).len(), 1);
    assert_eq!(not_once(&good[1..], &history).len(), 1, "lost");
    assert_eq!(not_once(&[&good[..], &good[..1]].concat(), &history).len(), 1, "repeated");
    assert_eq!(not_once(&good, &history[..2]).len(), 1, "invented");
}
