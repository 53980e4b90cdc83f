use super::{
    Failure,
    order::ordered,
    runs::{follow, serve_until_over},
};
use crate::{
    app::{App, RunOptions, SnapshotRequest},
    config::Log,
};
use clap::Args;
use std::{io::Write, num::NonZeroU32};

/// A running service does it, beside what it does anyway; without one this command does it, and
/// replicates until it is done. Rows that would tell the remote what it was told before are skipped.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall snapshot --entity loan --wait\n  rowcall snapshot --entity loan --where \"status = 'active'\" --force\n  rowcall snapshot --entity loan --keys 17 18\n  rowcall snapshot --prune"
)]
pub(super) struct Arguments {
    /// The entity whose rows are sent; may be given several times. Every entity, if left out.
    #[arg(long = "entity", value_name = "ENTITY")]
    entities: Vec<String>,
    /// Only rows for which this is true, in SQL.
    #[arg(long = "where", value_name = "SQL", conflicts_with = "keys")]
    filter: Option<String>,
    /// Only the rows whose keys this statement yields, in SQL.
    #[arg(long, value_name = "SQL", conflicts_with_all = ["keys", "filter"])]
    query: Option<String>,
    /// Only these keys. Values of a key of several columns are joined by commas.
    #[arg(long, num_args = 1.., value_name = "KEY")]
    keys: Vec<String>,
    /// Also send what the remote was told before.
    #[arg(long)]
    force: bool,
    /// Read so many rows a second, at most.
    #[arg(long, value_name = "ROWS")]
    rate: Option<NonZeroU32>,
    /// Afterwards count the objects that are linked although their row is gone; `--yes` deletes them.
    #[arg(long, conflicts_with_all = ["filter", "query", "keys"])]
    prune: bool,
    /// Delete what `--prune` finds.
    #[arg(long, requires = "prune")]
    yes: bool,
    /// Wait until it is done, when a running service does it; exits with 1 if it fails.
    #[arg(long)]
    wait: bool,
}

impl Arguments {
    fn request(&self) -> Result<SnapshotRequest, Failure> {
        let partial = self.filter.is_some() || self.query.is_some() || !self.keys.is_empty();
        if partial && self.entities.len() != 1 {
            let message =
                "`--where`, `--query` and `--keys` concern one table: name its entity with `--entity`";
            return Err(Failure::Usage(message.to_owned()));
        }
        let rows = RunOptions {
            filter: self.filter.clone(),
            query: self.query.clone(),
            force: self.force,
            rate: self.rate,
            ..RunOptions::default()
        };
        let prune = RunOptions { rate: self.rate, dry_run: !self.yes, ..RunOptions::default() };
        Ok(SnapshotRequest {
            entities: self.entities.clone(),
            keys: self.keys.clone(),
            rows,
            prune: self.prune.then_some(prune),
        })
    }
}

pub(super) async fn execute(arguments: Arguments, app: App, log: &Log) -> Result<(), Failure> {
    let request = arguments.request()?;
    let asked = async { Ok(app.request_snapshot(&request).await?) };
    let asked = ordered(&app, "runs.snapshot", asked).await?;
    let sources: Vec<&str> = asked.iter().map(|(source, _)| source.as_str()).collect();
    if !app.is_served(&sources).await? {
        return serve_until_over(&app, log, follow(&app, asked)).await;
    }
    if arguments.wait {
        return follow(&app, asked).await;
    }
    let ids: Vec<String> = asked.iter().map(|(_, id)| id.to_string()).collect();
    let ids = ids.join(" ");
    writeln!(std::io::stdout(), "asked for: `rowcall runs follow {ids}` shows how it comes on")?;
    Ok(())
}
