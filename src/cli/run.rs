use super::Failure;
use crate::{
    app::{App, AppError},
    config::{Log, LogFormat},
    telemetry::Exporter,
};
use clap::Args;
use std::io::{IsTerminal, stderr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// Stops in order on SIGTERM or Ctrl-C; a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall --config /etc/rowcall.yaml run")]
pub(super) struct Arguments {}

pub(super) async fn execute(Arguments {}: Arguments, app: App, log: &Log) -> Result<(), Failure> {
    start_log(log, app.exporter())?;
    until_stopped(|stop| async move { app.run(stop).await }).await
}

/// Runs until a signal asks for a stop, and then until that is done; a second one stops at once.
pub(super) async fn until_stopped<F: Future<Output = Result<(), AppError>>>(
    run: impl FnOnce(watch::Receiver<bool>) -> F,
) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(false);
    let mut signals = Signals::new()?;
    let running = run(stopped);
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = signals.next() => {}
    }
    tracing::info!("stopping: waiting for what is under way; a second signal stops at once");
    stop.send_replace(true);
    tokio::select! {
        ended = running => {
            tracing::info!("stopped");
            Ok(ended?)
        }
        () = signals.next() => Err(Failure::Failed("stopped at once".to_owned())),
    }
}

/// What asks for a stop: SIGTERM and Ctrl-C.
pub(super) struct Signals([Signal; 2]);

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let [Ok(terminate), Ok(interrupt)] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal)
        else {
            return Err(Failure::Failed("signals cannot be listened to".to_owned()));
        };
        Ok(Self([terminate, interrupt]))
    }

    pub(super) async fn next(&mut self) {
        let Self([terminate, interrupt]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// `exporter` is told the lines too.
pub(super) fn start_log(log: &Log, exporter: Option<&Exporter>) -> Result<(), Failure> {
    // At `debug` these print whole rows and headers, which only who names them wants to see.
    let quiet = ["tokio_postgres", "h2"].into_iter().filter(|it| !log.level.contains(it));
    let level = quiet.fold(log.level.clone(), |level, it| format!("{level},{it}=warn"));
    // It says at `error` what the call log says itself, once, with what to do.
    let level = if log.level.contains("lapin") { level } else { format!("{level},lapin=off") };
    let filter = EnvFilter::try_new(&level).map_err(|error| Failure::Usage(format!("log.level: {error}")))?;
    let base = registry().with(filter).with(exporter.and_then(Exporter::lines));
    let (layer, terminal) = (fmt::layer().with_writer(stderr), stderr().is_terminal());
    let started = match (log.format, terminal) {
        (LogFormat::Text, _) | (LogFormat::Auto, true) => {
            base.with(layer.with_ansi(terminal).with_target(false)).try_init()
        }
        (LogFormat::Json, _) | (LogFormat::Auto, false) => {
            base.with(layer.json().flatten_event(true)).try_init()
        }
    };
    // A log that is there already will do.
    let _ = started;
    Ok(())
}
