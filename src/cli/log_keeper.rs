use super::{Failure, run};
use crate::{app::App, config::Log};
use clap::Args;

/// Takes the records of calls out of RabbitMQ and stores them in MongoDB. Any number of them share the
/// work; `rowcall run` does it too, unless `call_log.keeper` is false. Stops in order on SIGTERM or
/// Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall --config /etc/rowcall.yaml log-keeper")]
pub(super) struct Arguments {}

pub(super) async fn execute(Arguments {}: Arguments, app: App, log: &Log) -> Result<(), Failure> {
    run::start_log(log, app.exporter())?;
    run::until_stopped(|stop| async move { app.keep_log(stop).await }).await
}
