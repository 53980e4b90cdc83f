//! `rowcall notify`.

use super::{Failure, output::print};
use crate::app::App;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell the targets of `notify` that this is a test, once each, and say what came of it. Exit code 0 if each took
    /// it, 1 otherwise.
    #[command(after_help = "Example:\n  rowcall notify test pager")]
    Test {
        /// The target; all of them if none is given.
        target: Option<String>,
    },
}

pub(super) async fn execute(Arguments { command }: Arguments, app: App) -> Result<(), Failure> {
    let Command::Test { target } = command;
    let results = app.test_notify(target.as_deref()).await?;
    let line = |(name, result): &(String, Result<(), String>)| match result {
        Ok(()) => format!("✓ {name}: delivered\n"),
        Err(why) => format!("✗ {name}: {why}\n"),
    };
    print(&results.iter().map(line).collect::<String>())?;
    if results.iter().all(|(_, result)| result.is_ok()) { Ok(()) } else { Err(Failure::Said) }
}
