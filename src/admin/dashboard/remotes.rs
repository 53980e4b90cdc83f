//! Remotes: whether calls go through, and if not, since when, until when and why.

use super::{
    health::Health,
    layout::Page,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::{
    admin::{problem::Problem, view::Status},
    model::{Halt, HaltOf},
    state::postgres::RemoteStatus,
};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let status = visit.status().await?;
    Ok(Page { title: "Remotes".to_owned(), live: draw(&status, visit.now), rest: html! {} })
}

fn draw(status: &Status, now: Timestamp) -> Markup {
    let halted = |name: &str| status.halts.iter().find(|it| it.what == HaltOf::Remote && it.name == name);
    let alone = status.halts.iter().filter(|it| {
        it.what == HaltOf::Remote && !status.remotes.iter().any(|remote| remote.remote == it.name)
    });
    html! {
        h1 { "Remotes" }
        @if status.remotes.is_empty() { (pieces::nothing("No instance at work has said how its remotes stand.")) }
        @for remote in &status.remotes { (one(remote, halted(&remote.remote), now)) }
        @for halt in alone { p.reason { (halt) " " a.button href=(format!("/do/remotes.resume?remote={}", url(&halt.name))) { "Resume" } } }
    }
}

fn one(remote: &RemoteStatus, halt: Option<&Halt>, now: Timestamp) -> Markup {
    let name = url(&remote.remote);
    let (health, sentence) = stands(&remote.gate);
    let (health, sentence) = if halt.is_some() { stands("halted") } else { (health, sentence) };
    html! {
        article {
            h2 { (pieces::state(health, &remote.remote)) ": " (sentence) " " span.quiet { "for source " (remote.source) } }
            @match halt {
                Some(halt) => p.reason { "Paused by " (halt.who) " " (say::when(halt.since, now)) @if let Some(reason) = &halt.reason { ": " (reason) } "." },
                None => @if let Some(why) = &remote.why { p.reason { (why) } },
            }
            (pieces::facts(&[
                ("Since", say::perhaps(remote.since, now)),
                ("Until at least", say::perhaps(remote.until, now)),
                ("Under way", html! { (say::count(remote.in_flight.into())) " of " (say::count(remote.width.into())) " at once" @if remote.width < remote.concurrency { " (of " (say::count(remote.concurrency.into())) ": it throttles or is slow)" } }),
                ("Waiting", html! { (say::of(remote.waiting, "key", "keys")) }),
                ("Quota", html! { (quota(remote)) }),
                ("Token", token(remote, now)),
            ]))
            p.actions {
                @if halt.is_some() { a.button href=(format!("/do/remotes.resume?remote={name}")) { "Resume" } }
                @else { a.button.quiet href=(format!("/do/remotes.pause?remote={name}")) { "Pause this remote" } }
            }
        }
    }
}

fn stands(gate: &str) -> (Health, &'static str) {
    match gate {
        "ready" => (Health::Well, "calls go through"),
        "open" => (Health::Stuck, "the breaker is open, nothing is sent"),
        "half_open" => (Health::Stuck, "the breaker is half open, one call tries"),
        "halted" => (Health::Paused, "a person has paused it, nothing is sent"),
        _ => (Health::Behind, "it asked for a pause, or its quota is used up"),
    }
}

fn quota(remote: &RemoteStatus) -> String {
    match (remote.quota_left, remote.quota_limit) {
        (Some(left), Some(limit)) => format!("{} of {} left", say::count(left), say::count(limit)),
        (Some(left), None) => format!("{} left", say::count(left)),
        (None, _) => "not told".to_owned(),
    }
}

fn token(remote: &RemoteStatus, now: Timestamp) -> Markup {
    html! {
        @match remote.token_since {
            None => "none",
            Some(since) => { "asked for " (say::when(since, now)) @if let Some(until) = remote.token_until { ", good until " (say::when(until, now)) } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::{at, well};
    use super::*;

    #[test]
    fn a_remote_says_what_keeps_it_from_taking_more() {
        let mut status = well();
        let remote = &mut status.remotes[0];
        (remote.gate, remote.why) = ("open".to_owned(), Some("answered with 503".to_owned()));
        (remote.since, remote.until, remote.width) = (Some(at(0)), Some(at(130)), 2);
        (remote.quota_left, remote.quota_limit) = (Some(4), Some(60));
        (remote.token_since, remote.token_until) = (Some(at(40)), Some(at(3_640)));
        let text = draw(&status, at(100)).into_string();
        for said in [
            "the breaker is open, nothing is sent",
            "answered with 503",
            "in 30 s",
            "3 of 2 at once (of 16: it throttles or is slow)",
            "4 of 60 left",
            "asked for ",
            "1 min ago",
            "good until ",
            "/do/remotes.pause?remote=bank",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
}
