use super::Failure;
use crate::{
    app::App,
    config::{Log, LogFormat},
};
use clap::Args;
use std::io::{IsTerminal, stderr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{EnvFilter, fmt};

/// Stops in order on SIGTERM or Ctrl-C; a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall --config /etc/rowcall.yaml run")]
pub(super) struct Arguments {}

pub(super) async fn execute(Arguments {}: Arguments, app: App, log: &Log) -> Result<(), Failure> {
    start_log(log)?;
    let (stop, stopped) = watch::channel(false);
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(terminate), Ok(interrupt)] = &mut signals else {
        return Err(Failure::Failed("signals cannot be listened to".to_owned()));
    };
    let running = app.run(stopped);
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = either(terminate, interrupt) => {}
    }
    tracing::info!("stopping: waiting for the answers under way; a second signal stops at once");
    stop.send_replace(true);
    tokio::select! {
        ended = running => Ok(ended?),
        () = either(terminate, interrupt) => Err(Failure::Failed("stopped at once".to_owned())),
    }
}

async fn either(first: &mut Signal, second: &mut Signal) {
    tokio::select! {
        _ = first.recv() => {}
        _ = second.recv() => {}
    }
}

fn start_log(log: &Log) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(&log.level).map_err(|error| Failure::Usage(format!("log.level: {error}")))?;
    let base = fmt().with_env_filter(filter).with_writer(stderr);
    let started = match log.format {
        LogFormat::Text => base.with_ansi(stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => base.json().flatten_event(true).try_init(),
    };
    // A log that is there already will do.
    let _ = started;
    Ok(())
}
