mod lineage;
mod print;

use super::{
    Failure,
    output::{print as say, print_json},
};
use crate::{
    app::{App, CallArchive},
    call_log::{self, CallQuery, CallRecord, RecordId, status_range},
};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashSet, time::Duration};

/// Reads the log of calls: what was sent, and what came back.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall calls tail --follow\n  rowcall calls search --entity loan --key 42 --since 7d\n  rowcall calls search --status 4xx --since 1h --json\n  rowcall calls lineage --remote-id L169 --entity loan\n  rowcall calls show 'loan-1f2e3d4c-16B3748-0-create#1'"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the newest calls, the newest last.
    Tail {
        #[command(flatten)]
        which: Which,
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
        /// Go on with those that come.
        #[arg(long, short)]
        follow: bool,
        /// Print JSON, one record a line.
        #[arg(long)]
        json: bool,
    },
    /// Look for calls, the newest first.
    Search {
        #[command(flatten)]
        which: Which,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Print JSON, one record a line.
        #[arg(long)]
        json: bool,
    },
    /// From a change to what the remote made of it, and from the remote's id back to its changes.
    Lineage(lineage::Arguments),
    /// Show one attempt: request and answer.
    Show {
        /// Its id, as listed.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Args)]
struct Which {
    /// Only of this entity.
    #[arg(long)]
    entity: Option<String>,
    /// Only of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only those that carried this key.
    #[arg(long)]
    key: Option<String>,
    /// Only those that this change caused, as listed: `0/16B3748.0`.
    #[arg(long)]
    change: Option<String>,
    /// Only of this run.
    #[arg(long)]
    run: Option<i64>,
    /// Only answered with this status: `404`, `4xx` or `500-504`.
    #[arg(long, value_parser = status_range)]
    status: Option<(u16, u16)>,
    /// Only failures of this kind: transport, timeout, refused, auth, conflict, …
    #[arg(long)]
    class: Option<String>,
    /// Only since then: a time, or how long ago, such as 90s, 15m or 7d.
    #[arg(long)]
    since: Option<String>,
    /// Only before then.
    #[arg(long)]
    until: Option<String>,
    /// Only with this text in the URL, a body, or the words of a failure.
    #[arg(long)]
    text: Option<String>,
}

fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    call_log::moment(text, now).map_err(Failure::Usage)
}

impl Which {
    fn query(self, now: Timestamp, limit: usize) -> Result<CallQuery, Failure> {
        let Self { entity, route, key, change, run, status, class, since, until, text } = self;
        let since = since.map(|text| moment(&text, now)).transpose()?;
        let until = until.map(|text| moment(&text, now)).transpose()?;
        Ok(CallQuery {
            entity,
            route,
            key,
            change,
            run,
            status,
            class,
            since,
            until,
            text,
            before: None,
            limit,
            look: None,
        })
    }
}

/// How often what is new is looked for.
const PAUSE: Duration = Duration::from_millis(500);
/// What is stored late is looked for again for so long.
const LATE: SignedDuration = SignedDuration::from_secs(60);

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let archive = app.call_archive().await?;
    match arguments.what {
        What::Search { which, limit, json } => {
            let found = find(&archive, &which.query(app.now(), limit)?).await?;
            if json { lines(&found) } else { say(&print::list(&found)) }
        }
        What::Show { id, json } => {
            let found = archive.store.get(&RecordId(id.as_str().into())).await.map_err(failed)?;
            let Some(mut record) = found else {
                return Err(Failure::Failed(format!(
                    "there is no call `{id}` in the log; see `rowcall calls search`"
                )));
            };
            archive.open(&mut record);
            if json { print_json(&record) } else { say(&print::show(&record)) }
        }
        What::Lineage(arguments) => lineage::execute(arguments, &archive, &app).await,
        What::Tail { which, lines: count, follow, json } => {
            let query = which.query(app.now(), count)?;
            tail(&archive, query, follow, json).await
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

async fn find(archive: &CallArchive, query: &CallQuery) -> Result<Vec<CallRecord>, Failure> {
    let mut found = archive.store.find(query).await.map_err(failed)?;
    found.iter_mut().for_each(|record| archive.open(record));
    Ok(found)
}

async fn tail(archive: &CallArchive, mut query: CallQuery, follow: bool, json: bool) -> Result<(), Failure> {
    let mut found = find(archive, &query).await?;
    let mut shown: HashSet<RecordId> = HashSet::new();
    loop {
        found.retain(|record| !shown.contains(&record.id));
        found.reverse();
        if !found.is_empty() {
            if json { lines(&found)? } else { say(&print::lines(&found))? }
        }
        if !follow {
            return Ok(());
        }
        if let Some(newest) = found.iter().map(|record| record.at).max() {
            // Records come in late: those of slow calls began before faster ones.
            query.since = query.since.max(newest.checked_sub(LATE).ok());
        }
        shown.extend(found.drain(..).map(|record| record.id));
        query.limit = usize::MAX;
        tokio::time::sleep(PAUSE).await;
        found = find(archive, &query).await?;
    }
}

/// One record a line.
fn lines(records: &[CallRecord]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(());
    }
    let line = |record| serde_json::to_string(record).map_err(failed);
    say(&records.iter().map(line).collect::<Result<Vec<_>, _>>()?.join("\n"))
}
