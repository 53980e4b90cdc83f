//! The command line: one file a command. Each reads its arguments, asks [`crate::app`], and prints.
//!
//! A program with classes of its own calls [`main`] with them and has every command.
//!
//! Exit codes: 0 done, 1 failed, 2 bad usage or configuration.

mod audit;
mod calls;
mod check;
mod checkpoint;
mod config;
mod demo;
mod halt;
mod init;
mod interrupted;
mod log_keeper;
mod notify;
mod order;
mod output;
mod parked;
mod preview;
mod ready;
mod replay;
mod run;
mod runs;
mod snapshot;
mod status;

use crate::{
    app::{App, AppError},
    config::{ConfigError, Loaded, load},
    synchronize::Classes,
};
use clap::{Parser, Subcommand};
use interrupted::interrupted;
use std::{path::PathBuf, process::ExitCode};

/// Keeps a remote system that can be reached only through its HTTP API in step with a Postgres
/// database: a committed row becomes its sequence of calls.
#[derive(Debug, Parser)]
#[command(name = "rowcall", version, max_term_width = 100)]
struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, default_value = "rowcall.yaml", env = "ROWCALL_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what is needed in the database: publication, slot, and the schema `rowcall`.
    Init(init::Arguments),
    /// Look at everything that must be right before running, and say how to cure what is not.
    Check(check::Arguments),
    /// Replicate until stopped.
    Run(run::Arguments),
    /// Ask the running service whether it is ready.
    Ready(ready::Arguments),
    /// Show how far each source is and what each route did.
    Status(status::Arguments),
    /// Show the calls that a row would cause, without making them.
    Preview(preview::Arguments),
    /// Work on changes that were taken out of the stream.
    Parked(parked::Arguments),
    /// Send the rows that are in the tables now, beside those that change.
    Snapshot(snapshot::Arguments),
    /// Send changes again that were sent before, from a place in the log.
    Replay(replay::Arguments),
    /// Compare what the remotes hold with the rows, and say where they differ.
    Audit(audit::Arguments),
    /// Look at bounded pieces of work, such as snapshots; pause, resume and cancel them.
    Runs(runs::Arguments),
    /// Send nothing for a route, or to a remote, until it is resumed.
    Pause(halt::Pause),
    /// Let a paused route or remote go on.
    Resume(halt::Resume),
    /// Mark a place in the log, and have the source keep what follows.
    Checkpoint(checkpoint::Arguments),
    /// Look at the calls that were made: what was sent and what came back.
    Calls(calls::Arguments),
    /// Take the records of calls out of RabbitMQ and store them.
    LogKeeper(log_keeper::Arguments),
    /// Try whether those who are told of problems hear of them.
    Notify(notify::Arguments),
    /// Show the configuration or its schema.
    Config(config::Arguments),
    /// Watch it work: a fake bank, a database that keeps changing, and Rowcall between them.
    Demo(demo::Demo),
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// Exit code 2.
    Usage(String),
    /// Exit code 1.
    Failed(String),
    /// Exit code 1; everything is said already.
    Said,
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Configuration(_) => Self::Usage(error.to_string()),
            AppError::Failed(message) | AppError::Unreachable(message) => Self::Failed(message),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // Whoever read the output has enough of it.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Said
        } else {
            Self::Failed(error.to_string())
        }
    }
}

/// Reads the arguments, does what they say, and prints one message if that fails.
pub fn main(classes: Classes) -> ExitCode {
    let cli = Cli::parse();
    // Fails only if a provider is installed already, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rowcall: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli, classes)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(message)) => {
            eprintln!("rowcall: {message}");
            ExitCode::FAILURE
        }
        Err(Failure::Said) => ExitCode::FAILURE,
    }
}

async fn dispatch(cli: Cli, classes: Classes) -> Result<(), Failure> {
    let open = || -> Result<(App, Loaded), Failure> {
        let loaded = load(&cli.config, &|name| std::env::var(name).ok())?;
        Ok((App::new(loaded.clone(), classes.clone()), loaded))
    };
    match cli.command {
        Command::Config(arguments) => config::execute(arguments, open),
        Command::Demo(demo) => match demo.run().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::Said),
            Err(message) => Err(Failure::Failed(message)),
        },
        Command::Init(arguments) => init::execute(arguments, open()?.0).await,
        Command::Check(arguments) => check::execute(arguments, open()?.0).await,
        Command::Run(arguments) => {
            let (app, loaded) = open()?;
            run::execute(arguments, app, &loaded.config.log).await
        }
        Command::Notify(arguments) => notify::execute(arguments, open()?.0).await,
        Command::Ready(arguments) => ready::execute(arguments, open()?.0).await,
        Command::LogKeeper(arguments) => {
            let (app, loaded) = open()?;
            log_keeper::execute(arguments, app, &loaded.config.log).await
        }
        Command::Snapshot(arguments) => {
            let (app, loaded) = open()?;
            snapshot::execute(arguments, app, &loaded.config.log).await
        }
        Command::Replay(arguments) => {
            let (app, loaded) = open()?;
            replay::execute(arguments, app, &loaded.config.log).await
        }
        Command::Audit(arguments) => audit::execute(arguments, open()?.0).await,
        Command::Status(arguments) => status::execute(arguments, open()?.0).await,
        Command::Preview(arguments) => preview::execute(arguments, open()?.0).await,
        Command::Parked(arguments) => parked::execute(arguments, open()?.0).await,
        Command::Checkpoint(arguments) => checkpoint::execute(arguments, open()?.0).await,
        Command::Calls(arguments) => calls::execute(arguments, open()?.0).await,
        Command::Pause(arguments) => halt::pause(arguments, open()?.0).await,
        Command::Resume(arguments) => halt::resume(arguments, open()?.0).await,
        Command::Runs(arguments) => runs::execute(arguments, open()?.0).await,
    }
}
