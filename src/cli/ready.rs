use super::{Failure, output::print};
use crate::app::App;
use clap::Args;

/// Asks the running service's own `/readyz`, for whoever cannot ask by HTTP, such as a container's health check.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  rowcall ready")]
pub(super) struct Arguments {}

pub(super) async fn execute(Arguments {}: Arguments, app: App) -> Result<(), Failure> {
    print(&app.ready().await?)
}
