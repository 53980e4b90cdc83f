//! The demo itself: somebody writes, the replicator replicates, a terminal shows it.

mod pulse;
mod screen;

use self::{
    pulse::{Pulse, write},
    screen::{Sample, Screen},
};
use crate::demo::{
    Bank, Dice,
    world::{self, Comparison, WorldError, Writer},
};
use async_trait::async_trait;
use std::{
    fmt::Display,
    future::Future,
    io::{self, Write},
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Client, NoTls};

/// The slot's and the publication's name.
const NAME: &str = "rowcall_demo";
/// How long nothing may change before the demo gives up waiting for both sides to be equal.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the demo wants of the replicator it shows.
#[async_trait]
pub trait Replicator: Send + Sync + 'static {
    /// Prepares the database for this configuration (YAML): `rowcall init`.
    async fn init(&self, configuration: &str) -> Result<(), String>;

    /// Where there is more to be seen of it while it runs.
    fn dashboard(&self) -> Option<String> {
        None
    }

    /// Replicates by this configuration until `stop` becomes true, or its sender is gone.
    async fn run(&self, configuration: &str, stop: watch::Receiver<bool>) -> Result<(), String>;
}

/// What a person can choose.
#[derive(Clone, Debug)]
pub struct Choices {
    /// An empty database, of a server with `wal_level = logical`.
    pub database_url: String,
    /// Where the bank listens.
    pub bank: String,
    /// How many customers there are in the beginning.
    pub customers: u32,
    /// Transactions a second, in all; 0 writes nothing after the beginning.
    pub rate: u32,
    /// What the writers' choices follow from.
    pub seed: u64,
    /// Ends after this long, waits until both sides are equal, and judges.
    pub seconds: Option<u64>,
    /// Redraw in place.
    pub terminal: bool,
}

/// What stops the demo early.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The database cannot be reached.
    #[error("cannot connect to the demo's database: {0}")]
    Connect(String),
    /// It holds tables that are not ours.
    #[error(
        "the demo's database holds {0} tables already: give it an empty one, such as a new one made with `createdb`"
    )]
    NotEmpty(i64),
    /// It refused something.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The bank cannot listen.
    #[error("the bank cannot listen on {0}: {1}")]
    Bank(String, io::Error),
    /// The replicator gave up.
    #[error("the replicator stopped: {0}")]
    Replicator(String),
    /// Nobody reads what is shown.
    #[error("cannot write to the terminal: {0}")]
    Output(#[from] io::Error),
}

/// How a show ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Somebody ended it, in the middle of whatever was going on.
    Interrupted(Comparison),
    /// The time was up, and everything that would arrive has arrived.
    Judged(Comparison),
}

/// Shows the replicator at work until `interrupted`, or until the time is up.
pub async fn show(
    choices: &Choices,
    replicator: Arc<dyn Replicator>,
    out: &mut (dyn Write + Send),
    interrupted: impl Future<Output = ()>,
) -> Result<Shown, ShowError> {
    let mut screen = Screen::new(out, choices.terminal);
    let mut connections = JoinSet::new();
    let client = connect(&choices.database_url, &mut connections).await?;
    must_be_empty(&client).await?;
    world::create(&client).await?;
    let bank =
        Bank::start(&choices.bank).await.map_err(|error| ShowError::Bank(choices.bank.clone(), error))?;
    screen.say(&format!("The bank listens on {}; try {0}/_stats and {0}/_dump.", bank.url()))?;
    if let Some(url) = replicator.dashboard() {
        screen.say(&format!("The dashboard is at {url}."))?;
    }
    let configuration = world::configuration(&choices.database_url, &bank.url(), NAME);
    replicator.init(&configuration).await.map_err(ShowError::Replicator)?;

    let (stop, stopped) = watch::channel(false);
    let mut replicating = JoinSet::new();
    replicating.spawn(async move { replicator.run(&configuration, stopped).await });
    let mut show =
        Show { bank, client, pulse: Arc::default(), sample: Sample::default(), began: Instant::now() };
    let result = tokio::select! {
        // Its end is a failure, so it is looked at first.
        biased;
        ended = replicating.join_next() => Err(stopped_early(ended)),
        result = show.watch(choices, &mut screen, &mut connections, interrupted) => result,
    };
    drop(stop);
    let ended = replicating.join_next().await;
    show.forget().await;
    match ended {
        Some(Ok(Ok(()))) | None => {}
        ended => return result.and(Err(stopped_early(ended))),
    }
    let shown = result?;
    if let Shown::Judged(comparison) = &shown {
        screen.say(&if comparison.is_equal() {
            format!("EQUAL: {comparison}")
        } else {
            format!("DIFFERENT: {comparison}\n(seed {})", choices.seed)
        })?;
    }
    Ok(shown)
}

fn stopped_early(ended: Option<Result<Result<(), String>, impl Display>>) -> ShowError {
    ShowError::Replicator(match ended {
        Some(Ok(Err(error))) => error,
        Some(Err(panic)) => panic.to_string(),
        Some(Ok(Ok(()))) | None => "it ended, though nobody told it to".to_owned(),
    })
}

struct Show {
    bank: Bank,
    client: Client,
    pulse: Arc<Pulse>,
    sample: Sample,
    began: Instant,
}

impl Show {
    async fn watch(
        &mut self,
        choices: &Choices,
        screen: &mut Screen<'_>,
        connections: &mut JoinSet<()>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Shown, ShowError> {
        // Written under the replicator's eyes: what was there before it is not captured.
        world::seed(&self.client, choices.customers).await?;
        self.pulse.add_rows(u64::from(choices.customers) * 4);
        let mut writers = JoinSet::new();
        let mut dice = Dice::new(choices.seed);
        let several = choices.rate.min(2);
        for number in 0..u64::from(several) {
            let client = connect(&choices.database_url, connections).await?;
            let writer = Writer::new(dice.split(), number, several.into(), choices.customers.into());
            let every = Duration::from_secs(several.into()) / choices.rate;
            writers.spawn(write(writer, client, every, self.pulse.clone()));
        }
        let pause = Duration::from_millis(if choices.terminal { 500 } else { 1_000 });
        let mut interrupted = pin!(interrupted);
        let mut time_is_up = pin!(async {
            match choices.seconds {
                Some(seconds) => sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        });
        let judge = loop {
            tokio::select! {
                // Whoever wants to stop is heard first; a writer's end is a failure.
                biased;
                () = &mut interrupted => break false,
                () = &mut time_is_up => break true,
                Some(ended) = writers.join_next() => {
                    ended.map_err(|panic| ShowError::Replicator(panic.to_string()))??;
                }
                () = sleep(pause) => self.look(screen).await?,
            }
        };
        self.pulse.enough.store(true, Relaxed);
        while let Some(ended) = writers.join_next().await {
            ended.map_err(|panic| ShowError::Replicator(panic.to_string()))??;
        }
        if !judge {
            self.look(screen).await?;
            return Ok(Shown::Interrupted(self.sample.equality.clone()));
        }
        screen.say("Nothing more is written; waiting for the rest to arrive.")?;
        tokio::select! {
            biased;
            () = &mut interrupted => Ok(Shown::Interrupted(self.sample.equality.clone())),
            drained = self.drain(screen, pause) => drained.map(Shown::Judged),
        }
    }

    /// Waits until both sides are equal, or nothing has changed for too long.
    async fn drain(&mut self, screen: &mut Screen<'_>, pause: Duration) -> Result<Comparison, ShowError> {
        let mut last = (self.bank.stats(), Instant::now());
        loop {
            self.look(screen).await?;
            let stats = self.bank.stats();
            if stats != last.0 {
                last = (stats, Instant::now());
            }
            if self.sample.equality.is_equal() || last.1.elapsed() > PATIENCE {
                return Ok(self.sample.equality.clone());
            }
            sleep(pause).await;
        }
    }

    async fn look(&mut self, screen: &mut Screen<'_>) -> Result<(), ShowError> {
        let running = self.began.elapsed();
        let since = (running - self.sample.running).as_secs_f64().max(0.001);
        let before = (self.sample.rows.0, self.sample.calls.0);
        // The bank first: what arrives meanwhile counts as missing, not as too much.
        let held = world::held(&self.bank.dump());
        self.sample.equality = world::compare(&world::expected(&self.client).await?, &held);
        self.sample.running = running;
        self.sample.calls.0 = self.bank.stats().requests;
        self.pulse.read(&self.bank.take_journal(), &mut self.sample);
        let rate = |now: u64, before: u64| ((now - before) as f64 / since).round() as u64;
        self.sample.rows.1 = rate(self.sample.rows.0, before.0);
        self.sample.calls.1 = rate(self.sample.calls.0, before.1);
        screen.draw(&self.sample)?;
        Ok(())
    }

    /// Drops the slot, which would make the server keep its log for ever.
    async fn forget(&self) {
        let drop = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{NAME}' and not active"
        );
        // The server needs a moment to see that the replicator is gone.
        for _ in 0..20 {
            match timeout(Duration::from_secs(1), self.client.simple_query(&drop)).await {
                Ok(Ok(rows)) if rows.len() <= 2 => sleep(Duration::from_millis(50)).await,
                _ => return,
            }
        }
    }
}

async fn connect(url: &str, connections: &mut JoinSet<()>) -> Result<Client, ShowError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        ShowError::Connect(cause.unwrap_or_else(|| error.to_string()))
    })?;
    connections.spawn(async move {
        // Whoever uses it is told.
        let _ = connection.await;
    });
    Ok(client)
}

async fn must_be_empty(client: &Client) -> Result<(), ShowError> {
    let tables = "select count(*) from pg_class where relkind in ('r', 'p')
        and relnamespace not in (select oid from pg_namespace where nspname like 'pg\\_%' or nspname = 'information_schema')";
    let tables =
        client.query_one(tables, &[]).await.map_err(|error| ShowError::Connect(error.to_string()))?;
    match tables.get(0) {
        0 => Ok(()),
        tables => Err(ShowError::NotEmpty(tables)),
    }
}
