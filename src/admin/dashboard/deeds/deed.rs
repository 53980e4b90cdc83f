//! The table of what can be done.

use crate::admin::api::{Form, Given, NAME, Param, Told, param, query_of};
use serde_json::{Value, json};

/// Whether it asks why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    None,
    May,
    Must,
}

/// One row.
pub(super) struct Deed {
    /// That of the endpoint which does it.
    pub name: &'static str,
    pub title: &'static str,
    pub button: &'static str,
    /// It cannot be undone.
    pub danger: bool,
    /// What follows from it.
    pub about: &'static str,
    /// What will be done; of parked changes, behind how many they are.
    pub what: fn(&Given) -> String,
    /// The same when it is done.
    pub done: &'static str,
    /// It concerns parked changes, which are counted first.
    pub counts: bool,
    pub reason: Reason,
    /// Where one comes from.
    pub back: &'static str,
    takes: Takes,
    pub told: fn(&Given) -> Told,
}

/// What its form holds.
#[derive(Clone, Copy)]
enum Takes {
    /// Parked changes.
    Parked,
    These(&'static [Param]),
}

const WHY: Param = param("why", NAME, "");
const RUN: &[Param] = &[param("id", Form::Number(1, i64::MAX), ""), param("source", NAME, "")];
const ROUTE: &[Param] = &[param("route", NAME, ""), WHY];
const REMOTE: &[Param] = &[param("remote", NAME, ""), WHY];
const RATE: Param = param("rate", Form::Number(1, u32::MAX as i64), "");
const ENTITIES: Param = param("entities", NAME, "");
const KEYS: Param = param("keys", Form::Text(6 << 10), "");

impl Deed {
    pub(super) fn params(&self) -> Vec<Param> {
        match self.takes {
            Takes::Parked => {
                let mut params = query_of("parked.summary").to_vec();
                params.extend([param("all", Form::Flag, ""), WHY]);
                params
            }
            Takes::These(params) => params.to_vec(),
        }
    }
}

const PARKED: Deed = Deed {
    name: "parked.retry",
    title: "Try parked changes again",
    button: "Try again",
    danger: false,
    about: "What queued behind them follows in order. What cannot be sent is parked again with its reason.",
    what: |_| "will be tried again now.".to_owned(),
    done: "Tried again now",
    counts: true,
    reason: Reason::None,
    back: "/parked",
    takes: Takes::Parked,
    told: |given| Told {
        body: json!({ "filter": which(given), "all": given.flag("all") }),
        ..Told::default()
    },
};

const PAUSE: Deed = Deed {
    name: "runs.pause",
    title: "Pause a run",
    button: "Pause",
    danger: false,
    about: "What is under way is finished; it goes on where it is when it is resumed.",
    what: |given| format!("Run {} will wait.", given.text("id").unwrap_or_default()),
    done: "The run waits",
    counts: false,
    reason: Reason::None,
    back: "/runs",
    takes: Takes::These(RUN),
    told: |given| Told { places: take(given, &["id"]), query: take(given, &["source"]), body: Value::Null },
};

pub(super) const DEEDS: &[Deed] = &[
    PARKED,
    Deed {
        name: "parked.discard",
        title: "Discard parked changes",
        button: "Discard",
        danger: true,
        about: "They are never sent, and this cannot be undone. What queued behind them goes on.",
        what: |_| "will be given up for good.".to_owned(),
        done: "Given up for good",
        reason: Reason::Must,
        told: |given| Told {
            body: json!({ "filter": which(given), "all": given.flag("all"), "reason": given.text("why").unwrap_or_default() }),
            ..Told::default()
        },
        ..PARKED
    },
    PAUSE,
    Deed {
        name: "runs.resume",
        title: "Resume a run",
        button: "Resume",
        about: "It goes on where it was.",
        what: |given| format!("Run {} will go on.", given.text("id").unwrap_or_default()),
        done: "The run goes on",
        ..PAUSE
    },
    Deed {
        name: "runs.cancel",
        title: "Cancel a run",
        button: "Cancel the run",
        danger: true,
        about: "It ends for good; what it did stays.",
        what: |given| format!("Run {} will end.", given.text("id").unwrap_or_default()),
        done: "The run is cancelled",
        ..PAUSE
    },
    Deed {
        name: "runs.snapshot",
        title: "Start a snapshot",
        button: "Start",
        about: "The live stream goes on beside it, and is never overtaken by it.",
        what: |given| format!("The rows of {} will be sent as they are now.", entities(given)),
        done: "Asked for",
        takes: Takes::These(&[ENTITIES, KEYS, param("force", Form::Flag, ""), RATE]),
        told: |given| {
            told(
                json!({ "entities": list(given, "entities"), "keys": lines(given, "keys"), "force": given.flag("force"), "rate": number(given, "rate") }),
            )
        },
        ..PAUSE
    },
    Deed {
        name: "runs.prune",
        title: "Start a prune",
        button: "Start",
        about: "What is linked and has no row any more is counted; it is deleted at the remote only if that is ticked.",
        what: |given| {
            let does = if given.flag("delete") { "counted and deleted at the remote" } else { "counted" };
            format!("What is left over of {} will be {does}.", entities(given))
        },
        done: "Asked for",
        takes: Takes::These(&[ENTITIES, param("delete", Form::Flag, ""), RATE]),
        told: |given| {
            told(
                json!({ "entities": list(given, "entities"), "delete": given.flag("delete"), "rate": number(given, "rate") }),
            )
        },
        ..PAUSE
    },
    Deed {
        name: "runs.audit",
        title: "Start an audit",
        button: "Start",
        about: "It asks the remote for objects and compares; nothing is sent unless repair is ticked.",
        what: |given| format!("What the remotes hold of {} will be compared with the rows.", entities(given)),
        done: "Asked for",
        takes: Takes::These(&[
            ENTITIES,
            param("sample", Form::Number(1, u32::MAX as i64), ""),
            param("repair", Form::Flag, ""),
            RATE,
        ]),
        told: |given| {
            told(
                json!({ "entities": list(given, "entities"), "sample": number(given, "sample"), "repair": given.flag("repair"), "rate": number(given, "rate") }),
            )
        },
        ..PAUSE
    },
    Deed {
        name: "runs.replay",
        title: "Start a replay",
        button: "Start",
        about: "Changes that were sent before are sent again, in order.",
        what: |given| {
            format!("Changes from {} on will be sent again.", given.text("from").unwrap_or("nowhere"))
        },
        done: "Asked for",
        takes: Takes::These(&[
            param("from", NAME, ""),
            param("to", NAME, ""),
            param("source", NAME, ""),
            ENTITIES,
            KEYS,
            param("new_keys", Form::Flag, ""),
        ]),
        told: |given| {
            told(
                json!({ "from": given.text("from").unwrap_or_default(), "to": given.text("to"), "source": given.text("source"), "entities": list(given, "entities"), "keys": lines(given, "keys"), "new_keys": given.flag("new_keys") }),
            )
        },
        ..PAUSE
    },
    Deed {
        name: "runs.scheduled",
        title: "Run a schedule now",
        button: "Run now",
        about: "It does what it does when its time comes, with the same rows and options, and comes as planned all the same.",
        what: |given| format!("The schedule {} will run now.", given.text("schedule").unwrap_or_default()),
        done: "Asked for",
        back: "/schedule",
        takes: Takes::These(&[param("schedule", Form::Text(6 << 10), ""), param("source", NAME, "")]),
        told: |given| {
            told(
                json!({ "schedule": given.text("schedule").unwrap_or_default(), "source": given.text("source") }),
            )
        },
        ..PAUSE
    },
    Deed {
        name: "routes.pause",
        title: "Pause a route",
        about: "Its changes are parked until it is resumed, and no attempt counts.",
        what: |given| format!("Nothing of route {} will be sent.", given.text("route").unwrap_or_default()),
        done: "The route is paused",
        reason: Reason::May,
        back: "/routes",
        takes: Takes::These(ROUTE),
        told: |given| Told {
            places: take(given, &["route"]),
            body: json!({ "reason": given.text("why") }),
            ..Told::default()
        },
        ..PAUSE
    },
    Deed {
        name: "routes.resume",
        title: "Resume a route",
        button: "Resume",
        about: "What was parked meanwhile follows in order.",
        what: |given| format!("Route {} will go on.", given.text("route").unwrap_or_default()),
        done: "The route goes on",
        back: "/routes",
        takes: Takes::These(ROUTE),
        told: |given| Told { places: take(given, &["route"]), ..Told::default() },
        ..PAUSE
    },
    Deed {
        name: "remotes.pause",
        title: "Pause a remote",
        about: "Its changes wait as in an outage, until it is resumed.",
        what: |given| format!("Nothing will be sent to remote {}.", given.text("remote").unwrap_or_default()),
        done: "The remote is paused",
        reason: Reason::May,
        back: "/remotes",
        takes: Takes::These(REMOTE),
        told: |given| Told {
            places: take(given, &["remote"]),
            body: json!({ "reason": given.text("why") }),
            ..Told::default()
        },
        ..PAUSE
    },
    Deed {
        name: "remotes.resume",
        title: "Resume a remote",
        button: "Resume",
        about: "What waits for it is sent in order.",
        what: |given| format!("Calls to remote {} will go on.", given.text("remote").unwrap_or_default()),
        done: "The remote goes on",
        back: "/remotes",
        takes: Takes::These(REMOTE),
        told: |given| Told { places: take(given, &["remote"]), ..Told::default() },
        ..PAUSE
    },
];

fn told(body: Value) -> Told {
    Told { body, ..Told::default() }
}

fn take(given: &Given, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().filter_map(|name| Some((*name, given.owned(name)?))).collect()
}

/// The filter of parked changes, as the API reads it.
fn which(given: &Given) -> Value {
    let mut filter = serde_json::Map::new();
    for (name, value) in given.all().filter(|(name, _)| !["all", "why", "ids"].contains(name)) {
        filter.insert(name.to_owned(), value.into());
    }
    let ids = given.numbers("ids");
    if !ids.is_empty() {
        filter.insert("ids".to_owned(), ids.into());
    }
    filter.into()
}

fn list(given: &Given, name: &str) -> Vec<String> {
    let text = given.text(name).unwrap_or_default();
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn lines(given: &Given, name: &str) -> Vec<String> {
    let text = given.text(name).unwrap_or_default();
    text.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn number(given: &Given, name: &str) -> Option<i64> {
    given.get(name)
}

fn entities(given: &Given) -> String {
    given.text("entities").map_or_else(|| "every entity".to_owned(), str::to_owned)
}
