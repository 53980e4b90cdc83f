//! Why a route is not in step.

use super::{Health, Trouble, cure};
use crate::{
    admin::{
        dashboard::{pieces::url, say},
        view::Status,
    },
    model::{HaltOf, ParkedState},
    state::postgres::{RemoteStatus, RouteStatus},
};
use jiff::Timestamp;
use serde_json::Value;

/// Later than this is late.
const LATE: f64 = 60.0;

/// A route and what is wrong with it, the worst first.
#[derive(Clone, Debug)]
pub(in crate::admin::dashboard) struct RouteHealth {
    pub health: Health,
    pub troubles: Vec<Trouble>,
}

/// The remote of a route: `entity`, or `entity.remote` where an entity has several.
pub(in crate::admin::dashboard) fn remote_of(settings: &Value, route: &str) -> Option<String> {
    let entity = &settings["entities"];
    let (name, remote) = route.rsplit_once('.').unwrap_or((route, ""));
    let several = entity[name]["remotes"].as_array();
    if several.is_some_and(|it| it.iter().any(|it| it == remote)) {
        return Some(remote.to_owned());
    }
    let own = &entity[route];
    own["remotes"][0].as_str().or_else(|| own["remote"].as_str()).map(str::to_owned)
}

/// How a route stands.
pub(in crate::admin::dashboard) fn route(
    route: &RouteStatus,
    status: &Status,
    settings: &Value,
    now: Timestamp,
) -> RouteHealth {
    let mut reasons: Vec<Trouble> = Vec::new();
    let mut add = |health, reason: String, since, cure| {
        reasons.push(Trouble { health, what: format!("route {}", route.route), reason, since, cure });
    };
    let name = url(&route.route);
    let remote = remote_of(settings, &route.route);
    let halt = status.halts.iter().find(|it| it.what == HaltOf::Route && it.name == route.route);
    if let Some(halt) = halt {
        let why = halt.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        let resume = cure("Resume this route", format!("/do/routes.resume?route={name}"));
        add(Health::Paused, format!("Paused by {}{why}.", halt.who), Some(halt.since), resume);
    }
    let waits = route.in_flight > 0 || route.parked > 0;
    let is_its = |it: &&RemoteStatus| Some(&it.remote) == remote.as_ref() && it.source == route.source;
    if let Some(remote) = status.remotes.iter().find(is_its).filter(|_| waits)
        && let Some((health, reason)) = blocked(remote, now)
    {
        add(health, reason, remote.since, cure("See the remote", "/remotes"));
    }
    let count = |state| {
        let of_state = route.parked_by.iter().filter(|it| it.state == Some(state));
        of_state.map(|it| it.count).sum::<i64>()
    };
    let (rejected, dead) = (count(ParkedState::Rejected), count(ParkedState::Dead));
    if rejected + dead > 0 {
        let reasons = reasons_of(route, &[ParkedState::Rejected, ParkedState::Dead]);
        let reason = format!(
            "{} for a person: {} rejected, {} given up ({reasons}). The data, the mapping or the remote must be mended, then they are tried again.",
            say::of(rejected + dead, "change waits", "changes wait"),
            say::count(rejected),
            say::count(dead)
        );
        add(Health::Behind, reason, None, cure("See what is parked", format!("/parked?route={name}")));
    }
    let by_itself = route.parked - rejected - dead;
    if by_itself > 0 && rejected + dead == 0 && halt.is_none() {
        let states = [ParkedState::Retrying, ParkedState::Waiting, ParkedState::Queued];
        let reason = format!(
            "{} parked and tried again without you ({}).",
            say::of(by_itself, "change is", "changes are"),
            reasons_of(route, &states)
        );
        add(Health::Behind, reason, None, cure("See what is parked", format!("/parked?route={name}")));
    }
    if route.backing_off > 0 {
        let last = route.last_error.as_ref().map(|it| format!(": {}", say::line(it))).unwrap_or_default();
        let reason = format!(
            "{} for another attempt{last}",
            say::of(route.backing_off, "change waits", "changes wait")
        );
        add(
            Health::Behind,
            reason,
            route.last_error_at,
            cure("See the calls", format!("/calls?route={name}")),
        );
    }
    if let Some(error) = &route.write_back_error {
        let rows = say::of(route.to_write_back, "row", "rows");
        add(Health::Behind, format!("{rows} cannot be written back: {}", say::line(error)), None, None);
    }
    let source = status.sources.iter().find(|it| it.source == route.source);
    let lag = source.and_then(|it| it.lag.settled.seconds).unwrap_or_default();
    if reasons.is_empty() && route.in_flight > 0 && lag > LATE {
        let reason = format!(
            "{} under way, and the oldest unsettled transaction has waited for {}.",
            say::of(route.in_flight, "change is", "changes are"),
            say::seconds(lag)
        );
        reasons.push(Trouble {
            health: Health::Behind,
            what: format!("route {}", route.route),
            reason,
            since: None,
            cure: cure("See the calls", format!("/calls?route={name}")),
        });
    }
    reasons.sort_by_key(|it| std::cmp::Reverse(it.health));
    let health = reasons.first().map_or(Health::Well, |it| it.health);
    RouteHealth { health, troubles: reasons }
}

/// Why nothing goes to a remote.
pub(super) fn blocked(remote: &RemoteStatus, now: Timestamp) -> Option<(Health, String)> {
    let name = &remote.remote;
    let why = remote.why.as_ref().map(|it| format!(": {}", say::line(it))).unwrap_or_default();
    let until = remote.until.map(|at| format!(" {}", say::distance(at, now))).unwrap_or_default();
    match remote.gate.as_str() {
        "open" => Some((
            Health::Stuck,
            format!("Blocked by the breaker of {name}{why}. One call tries again{until}."),
        )),
        "half_open" => {
            Some((Health::Stuck, format!("Blocked by the breaker of {name}{why}. One call is trying now.")))
        }
        "paused" => Some((
            Health::Behind,
            format!("{name} asked for a pause, or its quota is used up{why}. It goes on{until}."),
        )),
        "halted" => Some((Health::Paused, format!("Paused: a person has paused {name}{why}."))),
        _ => None,
    }
}

/// `3 refused, 1 invalid`.
fn reasons_of(route: &RouteStatus, states: &[ParkedState]) -> String {
    let mut counts: Vec<(&str, i64)> = Vec::new();
    for it in route.parked_by.iter().filter(|it| it.state.is_some_and(|it| states.contains(&it))) {
        let name = it.reason.map_or("unknown", |it| it.name());
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += it.count,
            None => counts.push((name, it.count)),
        }
    }
    let texts: Vec<String> = counts.iter().map(|(name, it)| format!("{} {name}", say::count(*it))).collect();
    texts.join(", ")
}
