mod call_log;
mod remote;
mod watch;

use super::{
    Failure,
    output::{bytes, print, print_json, seconds, table},
};
use crate::app::{App, Status};
use clap::Args;
use std::{collections::BTreeMap, time::Duration};

/// Reads the state database and the source; no running service is needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  rowcall status --watch\n  rowcall status --watch 10 --json")]
pub(super) struct Arguments {
    /// Print JSON; with `--watch` an object a line.
    #[arg(long)]
    json: bool,
    /// Show it again and again, and how many changes a second each route settles, until Ctrl-C.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    watch: Option<u64>,
}

pub(super) async fn execute(arguments: Arguments, app: App) -> Result<(), Failure> {
    if let Some(seconds) = arguments.watch {
        return watch::watch(&app, Duration::from_secs(seconds), arguments.json).await;
    }
    let status = app.status().await?;
    if arguments.json { print_json(&status) } else { print(&text(&status, None)) }
}

/// Changes settled in a second, by route.
type Rates = BTreeMap<String, f64>;

fn text(status: &Status, rates: Option<&Rates>) -> String {
    let mut text = String::new();
    for line in &status.sources {
        text.push_str(&format!("source `{}`: ", line.source));
        match &line.state {
            None => text.push_str("never started"),
            Some(state) => {
                let instance = match &state.instance {
                    Some(instance) if instance.state == "running" && !instance.alive => {
                        format!("instance {} has not been heard of lately", instance.name)
                    }
                    Some(instance) => format!("{} (instance {})", instance.state, instance.name),
                    None => "no instance yet".to_owned(),
                };
                text.push_str(&format!("{instance}\n  checkpoint {}", state.checkpoint));
                if let Some(at) = state.settled_commit_at {
                    text.push_str(&format!(", newest settled commit {at:.0}"));
                }
                let lag = line.lag_bytes.map_or_else(|| "unknown".to_owned(), bytes);
                text.push_str(&format!("\n  lag {lag}, {}", seconds(state.lag_seconds)));
                if let Some(kept) = line.kept_bytes {
                    text.push_str(&format!("; slot `{}` keeps {} of log", state.slot, bytes(kept)));
                }
                if let Some(wal_status) = line.wal_status.as_ref().filter(|it| *it != "reserved") {
                    text.push_str(&format!(" ({wal_status})"));
                }
            }
        }
        text.push('\n');
        for problem in [&line.danger, &line.problem].into_iter().flatten() {
            text.push_str(&format!("  ✗ {problem}\n"));
        }
    }
    status.halts.iter().for_each(|it| text.push_str(&format!("✗ {it}\n")));
    status.call_logs.iter().for_each(|it| text.push_str(&call_log::text(it)));
    status.remotes.iter().for_each(|it| text.push_str(&remote::text(it)));
    let now = status.read_at.unwrap_or_default();
    status.runs.iter().for_each(|run| text.push_str(&format!("{}\n", super::runs::line(run, now))));
    for schedule in &status.schedules {
        let time =
            |at: Option<jiff::Timestamp>| at.map_or_else(|| "not yet".to_owned(), |at| format!("{at:.0}"));
        let (last, next) = (time(schedule.last), time(schedule.next));
        let (kind, cron, zone) = (schedule.run, &schedule.cron, &schedule.zone);
        text.push_str(&format!(
            "schedule {kind} {} `{cron}` ({zone}): last {last}, next {next}\n",
            schedule.entity
        ));
    }
    if status.routes.is_empty() {
        return text;
    }
    let head = ["route", "applied", "skipped", "parked", "in flight", "backing off"];
    let rate = rates.map(|_| "a second".to_owned());
    let mut rows = vec![head.map(str::to_owned).into_iter().chain(rate).collect::<Vec<_>>()];
    for route in &status.routes {
        let counts = [route.applied, route.skipped, route.parked, route.in_flight, route.backing_off];
        let rate = rates.map(|it| it.get(&route.route).map_or("-".to_owned(), |it| format!("{it:.1}")));
        let name = std::iter::once(route.route.clone());
        rows.push(name.chain(counts.map(|it| it.to_string())).chain(rate).collect());
    }
    text.push('\n');
    text.push_str(&table(&rows));
    for route in &status.routes {
        for count in &route.parked_by {
            let state = count.state.map_or("?", |it| it.name());
            let reason = count.reason.map_or("?", |it| it.name());
            text.push_str(&format!("{}: {} parked, {state} ({reason})\n", route.route, count.count));
        }
        if route.to_write_back > 0 {
            let rows = if route.to_write_back == 1 { "row" } else { "rows" };
            text.push_str(&format!("{}: {} {rows} to be written back\n", route.route, route.to_write_back));
        }
        if let Some(error) = &route.write_back_error {
            let line = error.lines().next().unwrap_or_default();
            text.push_str(&format!("{}: cannot be written back: {line}\n", route.route));
        }
        if let (Some(error), Some(at)) = (&route.last_error, route.last_error_at) {
            let line = error.lines().next().unwrap_or_default();
            text.push_str(&format!("{}: last failure {at:.0}: {line}\n", route.route));
        }
    }
    text
}
