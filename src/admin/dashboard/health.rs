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
    for kind in ["source", "remote", "route", "log of calls"] {
        let mut names: Vec<&str> =
            troubles.iter().filter_map(|it| it.what.strip_prefix(kind)?.strip_prefix(' ')).collect();
        let mut known = Vec::new();
        names.retain(|name| {
            !known.contains(name) && {
                known.push(name);
                true
            }
        });
        if let [first, rest @ ..] = &names[..] {
            let of_kind = |it: &&Trouble| it.what.starts_with(kind);
            let health = troubles.iter().filter(of_kind).map(|it| it.health).max().unwrap_or(worst);
            let several = if rest.is_empty() { "is" } else { "are" };
            let noun =
                if rest.is_empty() || kind.contains(' ') { kind.to_owned() } else { format!("{kind}s") };
            let named =
                if rest.len() > 3 { format!("{first} and {} more", rest.len()) } else { names.join(", ") };
            groups.push(format!("{} {noun} {several} {}: {named}", names.len(), health.word()));
        }
    }
    (worst, groups.join("; "))
}

#[cfg(test)]
pub(super) mod tests;
