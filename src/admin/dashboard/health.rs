//! What is not well, why, and what cures it. Pure: a status in, sentences out.

mod rest;
mod route;

pub(super) use route::{remote_of, route};

use crate::admin::view::Status;
use jiff::Timestamp;
use serde_json::Value;

/// How something stands, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// As it should be.
    Well,
    /// A person wanted it so.
    Paused,
    /// It comes by itself, but late; or something of it waits for a person.
    Behind,
    /// Nothing comes.
    Stuck,
}

impl Health {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Well => "in step",
            Self::Paused => "paused",
            Self::Behind => "behind",
            Self::Stuck => "stuck",
        }
    }
}

/// What cures it, or shows more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cure {
    pub label: String,
    pub href: String,
}

pub(super) fn cure(label: impl Into<String>, href: impl Into<String>) -> Option<Cure> {
    Some(Cure { label: label.into(), href: href.into() })
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub health: Health,
    /// `route loan`, `source main`.
    pub what: String,
    /// In a sentence.
    pub reason: String,
    pub since: Option<Timestamp>,
    pub cure: Option<Cure>,
}

/// Everything that is not well, the worst first.
pub(super) fn troubles(status: &Status, settings: &Value, now: Timestamp) -> Vec<Trouble> {
    let mut troubles = rest::of(status);
    for it in &status.routes {
        troubles.extend(route(it, status, settings, now).troubles);
    }
    troubles.sort_by_key(|it| std::cmp::Reverse(it.health));
    troubles
}

/// One sentence for all of it.
pub(super) fn headline(status: &Status, troubles: &[Trouble]) -> (Health, String) {
    let worst = troubles.iter().map(|it| it.health).max().unwrap_or(Health::Well);
    if troubles.is_empty() {
        let sentence = match (status.sources.iter().any(|it| it.state.is_some()), &status.routes[..]) {
            (false, _) => "Nothing has been started yet",
            (true, []) => "Everything is in step; nothing has come yet",
            _ => "Everything is in step",
        };
        return (worst, sentence.to_owned());
    }
    let mut groups = Vec::new();
    for health in [Health::Stuck, Health::Behind, Health::Paused] {
        for kind in KINDS {
            let names = names(troubles, kind, health);
            let [first, rest @ ..] = &names[..] else { continue };
            let (verb, plural) = if rest.is_empty() { ("is", "") } else { ("are", "s") };
            let noun = if *kind == "log of calls" {
                kind.replace("log", &format!("log{plural}"))
            } else {
                format!("{kind}{plural}")
            };
            let named =
                if rest.len() > 3 { format!("{first} and {} more", rest.len()) } else { names.join(", ") };
            groups.push(format!("{} {noun} {verb} {}: {named}", names.len(), health.word()));
        }
    }
    (worst, groups.join("; "))
}

/// What trouble may be with.
const KINDS: &[&str] = &["source", "remote", "route", "log of calls"];

/// Those of a kind of which this is the worst, each once.
fn names<'a>(troubles: &'a [Trouble], kind: &str, health: Health) -> Vec<&'a str> {
    let name = |it: &'a Trouble| it.what.strip_prefix(kind)?.strip_prefix(' ');
    let worst = |what: &str| troubles.iter().filter(|it| it.what == what).map(|it| it.health).max();
    let mut names = Vec::new();
    for it in troubles.iter().filter(|it| worst(&it.what) == Some(health)) {
        names.extend(name(it).filter(|name| !names.contains(name)));
    }
    names
}

/// What has one reason is one trouble to who looks.
pub(super) fn merged(troubles: Vec<Trouble>) -> Vec<Trouble> {
    let mut merged: Vec<Trouble> = Vec::new();
    for trouble in troubles {
        match merged.iter_mut().find(|it| it.reason == trouble.reason && it.health == trouble.health) {
            Some(same) => same.what = format!("{}, {}", same.what, trouble.what),
            None => merged.push(trouble),
        }
    }
    merged
}

#[cfg(test)]
pub(super) mod tests;
