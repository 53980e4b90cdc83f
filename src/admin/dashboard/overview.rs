//! The page that is seen first: is everything in step, and if not, what cures it?

use super::{
    graph::{self, Graph},
    health::{self, Health},
    layout::Page,
    pieces, routes, run,
    samples::Sample,
    say,
    visit::Visit,
};
use crate::admin::{
    problem::Problem,
    view::{Behind, CallLogLine, SourceLine, Status},
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let status = visit.status().await?;
    let settings = visit.desk().configuration().settings;
    let samples = visit.dashboard.samples.all();
    Ok(draw(&status, &settings, &samples, visit.now))
}

fn draw(status: &Status, settings: &Value, samples: &[Sample], now: Timestamp) -> Page {
    let troubles = health::troubles(status, settings, now);
    let (worst, sentence) = health::headline(status, &troubles);
    let troubles = health::merged(troubles);
    let live = html! {
        h1 #headline class=(worst.word().replace(' ', "-")) { (pieces::shape(worst)) (sentence) }
        (pieces::troubles(&troubles, now))
        section aria-labelledby="routes-head" {
            h2 #routes-head { a href="/routes" { "Routes" } }
            (routes::table(status, settings, now))
        }
        section aria-labelledby="sources-head" {
            h2 #sources-head { "Sources" }
            @for line in &status.sources { (source(line, samples, now)) }
        }
        @if !status.runs.is_empty() {
            section aria-labelledby="runs-head" {
                h2 #runs-head { a href="/runs" { "Runs" } }
                (run::table("Runs that are not over", &status.runs, now))
            }
        }
        @for line in &status.call_logs { (call_log(line)) }
    };
    Page { title: sentence, live, rest: html! {} }
}

fn source(line: &SourceLine, samples: &[Sample], now: Timestamp) -> Markup {
    let name = &line.source;
    let lag = graph::lag(samples, name);
    let behind = graph::lag_bytes(samples, name);
    let done = graph::throughput(samples, name);
    let instance = line.state.as_ref().and_then(|it| it.instance.as_ref());
    let bytes = |it: f64| say::bytes(it as i64);
    html! {
        article.source {
            h3 {
                (name) " "
                @match instance {
                    Some(it) if it.state == "running" && it.alive => span.quiet { "at work: " (it.name) " " (say::lasting(it.since, now)) },
                    Some(it) => (pieces::state(Health::Stuck, &it.state)),
                    None => (pieces::state(Health::Stuck, "never started")),
                }
            }
            (stages(line))
            div.graphs {
                (graph::draw(&Graph { title: "Lag of what is settled", id: format!("lag-{name}"), dots: &lag, unit: say::seconds }, now))
                (graph::draw(&Graph { title: "Log to be settled", id: format!("bytes-{name}"), dots: &behind, unit: bytes }, now))
                (graph::draw(&Graph { title: "Changes done", id: format!("done-{name}"), dots: &done, unit: say::rate }, now))
            }
        }
    }
}

/// How far each stage is behind, and how the slot stands.
fn stages(line: &SourceLine) -> Markup {
    let lag = &line.lag;
    let rows = html! {
        @for (stage, what, behind) in [
            ("received", "still to be read", lag.received),
            ("settled", "still to be applied, skipped or parked", lag.settled),
            ("acknowledged", "the source still keeps for us", lag.acknowledged),
        ] {
            tr { th scope="row" { (stage) " " span.quiet { (what) } } (cells(behind)) }
        }
    };
    let safe = line.safe_bytes.map(|it| format!("{} more until it is lost", say::bytes(it)));
    let kept = line.kept_bytes.map_or_else(|| "unknown".to_owned(), say::bytes);
    let wal = line.wal_status.as_deref().unwrap_or("unknown");
    let slot = line.state.as_ref().map(|it| it.slot.as_str()).unwrap_or("none yet");
    let checkpoint = line.state.as_ref().map_or_else(|| "–".to_owned(), |it| it.checkpoint.to_string());
    html! {
        div.side {
            (pieces::table(&format!("How far source {} is behind", line.source), &["Stage", "#Bytes behind", "#Time behind"], rows))
            (pieces::facts(&[
                ("Slot", html! { code { (slot) } }),
                ("Its log", html! { (wal) @if let Some(safe) = safe { ", " (safe) } }),
                ("Kept for it", html! { (kept) }),
                ("Checkpoint", html! { code { (checkpoint) } }),
            ]))
        }
    }
}

fn cells(behind: Behind) -> Markup {
    html! {
        td.number { @match behind.bytes { Some(it) => (say::bytes(it)), None => "unknown" } }
        td.number { @match behind.seconds { Some(it) => (say::seconds(it)), None => "–" } }
    }
}

fn call_log(line: &CallLogLine) -> Markup {
    let status = &line.status;
    let large = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    html! {
        section aria-label="Log of calls" {
            h2 { a href="/calls" { "Log of calls" } " " span.quiet { "of " (line.source) ", to " (status.goes_to) } }
            (pieces::facts(&[
                ("Written", html! { (say::count(large(status.written))) }),
                ("Sent", html! { (say::count(large(status.sent))) }),
                ("In memory", html! { (say::bytes(large(status.memory_bytes))) }),
                ("In the spool", html! { @match &status.spool { Some(it) => { (say::of(large(it.records), "record", "records")) ", " (say::bytes(large(it.bytes))) " of " (say::bytes(large(it.max))) } None => "no spool" } }),
                ("Dropped", html! { (say::count(large(status.dropped))) }),
            ]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::{at, settings, well};
    use super::*;

    #[test]
    fn the_first_thing_said_is_how_everything_stands() {
        let page = draw(&well(), &settings(), &[], at(100));
        let text = page.live.into_string();
        assert_eq!(page.title, "Everything is in step");
        let headline = text.find("Everything is in step").expect("it is there");
        assert!(headline < text.find("<table").expect("a table"));
        for said in ["still to be read", "4.0 KB", "host:1", "reserved"] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }

    #[test]
    fn what_is_wrong_comes_before_everything_else() {
        let mut status = well();
        status.remotes[0].gate = "open".to_owned();
        status.remotes[0].why = Some("<script>".to_owned());
        let text = draw(&status, &settings(), &[], at(100)).live.into_string();
        assert!(text.contains("1 remote is stuck: bank") && text.contains("&lt;script&gt;"));
        assert!(!text.contains("<script>"));
    }
}
