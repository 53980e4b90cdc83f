//! Whatever is written, and however often the service is killed in the middle: in the end the
//! bank equals the database, every committed version of every row arrived exactly once, and a
//! row's versions arrived in order (invariants 1 to 3).
//!
//! `ROWCALL_SEED=… scripts/test convergence::` makes a failed run's choices again;
//! `ROWCALL_ROUNDS` makes it longer.

use crate::harness::{Postgres, Rowcall, each_version, eventually, postgres::Client, wait::LONG};
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
        let seed = Seed::new();
        let world = World::new(version, |yaml| yaml).await;
        world.survive(&seed).await;
        world.equal(&seed).await;
        let journal = world.bank.journal();
        in_order(&journal, &seed);
        exactly_once(&journal, &world.history().await, &seed);
        assert_eq!(world.bank.stats().mismatched, 0, "a key came back with another request; {seed}");
    }
}

/// Coalescing leaves versions out, so that only the end can be held against the database.
#[tokio::test]
async fn a_killed_service_converges_when_it_coalesces() {
    let seed = Seed::new();
    let coalescing =
        |yaml: String| yaml.replace("    remote: bank\n", "    remote: bank\n    coalesce: true\n");
    let world = World::new(crate::harness::Version::V16, coalescing).await;
    world.survive(&seed).await;
    world.equal(&seed).await;
    let committed: BTreeSet<_> = world.history().await.into_iter().collect();
    for applied in world.bank.journal().iter().filter_map(applied) {
        assert!(
            committed.contains(&(applied.0.clone(), applied.1)),
            "{applied:?} was never committed; {seed}"
        );
    }
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
        let postgres = Postgres::start(version).await;
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        let client = postgres.client().await;
        create(&client).await.expect("the tables");
        client.batch_execute(HISTORY).await.expect("the history");
        let yaml = configuration(&postgres.url(), &bank.url(), "rowcall");
        let rowcall = Rowcall::with_config(&adapt(yaml));
        rowcall.command(&["init"]).await.expect_code(0);
        // Only what is written after `init` is captured.
        seed(&client, 20).await.expect("the rows");
        Self { postgres, bank, rowcall }
    }

    /// Two writers write and the bank misbehaves, while the service is killed again and again.
    async fn survive(&self, seed: &Seed) {
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
            service.sigkill().await;
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
        eventually(&format!("the bank equals the database; {seed}"), LONG, async || {
            let comparison = compare(&expected, &held(&self.bank.dump()));
            if comparison.is_equal() { Ok(()) } else { Err(comparison.to_string()) }
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

/// What an applied entry wrote, if it wrote a row.
fn applied(entry: &Entry) -> Option<Version> {
    let body = entry.body();
    let version = body["version"].as_i64()?;
    let name = match entry.path.split('/').collect::<Vec<_>>()[..] {
        ["", "customers", id] => format!("customer {id}"),
        ["", "loans"] => format!("loan {}", body["ref"]),
        ["", "objects", kind, id] => format!("{kind} {id}"),
        _ => return None,
    };
    (entry.effect == Effect::Applied).then_some((name, version))
}

/// The applied row writes in order, loans by their own ids instead of the bank's; `None` where an
/// object was deleted.
fn writes(journal: &[Entry], seed: &Seed) -> Vec<(String, &'static str, Option<i64>)> {
    let mut loans = HashMap::new();
    let mut writes = Vec::new();
    for entry in journal.iter().filter(|entry| entry.effect == Effect::Applied) {
        let body = entry.body();
        let version = body["version"].as_i64();
        let (name, step) = match entry.path.split('/').collect::<Vec<_>>()[..] {
            ["", "loans"] => {
                loans.insert(entry.object.clone(), body["ref"].clone());
                (format!("loan {}", body["ref"]), "put")
            }
            ["", "loans", _, "schedule"] => (format!("loan {}", loans[&entry.object]), "schedule"),
            ["", "loans", _] => (format!("loan {}", loans[&entry.object]), "put"),
            ["", "customers", id] => (format!("customer {id}"), "put"),
            ["", "objects", kind, id] => (format!("{kind} {id}"), "put"),
            _ => panic!("what is {}? {seed}", entry.path),
        };
        assert!(version.is_some() || &*entry.method == "DELETE", "no version in {entry:?}; {seed}");
        writes.push((name, step, version));
    }
    writes
}

fn in_order(journal: &[Entry], seed: &Seed) {
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    for (name, step, version) in writes(journal, seed) {
        let Some(version) = version else { continue };
        let before = newest.insert(name.clone(), version);
        assert!(before <= Some(version), "{step} of {name}: version {version} came after {before:?}; {seed}");
    }
}

fn exactly_once(journal: &[Entry], history: &[Version], seed: &Seed) {
    let mut arrived: HashMap<(String, &str, i64), u32> = HashMap::new();
    for (name, step, version) in writes(journal, seed) {
        if let Some(version) = version {
            *arrived.entry((name, step, version)).or_default() += 1;
        }
    }
    let mut wrong = Vec::new();
    for (name, version) in history {
        let steps: &[&str] = if name.starts_with("loan") { &["put", "schedule"] } else { &["put"] };
        for step in steps {
            match arrived.remove(&(name.clone(), step, *version)) {
                Some(1) => {}
                times => {
                    wrong.push(format!("{step} of {name}, version {version}: {} times", times.unwrap_or(0)))
                }
            }
        }
    }
    wrong.extend(
        arrived
            .keys()
            .map(|(name, step, version)| format!("{step} of {name}, version {version}: never committed")),
    );
    assert!(wrong.is_empty(), "{seed}\n{}", wrong.join("\n"));
    assert!(history.len() > 200, "only {} versions were written; {seed}", history.len());
}
