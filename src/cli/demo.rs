//! `rowcall demo`: a database that is written to, a fake bank that is kept in step with it, and a
//! terminal that shows both.

use super::{interrupted, run::start_log};
use crate::{
    app::App,
    config,
    demo::{Bank, Choices, Options, Replicator, Shown, show},
    synchronize::Classes,
};
use async_trait::async_trait;
use std::{
    io::{IsTerminal, stdout},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// Shows Rowcall at work on a database and a fake bank of its own.
///
/// Creates three tables in an empty database, keeps writing to them, runs a fake bank's API inside
/// the process and replicates to it. `scripts/demo` brings a database along.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example: rowcall demo --database-url postgres://localhost/demo --seconds 20")]
pub struct Demo {
    /// An empty database, of a server with `wal_level = logical`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, required_unless_present = "only_bank")]
    database_url: Option<String>,
    /// End after so many seconds, wait until both sides are equal, and exit 0 if they are, else 1
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Transactions a second; 0 writes nothing after the beginning
    #[arg(long, value_name = "N", default_value_t = 50)]
    rate: u32,
    /// Customers in the beginning, each with two loans
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    customers: u32,
    /// Makes the writers choose the same again
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the bank listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    bank: String,
    /// Where the dashboard is to be seen, or `off`; port 0 is whichever is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    admin: String,
    /// Run the bank alone, for trying a configuration of one's own
    #[arg(long)]
    only_bank: bool,
    /// Let that bank remember nothing, so that a bench can use it for ever
    #[arg(long, requires = "only_bank")]
    forgetful: bool,
}

impl Demo {
    /// Runs it to its end. `false`: the time was up and both sides differ.
    pub async fn run(self) -> Result<bool, String> {
        // What disturbs the picture had better be worth it.
        let log = config::Log { level: "warn".to_owned(), ..config::Log::default() };
        let _ = start_log(&log, None);
        let interrupted = interrupted()?;
        if self.only_bank {
            return self.bank(interrupted).await;
        }
        let choices = Choices {
            database_url: self.database_url.unwrap_or_default(),
            bank: self.bank,
            customers: self.customers,
            rate: self.rate,
            seed: self.seed,
            seconds: self.seconds,
            terminal: stdout().is_terminal(),
        };
        let replicator = Arc::new(InProcess::new(&self.admin)?);
        let shown = show(&choices, replicator, &mut stdout(), interrupted).await;
        match shown.map_err(|error| error.to_string())? {
            Shown::Judged(comparison) => Ok(comparison.is_equal()),
            // Whoever ends it by hand ends it in the middle.
            Shown::Interrupted(_) => Ok(true),
        }
    }

    async fn bank(self, interrupted: impl Future<Output = ()>) -> Result<bool, String> {
        let options = if self.forgetful { Options::FORGETFUL } else { Options::default() };
        let bank = Bank::start_with(&self.bank, options).await;
        let bank = bank.map_err(|error| format!("the bank cannot listen on {}: {error}", self.bank))?;
        println!("{}", bank.url());
        interrupted.await;
        Ok(true)
    }
}

/// The replicator, as `rowcall init` and `rowcall run` use it.
struct InProcess {
    /// Where its dashboard is.
    admin: Option<SocketAddr>,
    /// For the log of calls, which would lie wherever the demo was started.
    home: PathBuf,
}

impl InProcess {
    fn new(admin: &str) -> Result<Self, String> {
        let admin = if admin == "off" { None } else { Some(free(admin)?) };
        let home = std::env::temp_dir().join(format!("rowcall-demo-{}", std::process::id()));
        std::fs::create_dir(&home).map_err(|error| format!("cannot make {}: {error}", home.display()))?;
        Ok(Self { admin, home })
    }

    fn app(&self, configuration: &str) -> Result<App, String> {
        let loaded = config::load_text("the demo's configuration", configuration, Path::new(""), &|_| None);
        let mut loaded = loaded.map_err(|error| error.to_string())?;
        loaded.config.admin.listen = self.admin.map_or("off".to_owned(), |it| it.to_string()).parse()?;
        loaded.config.call_log.sqlite.path = self.home.join("call_log.db");
        Ok(App::new(loaded, Classes::standard()))
    }
}

#[async_trait]
impl Replicator for InProcess {
    async fn init(&self, configuration: &str) -> Result<(), String> {
        self.app(configuration)?.init(false).await.map(drop).map_err(|error| error.to_string())
    }

    fn dashboard(&self) -> Option<String> {
        self.admin.map(|address| format!("http://{address}/"))
    }

    async fn run(&self, configuration: &str, stop: watch::Receiver<bool>) -> Result<(), String> {
        self.app(configuration)?.run(stop).await.map_err(|error| error.to_string())
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // It is in the way of nobody.
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// With a port that is free just now, so that it can be said before it is listened at.
fn free(address: &str) -> Result<SocketAddr, String> {
    let bound = TcpListener::bind(address).and_then(|it| it.local_addr());
    bound.map_err(|error| format!("the dashboard cannot be shown on {address}: {error}"))
}
