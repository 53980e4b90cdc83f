//! One run: how far it is, what it found, and what can be done with it.

use super::{
    health::Health,
    layout::Page,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::{
    admin::{
        api::{NAME, param},
        problem::{BAD_PARAMETER, Problem},
    },
    model::{RunId, RunKind, RunState},
    state::Run,
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let number = visit.place().parse().map(RunId);
    let id = number.map_err(|_| Problem::new(BAD_PARAMETER, "a run is named by a whole number"))?;
    let given = visit.given(&[param("source", NAME, "")])?;
    let run = visit.desk().run(id, given.text("source")).await?;
    Ok(Page { title: format!("Run {id}"), live: draw(&run, visit.now), rest: html! {} })
}

fn draw(run: &Run, now: Timestamp) -> Markup {
    let count = |it: u64| say::count(i64::try_from(it).unwrap_or(i64::MAX));
    html! {
        h1 #headline { (pieces::shape(health(run.state))) "Run " (run.id) ", " (name(run)) ": " (run.state.name()) }
        @if let Some(error) = &run.error { p.reason { "It failed: " (error) } }
        (bar(run))
        (pieces::facts(&[
            ("Read", html! { (progress(run)) }),
            ("Rate", html! { (rate(run, now)) }),
            ("Left", html! { (left(run, now)) }),
            (if run.kind == RunKind::Audit { "Agree" } else { "Applied" }, html! { (count(run.counts.applied)) }),
            ("Skipped", html! { (count(run.counts.skipped)) }),
            ("Parked", html! { (count(run.counts.parked)) }),
            ("Source", html! { (run.source) }),
            ("Asked for by", html! { (run.origin) ", " (say::when(run.requested_at, now)) }),
            ("Begun", say::perhaps(run.started_at, now)),
            ("Over", say::perhaps(run.finished_at, now)),
        ]))
        p.actions { (actions(run)) a.button.quiet href=(format!("/calls?run={}", run.id)) { "Its calls" } }
        @if let Some(report) = &run.report { (findings(report)) }
        @if !run.options.is_empty() { details { summary { "Options" } (pieces::json(&Value::Object(run.options.clone()))) } }
    }
}

/// What can be done with it as it stands.
fn actions(run: &Run) -> Markup {
    let href = |deed: &str| format!("/do/{deed}?id={}&source={}", run.id, url(&run.source));
    html! {
        @if !run.state.is_over() {
            @if run.state == RunState::Paused { a.button href=(href("runs.resume")) { "Resume" } }
            @else { a.button.quiet href=(href("runs.pause")) { "Pause" } }
            " " a.button.danger href=(href("runs.cancel")) { "Cancel" } " "
        }
    }
}

pub(super) fn table(caption: &str, runs: &[Run], now: Timestamp) -> Markup {
    let rows = html! {
        @for run in runs {
            tr {
                th scope="row" { a href=(href(run)) { (run.id) " " (name(run)) } }
                td { (pieces::state(health(run.state), run.state.name())) }
                td { (bar(run)) }
                td.number { (progress(run)) }
                td.number { (rate(run, now)) }
                td.number { (left(run, now)) }
                td { (run.origin) ", " (say::when(run.requested_at, now)) }
                td.why { @if let Some(error) = &run.error { (say::line(error)) } @else { (found(run)) } }
            }
        }
    };
    pieces::table(
        caption,
        &["Run", "State", "Progress", "#Read", "#Rate", "#Left", "Asked for by", "Said"],
        rows,
    )
}

pub(super) fn href(run: &Run) -> String {
    format!("/runs/{}?source={}", run.id, url(&run.source))
}

fn health(state: RunState) -> Health {
    match state {
        RunState::Requested | RunState::Running | RunState::Done => Health::Well,
        RunState::Paused | RunState::Cancelled => Health::Paused,
        RunState::Failed => Health::Stuck,
    }
}

/// `snapshot loan`, or `replay` of everything.
pub(super) fn name(run: &Run) -> String {
    run.entity.as_ref().map_or_else(|| run.kind.name().to_owned(), |it| format!("{} {it}", run.kind.name()))
}

fn bar(run: &Run) -> Markup {
    let label = format!("Progress of run {}", run.id);
    html! {
        @if let Some(percent) = run.percent() { progress value=(percent) max="100" aria-label=(label) { (percent) "%" } }
        @else if run.state == RunState::Running { progress aria-label=(label) {} }
        @else { "–" }
    }
}

fn progress(run: &Run) -> String {
    let count = |it: u64| say::count(i64::try_from(it).unwrap_or(i64::MAX));
    match (run.expected, run.percent()) {
        (Some(expected), Some(percent)) => {
            format!("{} of about {} ({percent}%)", count(run.counts.read), count(expected))
        }
        _ => count(run.counts.read),
    }
}

fn rate(run: &Run, now: Timestamp) -> String {
    run.per_second(now).map_or_else(|| "–".to_owned(), say::rate)
}

fn left(run: &Run, now: Timestamp) -> String {
    run.seconds_left(now).map_or_else(|| "–".to_owned(), |it| format!("about {}", say::seconds(it)))
}

/// `1 missing, 3 different`.
fn found(run: &Run) -> String {
    let found = run.report.as_ref().and_then(|it| it["found"].as_object());
    let parts = found.into_iter().flatten().map(|(kind, count)| format!("{count} {kind}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What an audit found.
fn findings(report: &Value) -> Markup {
    let none = Vec::new();
    let text = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let first = report["first"].as_array().unwrap_or(&none);
    let total: u64 = report["found"].as_object().map_or(0, |it| it.values().filter_map(Value::as_u64).sum());
    let rows = html! {
        @for it in first {
            tr {
                th scope="row" { (text(&it["key"])) }
                td { (text(&it["route"])) }
                td { (text(&it["finding"])) }
                td.why {
                    @if let Some(message) = it["message"].as_str() { (message) }
                    @for field in it["fields"].as_array().unwrap_or(&none) {
                        div { code { (text(&field["field"])) } ": here " code { (text(&field["here"])) } ", there " code { (text(&field["there"])) } }
                    }
                }
            }
        }
    };
    html! {
        h2 { "Findings" }
        @if total == 0 { (pieces::nothing("All that was compared agrees.")) }
        @else {
            p { "Found " (total) (if first.len() as u64 == total { ":" } else { "; the first of them:" }) }
            (pieces::table("What differs", &["Key", "Route", "Finding", "What"], rows))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{RunCounts, RunRequest};
    use serde_json::{Map, json};

    pub(in crate::admin::dashboard) fn running(kind: RunKind) -> Run {
        let request =
            RunRequest { kind, entity: Some("loan".into()), options: Map::new(), origin: "api".into() };
        let mut run = Run::requested(RunId(7), "main", request, Timestamp::UNIX_EPOCH);
        run.begin(crate::model::Lsn::new(1), Timestamp::UNIX_EPOCH);
        (run.counts, run.expected) =
            (RunCounts { read: 250, applied: 250, skipped: 0, parked: 0 }, Some(1_000));
        run
    }

    #[test]
    fn a_run_shows_how_far_it_is_how_fast_and_how_long_yet() {
        let now = Timestamp::from_second(10).expect("a time");
        let text = draw(&running(RunKind::Snapshot), now).into_string();
        for said in [
            "Run 7, snapshot loan: running",
            "<progress value=\"25\" max=\"100\"",
            "250 of about 1,000 (25%)",
            "25 /s",
            "about 30 s",
            "/do/runs.pause?id=7&amp;source=main",
            "/do/runs.cancel",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }

    #[test]
    fn what_an_audit_found_is_shown_as_text() {
        let finding = json!({ "key": "<script>", "route": "loan", "finding": "different", "message": null,
            "fields": [{ "field": "name", "here": "a", "there": null }] });
        let report = json!({ "found": { "different": 3 }, "first": [finding] });
        let text = draw(&Run { report: Some(report), ..running(RunKind::Audit) }, Timestamp::UNIX_EPOCH)
            .into_string();
        assert!(text.contains("Found 3; the first of them:") && text.contains("&lt;script&gt;"), "{text}");
        assert!(text.contains("here <code>a</code>, there <code>null</code>"), "{text}");
    }
}
