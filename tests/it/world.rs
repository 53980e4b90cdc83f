//! The demo's database and bank with a service between them, and what may never happen there.

pub mod oracle;

use crate::harness::{
    Postgres, Rowcall, Version,
    live::parked_lines,
    postgres::Client,
    settled,
    wait::{LONG, while_it_moves},
};
use rowcall::demo::{
    Bank,
    world::{Writer, compare, configuration, create, expected, held, seed},
};
use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// The configuration in which loans wait for their customers, and collateral for its loan.
pub fn dependent(yaml: String) -> String {
    let on = |table: &str, column: &str| {
        let at = format!("    table: public.{table}\n");
        let (parent, _) = column.split_once('_').expect("a column");
        (at.clone(), format!("{at}    depends_on: {{ {parent}: '{{{{ row.{column} }}}}' }}\n"))
    };
    [on("loans", "customer_id"), on("collateral", "loan_id")]
        .into_iter()
        .fold(yaml, |yaml, (from, to)| yaml.replace(&from, &to))
}

/// What every random choice follows from.
pub struct Seed(pub u64);

impl Seed {
    pub fn new() -> Self {
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

pub struct World {
    pub postgres: Postgres,
    pub bank: Bank,
    pub rowcall: Rowcall,
}

impl World {
    pub async fn new(version: Version, adapt: fn(String) -> String) -> Self {
        let world = Self::empty(version, adapt).await;
        world.rowcall.command(&["init"]).await.expect_code(0);
        // Only what is written after `init` is captured.
        seed(&*world.postgres.client().await, 20).await.expect("the rows");
        world
    }

    /// With rows that nothing in the log tells of.
    pub async fn filled(version: Version, customers: u32, adapt: fn(String) -> String) -> Self {
        let world = Self::empty(version, adapt).await;
        seed(&*world.postgres.client().await, customers).await.expect("the rows");
        world.rowcall.command(&["init"]).await.expect_code(0);
        world
    }

    async fn empty(version: Version, adapt: fn(String) -> String) -> Self {
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

    /// Runs the service until both sides are equal, and ends it in good order.
    pub async fn equal(&self, seed: &Seed) {
        self.equal_within(LONG, seed).await;
    }

    pub async fn equal_within(&self, within: Duration, seed: &Seed) {
        let client = self.postgres.client().await;
        let expected = expected(&client).await.expect("the rows");
        let service = self.rowcall.run();
        settled(&self.postgres).await;
        let mut heard = None;
        while_it_moves(&format!("the bank equals the database; {seed}"), within, async || {
            // Tables can be large: they are compared when the bank hears nothing more.
            let requests = self.bank.stats().requests;
            if heard.replace(requests) != Some(requests) {
                return Err(format!("{requests} requests so far"));
            }
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
    pub async fn history(&self) -> Vec<Written> {
        let rows = self.postgres.client().await.query("select name, version from history", &[]).await;
        rows.expect("the history").iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// What every life of the service said, and what came of its calls, outlasts a test that failed.
impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failed-{}", std::process::id()));
        let journal: Vec<String> = self.bank.journal().iter().map(|it| format!("{it:?}")).collect();
        let keep = || -> io::Result<()> {
            fs::create_dir_all(&kept)?;
            fs::write(kept.join("bank.journal"), journal.join("\n"))?;
            for file in fs::read_dir(self.rowcall.home())? {
                let file = file?;
                if file.file_type()?.is_file() {
                    fs::copy(file.path(), kept.join(file.file_name()))?;
                }
            }
            Ok(())
        };
        match keep() {
            Ok(()) => eprintln!("what each life of the service said is in {}", kept.display()),
            Err(error) => eprintln!("what each life of the service said is lost: {error}"),
        }
    }
}

/// An object's name in the database, such as `loan 7`, and the version.
pub type Written = (String, i64);

const HISTORY: &str = "
    create table history (name text, version bigint);
    create function remember() returns trigger language plpgsql as $$ begin
        insert into history values (tg_argv[0] || ' ' || new.id, new.version); return null; end $$;
    create trigger remember after insert or update on customers for each row execute function remember('customer');
    create trigger remember after insert or update on loans for each row execute function remember('loan');
    create trigger remember after insert or update on collateral for each row execute function remember('collateral');";

/// Writes in bursts: until there is enough, but a hundred transactions at least.
pub async fn write(mut writer: Writer, mut client: Client, enough: Arc<AtomicBool>) {
    let mut transactions = 0;
    while transactions < 100 || !enough.load(Ordering::Relaxed) {
        writer.write(&mut client).await.expect("a transaction");
        transactions += 1;
        // Leaves the machine to the service; what comes of it holds at any speed.
        sleep(Duration::from_millis(transactions % 10)).await;
    }
}
