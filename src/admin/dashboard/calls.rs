//! The log of calls: searched, and followed from a change to what the remote made of it, and back.

use super::{
    forms,
    health::Health,
    layout::Page,
    pieces::{self, url},
    runs, say,
    visit::Visit,
};
use crate::{
    admin::{
        api::{self, Given, query_of},
        problem::Problem,
        view::{Lineage, LineageObject},
    },
    call_log::{CallRecord, Found},
};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let given = visit.given(query_of("calls.search"))?;
    let query = api::call_query(visit.desk(), &given).await?;
    let Found { calls, more, looked } = visit.desk().calls(&query).await?;
    let entities = runs::entities(&visit.desk().configuration().settings);
    let body = html! {
        h1 { "Calls" }
        (search(&given, &entities))
        @if calls.is_empty() && more.is_none() { (pieces::nothing("No call in the log is like this.")) }
        @if !calls.is_empty() {
            p.quiet { "The newest first." }
            (table("Calls", &calls, visit.now))
        }
        @if let Some((at, id)) = more { (go_on(&given, looked, at, &id.0, visit.now)) }
        (find())
    };
    Ok(Page::still("Calls", body))
}

fn search(given: &Given, entities: &[String]) -> Markup {
    let names: Vec<&str> = entities.iter().map(String::as_str).collect();
    let text = |name: &'static str, label: &str, hint: &str| forms::text(name, label, given.text(name), hint);
    html! {
        form.filter method="get" action="/calls" role="search" aria-label="Calls" {
            (forms::choice("entity", "Entity", "any", &names, given.text("entity")))
            (text("route", "Route", "any"))
            (text("key", "Key", "any"))
            (text("status", "Status", "404, 4xx or 500-504"))
            (text("class", "Failure", "timeout, refused …"))
            (text("since", "Since", "15m, 7d or a time"))
            (text("until", "Until", "now"))
            (text("text", "Text", "in the URL or a body"))
            (forms::hidden(given, &["entity", "route", "key", "status", "class", "since", "until", "text", "before"]))
            div.buttons { button { "Search" } " " a.button.quiet href="/calls" { "All" } }
        }
    }
}

/// Where there is more, or may be.
pub(super) fn go_on(given: &Given, looked: Option<usize>, at: Timestamp, id: &str, now: Timestamp) -> Markup {
    let href = format!("/calls?{}", given.but(&["before"], "before", id));
    html! {
        @match looked {
            Some(looked) => p {
                "Looked through " (say::of(looked as i64, "call", "calls")) ", back to " (say::when(at, now)) ". "
                a.button.quiet href=(href) { "Look further" }
            },
            None => p { a.button.quiet href=(href) { "Older" } },
        }
    }
}

fn find() -> Markup {
    html! {
        form.filter method="get" action="/lineage" aria-label="Lineage" {
            h2 { "From a remote's id back to its row" }
            (forms::text("remote_id", "Remote id", None, "what the remote calls it"))
            (forms::text("entity", "Entity", None, "any"))
            div.buttons { button { "Follow" } }
        }
    }
}

/// Well, if it was answered as it should be.
pub(super) fn outcome(call: &CallRecord) -> Markup {
    let status = call.response.as_ref().map(|it| it.status.to_string());
    let said = status.unwrap_or_else(|| call.class.as_deref().unwrap_or("no answer").to_owned());
    let health = match &*call.outcome {
        "answered" => Health::Well,
        "parked" | "rejected" | "dead" => Health::Stuck,
        _ => Health::Behind,
    };
    pieces::state(health, &said)
}

pub(super) fn table(caption: &str, calls: &[CallRecord], now: Timestamp) -> Markup {
    if calls.is_empty() {
        return pieces::nothing("No calls.");
    }
    let rows = html! {
        @for call in calls {
            tr {
                td { (say::when(call.at, now)) }
                td { (outcome(call)) " " span.quiet { (call.outcome) } }
                td.path { a href=(href(call)) { (call.method) " " (path(&call.url)) } }
                td.name { (call.route) }
                td.name { (keys(call)) }
                td.number { (took(call)) }
                td.number { (call.attempt) }
                td.why { @if let Some(error) = &call.error { (say::line(error)) } }
            }
        }
    };
    let head = ["When", "Answer", "Request", "Route", "Key", "#Took", "#Attempt", "Failure"];
    pieces::table(caption, &head, rows)
}

pub(super) fn href(call: &CallRecord) -> String {
    format!("/calls/{}", url(&call.id.0))
}

pub(super) fn took(call: &CallRecord) -> String {
    let took = call.took_us as f64 / 1_000.0;
    if took < 1_000.0 { format!("{took:.1} ms") } else { say::seconds(took / 1_000.0) }
}

pub(super) fn keys(call: &CallRecord) -> String {
    match &call.keys[..] {
        [] => "–".to_owned(),
        [key] => key.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn path(full: &str) -> &str {
    let behind = full.split_once("://").map_or(full, |(_, rest)| rest);
    behind.find('/').map_or(full, |at| &behind[at..])
}

pub(super) async fn lineage(visit: Visit) -> Result<Page, Problem> {
    let given = visit.given(query_of("lineage"))?;
    let of = api::lineage_of(visit.desk(), &given)?;
    let lineage = visit.desk().lineage(of).await?;
    let title = match (given.text("change"), given.text("remote_id")) {
        (Some(change), _) => format!("What became of change {change}"),
        (_, id) => format!("Where {} comes from", id.unwrap_or_default()),
    };
    Ok(Page::still(title.clone(), html! { h1 { (title) } (draw(&lineage, visit.now)) (find()) }))
}

fn draw(lineage: &Lineage, now: Timestamp) -> Markup {
    html! {
        @for note in &lineage.notes { p.reason { (note) } }
        @if lineage.objects.is_empty() { (pieces::nothing("Nothing is known of it.")) }
        @for object in &lineage.objects { (one(object, now)) }
    }
}

/// Row, changes, calls, remote id: in this order, as it went.
fn one(object: &LineageObject, now: Timestamp) -> Markup {
    let trail = &object.trail;
    html! {
        section {
            h2 { "Row " code { (trail.key) } " of " (trail.entity) ", by route " a href=(format!("/routes/{}", url(&trail.route))) { (trail.route) } }
            @if trail.more { p.quiet { "Older calls were left out." } }
            ol.lineage {
                @for passage in &trail.changes {
                    li {
                        h3 { "Change " code { (passage.change) } }
                        (table("Its calls", &passage.calls, now))
                    }
                }
                @for parked in &object.parked {
                    li {
                        h3 { "Change " code { (parked.change) } " is parked" }
                        p { (parked.state.map_or("?", |it| it.name())) " (" (parked.reason.map_or("?", |it| it.name())) "): "
                            a href=(format!("/parked?route={}&key={}", url(&parked.route), url(&parked.key))) { "see it" } }
                    }
                }
                li {
                    h3 { "At the remote" }
                    @match &object.link {
                        Some(link) => {
                            p { @if link.gone { "It was deleted there, " } @else { "What was saved of it, " } (say::when(link.synced_at, now)) ", by change " code { (link.change) } "." }
                            (pieces::json(&serde_json::Value::Object(link.saved.clone())))
                        }
                        None => p { "There is no link: nothing is known to be there." }
                    }
                }
            }
        }
    }
}
