//! `rowcall calls lineage`: from a change to what the remote made of it, and back.

use super::{failed, moment, print};
use crate::{
    app::{App, CallArchive, Lineage, LineageObject, LineageOf},
    cli::{
        Failure,
        output::{print as say, print_json, table},
    },
};
use clap::Args;
use std::fmt::Write as _;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  rowcall calls lineage --change 0/16B3748.0\n  rowcall calls lineage --remote-id L169 --entity loan"
)]
pub(super) struct Arguments {
    /// What became of this change, as listed: `0/16B3748.0`.
    #[arg(long, required_unless_present = "remote_id", conflicts_with = "remote_id")]
    change: Option<String>,
    /// Where what the remote calls like this comes from.
    #[arg(long)]
    remote_id: Option<String>,
    /// The entity that it is one of.
    #[arg(long, requires = "remote_id")]
    entity: Option<String>,
    /// Where no link knows the id, how far back the log is looked through for it: a time, or how long ago.
    #[arg(long, default_value = "30d")]
    since: String,
    /// Print JSON, with the whole records.
    #[arg(long)]
    json: bool,
}

pub(super) async fn execute(arguments: Arguments, archive: &CallArchive, app: &App) -> Result<(), Failure> {
    let Arguments { change, remote_id, entity, since, json } = arguments;
    let of = match (change, remote_id) {
        (Some(change), _) => LineageOf::Change(change),
        (None, id) => {
            LineageOf::RemoteId { id: id.unwrap_or_default(), entity, since: moment(&since, app.now())? }
        }
    };
    let lineage = app.lineage(archive, of, None).await.map_err(failed)?;
    if json {
        print_json(&lineage)?;
    } else {
        say(&text(&lineage))?;
    }
    if lineage.objects.is_empty() { Err(Failure::Said) } else { Ok(()) }
}

fn text(lineage: &Lineage) -> String {
    let mut text = String::new();
    for object in &lineage.objects {
        text.push_str(&one(object));
        text.push('\n');
    }
    if lineage.objects.is_empty() {
        text.push_str(&match &lineage.of {
            LineageOf::Change(change) => format!(
                "no call of change `{change}` is in the log: it may have been skipped, merged into a later one, or \
                 be older than the log\n"
            ),
            LineageOf::RemoteId { id, .. } => format!(
                "no link knows `{id}`, and no call that is looked at names it: `--since` looks further back. In sealed \
                 bodies nothing is found\n"
            ),
        });
    }
    lineage.notes.iter().for_each(|note| text.push_str(&format!("⚠ {note}\n")));
    text
}

fn one(object: &LineageObject) -> String {
    let LineageObject { trail, link, parked, found_by } = object;
    let by = match *found_by {
        "change" => "",
        "link" => ", found by its link",
        _ => ", found by its calls",
    };
    let mut text = format!("{} {}{by}\n", trail.route, trail.key);
    if trail.more {
        text.push_str("  older calls are left out: `rowcall calls search` has them\n");
    }
    for passage in &trail.changes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  change {}", passage.change);
        let rows: Vec<Vec<String>> = passage.calls.iter().map(print::attempt).collect();
        table(&rows).lines().for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    for change in parked {
        let (state, reason) =
            (change.state.map_or("?", |it| it.name()), change.reason.map_or("?", |it| it.name()));
        let _ = writeln!(text, "  change {} is parked, {state} ({reason})", change.change);
    }
    let _ = match link {
        Some(link) if link.gone => writeln!(text, "  → deleted at the remote by change {}", link.change),
        Some(link) => {
            let saved = serde_json::to_string(&link.saved).unwrap_or_default();
            writeln!(text, "  → {saved} since change {}, {:.0}", link.change, link.synced_at)
        }
        None => writeln!(text, "  → no link"),
    };
    text
}
