mod follow;
mod progress;
mod serve;

pub(super) use follow::{ended, follow};
pub(super) use progress::line;
pub(super) use serve::serve_until_over;

use super::{
    Failure,
    order::ordered,
    output::{print, print_json, seconds, table},
};
use crate::{
    app::{App, StateConnection},
    audit::{Finding, Report, tally},
    model::{RunId, RunKind, RunState},
    postgres::explain,
    state::{
        Run, RunCommand,
        postgres::{RunDesk, RunFilter},
    },
};
use clap::{Args, Subcommand};
use jiff::Timestamp;

/// Works on the state database; a running service notices by itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall runs list\n  rowcall runs show 7 --json\n  rowcall runs pause 7\n  rowcall runs resume 7\n  rowcall runs follow 7\n  rowcall runs scheduled \"loan audit\""
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List runs that are not over, the newest first.
    List {
        /// Also those that are over.
        #[arg(long)]
        all: bool,
        /// Only of this entity.
        #[arg(long)]
        entity: Option<String>,
        /// Only of this source.
        #[arg(long)]
        source: Option<String>,
        /// Only of this kind: snapshot, prune, replay or audit.
        #[arg(long, value_parser = kind)]
        kind: Option<RunKind>,
        /// Only in this state: requested, running, paused, done, failed or cancelled.
        #[arg(long, value_parser = state)]
        state: Option<RunState>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show everything about one run.
    Show {
        /// Its number, as listed.
        id: i64,
        /// Of this source, if several state databases have a run of this number.
        #[arg(long)]
        source: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask now for what a schedule asks for when its time comes.
    Scheduled {
        /// Its name, as `rowcall status --json` has it, or how it begins: `loan`, `"loan audit"`.
        schedule: String,
        /// Of this source, if several have one of that name.
        #[arg(long)]
        source: Option<String>,
    },
    /// Have runs wait where they are.
    Pause(Which),
    /// Let paused runs go on.
    Resume(Which),
    /// End runs for good; what they did stays.
    Cancel(Which),
    /// Wait until runs are over and show how they come on; exits with 1 if one fails or is cancelled.
    Follow(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Their numbers, as listed.
    #[arg(required = true)]
    ids: Vec<i64>,
    /// Of this source, if several state databases have a run of this number.
    #[arg(long)]
    source: Option<String>,
}

fn kind(text: &str) -> Result<RunKind, String> {
    text.parse().map_err(|_| format!("expected one of {}", RunKind::ALL.map(RunKind::name).join(", ")))
}

fn state(text: &str) -> Result<RunState, String> {
    text.parse().map_err(|_| format!("expected one of {}", RunState::ALL.map(RunState::name).join(", ")))
}

fn failed(error: tokio_postgres::Error) -> Failure {
    Failure::Failed(explain(&error))
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    let connections = app.state_connections().await?;
    match arguments.what {
        What::List { all, entity, source, kind, state, limit, json } => {
            let (open, sources) = (!all && state.is_none(), source.into_iter().collect());
            let filter = RunFilter { sources, kind, entity, state, open, ..RunFilter::default() };
            let (mut listed, mut now) = (Vec::new(), Timestamp::UNIX_EPOCH);
            for desk in desks(&connections) {
                listed.extend(desk.list(&filter, limit).await.map_err(failed)?);
                now = desk.now().await.map_err(failed)?;
            }
            if json { print_json(&listed) } else { print(&list(&listed, now, open)) }
        }
        What::Show { id, source, json } => {
            let (desk, run) = find(&connections, RunId(id), source.as_deref()).await?;
            let now = desk.now().await.map_err(failed)?;
            if json { print_json(&run) } else { print(&show(&run, now)) }
        }
        What::Scheduled { schedule, source } => {
            let source = source.as_deref();
            let asked = async { Ok(app.request_scheduled(&schedule, source, "command").await?) };
            let (_, id) = ordered(&app, "runs.scheduled", asked).await?;
            print(&format!("asked for: `rowcall runs follow {id}` shows how it comes on"))
        }
        What::Pause(which) => {
            let done = command(&connections, which, RunCommand::Pause);
            ordered(&app, "runs.pause", done).await
        }
        What::Resume(which) => {
            let done = command(&connections, which, RunCommand::Resume);
            ordered(&app, "runs.resume", done).await
        }
        What::Cancel(which) => {
            let done = command(&connections, which, RunCommand::Cancel);
            ordered(&app, "runs.cancel", done).await
        }
        What::Follow(Which { ids, source }) => {
            let mut runs = Vec::new();
            for id in ids {
                let (_, run) = find(&connections, RunId(id), source.as_deref()).await?;
                runs.push((run.source.to_string(), run.id));
            }
            drop(connections);
            follow(&app, runs).await
        }
    }
}

fn desks(connections: &[StateConnection]) -> impl Iterator<Item = RunDesk<'_>> {
    connections.iter().map(|it| RunDesk { client: &it.client })
}

/// Numbers count from 1 in each state database: with several of them one alone may mean two runs.
async fn find<'a>(
    connections: &'a [StateConnection],
    id: RunId,
    source: Option<&str>,
) -> Result<(RunDesk<'a>, Run), Failure> {
    let mut found = Vec::new();
    for desk in desks(connections) {
        let run = desk.show(id).await.map_err(failed)?;
        let run = run.filter(|run| source.is_none_or(|source| &*run.source == source));
        found.extend(run.map(|run| (desk, run)));
    }
    if found.len() > 1 {
        let message = format!("run {id} is in several state databases: add `--source` to say which is meant");
        return Err(Failure::Usage(message));
    }
    let none = || Failure::Failed(format!("there is no run {id}; see `rowcall runs list --all`"));
    found.pop().ok_or_else(none)
}

/// Each by itself: what cannot be done to one is no reason not to do it to the others.
async fn command(
    connections: &[StateConnection],
    Which { ids, source }: Which,
    command: RunCommand,
) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for id in ids.into_iter().map(RunId) {
        let done = match find(connections, id, source.as_deref()).await {
            Ok((desk, _)) => desk.command(id, command).await.map_err(|error| error.to_string()),
            Err(Failure::Failed(message)) => Err(message),
            Err(other) => return Err(other),
        };
        match done {
            Ok(state) => print(&format!("run {id} is {}", state.name()))?,
            Err(message) => refused.push(message),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Failed(refused.join("\n"))) }
}

fn age(run: &Run, now: Timestamp) -> String {
    seconds(now.duration_since(run.requested_at).as_secs_f64().max(0.0))
}

fn list(runs: &[Run], now: Timestamp, open: bool) -> String {
    if runs.is_empty() {
        let more = if open { "; `--all` lists those that are over too" } else { "" };
        return format!("there are no such runs{more}");
    }
    let head = [
        "id",
        "kind",
        "entity",
        "state",
        "progress",
        "applied",
        "skipped",
        "parked",
        "rate",
        "left",
        "age",
        "error or findings",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in runs {
        let found = progress::found(run).unwrap_or_default();
        let error = run.error.as_deref().map_or(&*found, progress::first_line);
        rows.push(vec![
            run.id.to_string(),
            run.kind.name().to_owned(),
            run.entity.as_deref().unwrap_or("all").to_owned(),
            run.state.name().to_owned(),
            progress::progress(run),
            run.counts.applied.to_string(),
            run.counts.skipped.to_string(),
            run.counts.parked.to_string(),
            progress::rate(run, now),
            progress::left(run, now),
            age(run, now),
            error.chars().take(100).collect(),
        ]);
    }
    table(&rows)
}

fn show(run: &Run, now: Timestamp) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "not yet".to_owned(), |at| format!("{at:.0}"));
    let mut text = format!(
        "{}\n  source {}, asked for by {} {:.0} ({} ago)\n  begun {}, over {}\n",
        progress::line(run, now),
        run.source,
        run.origin,
        run.requested_at,
        age(run, now),
        time(run.started_at),
        time(run.finished_at),
    );
    if let Some(base) = run.base {
        text.push_str(&format!("  the log stood at {base} when it began\n"));
    }
    let json = |value: &serde_json::Value| value.to_string();
    if !run.options.is_empty() {
        text.push_str(&format!("  options {}\n", json(&run.options.clone().into())));
    }
    if let Some(report) = progress::report(run) {
        text.push_str(&found(&report));
    }
    if let Some(cursor) = run.cursor.as_ref().filter(|_| !run.state.is_over()) {
        text.push_str(&format!("  goes on behind {}\n", json(cursor)));
    }
    if let Some(error) = &run.error {
        text.push_str(&format!("\n  {}\n", error.replace('\n', "\n  ")));
    }
    text
}

/// What an audit found, the first of it in full.
fn found(report: &Report) -> String {
    let mut text = format!("  found {}\n", tally(&report.found));
    if report.changing > 0 {
        text.push_str(&format!("  {} kept changing\n", report.changing));
    }
    for Finding { route, key, finding, fields, message, .. } in &report.first {
        let message = message.iter().map(|it| format!(": {it}")).collect::<String>();
        text.push_str(&format!("    {route} {key}: {}{message}\n", finding.name()));
        for it in fields {
            text.push_str(&format!("      {}: here {}, there {}\n", it.field, it.here, it.there));
        }
    }
    let more = report.total().saturating_sub(report.first.len() as u64);
    if more > 0 {
        text.push_str(&format!("    and {more} more\n"));
    }
    if !report.repairs.is_empty() {
        let runs: Vec<String> = report.repairs.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  asked for repair by runs {}\n", runs.join(" ")));
    }
    text
}
