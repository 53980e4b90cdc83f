//! Runs: those that are not over, those that were, and new ones.

use super::{forms, layout::Page, pieces, run, visit::Visit};
use crate::{
    admin::{api::query_of, problem::Problem, view::CheckpointLine},
    state::{Run, postgres::RunFilter},
};
use maud::{Markup, html};
use serde_json::Value;

/// So many are listed.
const MOST: i64 = 50;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let given = visit.given(query_of("runs.list"))?;
    let filter = RunFilter {
        sources: given.owned("source").into_iter().collect(),
        kind: given.get("kind"),
        entity: given.owned("entity"),
        state: given.get("state"),
        ..RunFilter::default()
    };
    let mut runs = visit.desk().runs(&filter, given.get("limit").unwrap_or(MOST)).await?;
    runs.sort_by_key(|it| it.state.is_over());
    let over = runs.iter().position(|it| it.state.is_over()).unwrap_or(runs.len());
    let entities = entities(&visit.desk().configuration().settings);
    // A replay may begin elsewhere too.
    let checkpoints = visit.desk().checkpoints(None).await.unwrap_or_default();
    let (open, over): (&[Run], &[Run]) = runs.split_at(over);
    let live = html! {
        h1 { "Runs" }
        p.lead { "A run is a bounded piece of work: a snapshot, a prune, an audit or a replay." }
        h2 { "Not over" }
        @if open.is_empty() { (pieces::nothing("No run is asked for, under way or paused.")) }
        @else { (run::table("Runs that are not over", open, visit.now)) }
        h2 { "Over" }
        @if over.is_empty() { (pieces::nothing("None yet.")) }
        @else { (run::table("Runs that are over", over, visit.now)) }
    };
    Ok(Page { title: "Runs".to_owned(), live, rest: start(&entities, &checkpoints) })
}

pub(super) fn entities(settings: &Value) -> Vec<String> {
    settings["entities"].as_object().map(|it| it.keys().cloned().collect()).unwrap_or_default()
}

fn start(entities: &[String], checkpoints: &[CheckpointLine]) -> Markup {
    let names: Vec<&str> = entities.iter().map(String::as_str).collect();
    let entity = || forms::choice("entities", "Entity", "every entity", &names, None);
    let rate = |of: &str| forms::text("rate", &format!("{of} a second, at most"), None, "no limit");
    let keys = || {
        html! { label.field.wide { span { "Only these keys, one a line" } textarea name="keys" rows="2" spellcheck="false" {} } }
    };
    let form = |deed: &str, title: &str, about: &str, fields: Markup| {
        html! {
            details.start {
                summary { (title) }
                p { (about) }
                form method="get" action=(format!("/do/{deed}")) { (fields) button { "Go on" } }
            }
        }
    };
    html! {
        section aria-labelledby="start-head" {
            h2 #start-head { "Start a run" }
            (form("runs.snapshot", "Snapshot", "Sends the rows of an entity as they are now.", html! {
                (entity()) (rate("Rows")) (keys()) (forms::tick("force", "Also what the remote was told before"))
            }))
            (form("runs.audit", "Audit", "Compares what the remotes hold with the rows; needs a read in the configuration.", html! {
                (entity()) (forms::text("sample", "Only so many rows", None, "all")) (rate("Objects")) (forms::tick("repair", "Repair what differs"))
            }))
            (form("runs.prune", "Prune", "Counts what is linked and has no row any more, or deletes it at the remote.", html! {
                (entity()) (rate("Keys")) (forms::tick("delete", "Delete it, do not only count"))
            }))
            (form("runs.replay", "Replay", "Sends changes again that were sent before.", html! {
                label.field {
                    span { "From" }
                    input name="from" required list="points" placeholder="15m, a time, a position or a checkpoint" autocomplete="off";
                }
                datalist #points { @for it in checkpoints { option value=(it.mark.name) {} } }
                (forms::text("to", "To", None, "what is settled when it begins"))
                (entity()) (keys()) (forms::tick("new_keys", "Under call keys of its own"))
            }))
        }
    }
}
