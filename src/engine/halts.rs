//! What a person has paused: decisions of theirs, obeyed until they are taken back.
//!
//! A remote that is paused is one that is shut: its changes wait in their lanes, and are put aside when the
//! source keeps too much log for them (invariant 4), as in an outage. Of a route that is paused alone,
//! every change is parked when its turn comes, so that the others of its remote are not in its way.
//! Nothing counts as an attempt. A sequence of calls that is under way for the route ends first.

use super::{Engine, lanes::LaneId, outage::Shut, work::Work};
use crate::{
    model::{Halt, HaltOf},
    routing::{RemoteId, RouteId},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Why each route is paused, if it is.
#[derive(Debug, Default)]
pub(super) struct Halted(Vec<Option<Arc<str>>>);

impl Engine {
    /// Follows what people have ordered.
    pub(super) fn obey_halts(&mut self) {
        let halts = self.halts.borrow_and_update().clone();
        let (now, at) = (Instant::now(), (self.ground.log.clock)());
        let find = |what: HaltOf, name: &str| halts.iter().find(|it| it.what == what && it.name == name);
        for remote in 0..self.ground.remotes.len() {
            let halt = find(HaltOf::Remote, &self.ground.remotes[remote].name);
            let shut = halt.map(|halt| Shut { since: since(halt, at, now), why: halt.to_string().into() });
            if shut.is_some() != self.admission.halted(remote).is_some() {
                say(HaltOf::Remote, &self.ground.remotes[remote].name, halt);
            }
            self.admission.halt(remote, shut);
        }
        let routes = self.router.routes().iter();
        let routes: Vec<_> = routes.map(|route| find(HaltOf::Route, &route.name).cloned()).collect();
        self.halted.0.resize(routes.len(), None);
        for (at, halt) in routes.iter().enumerate() {
            if halt.is_some() != self.halted.0[at].is_some() {
                say(HaltOf::Route, &self.router.routes()[at].name, halt.as_ref());
            }
            self.halted.0[at] = halt.as_ref().map(|halt| halt.to_string().into());
        }
        self.review();
        self.hold_batches();
        // What was parked meanwhile is due.
        self.drain.start_over();
        self.poll_parked();
    }

    /// Why nothing of this route is sent, if a person wants that.
    pub(super) fn halted_route(&self, route: RouteId) -> Option<Arc<str>> {
        self.halted.0.get(usize::from(route.0)).cloned().flatten()
    }

    /// Whether a person wants that nothing of this route is sent, or of its remote.
    pub(super) fn is_halted(&self, route: RouteId) -> bool {
        let remote = self.router.route(route).remote;
        self.halted_route(route).is_some() || self.admission.halted(usize::from(remote.0)).is_some()
    }

    /// Whether what is read for this route would only wait.
    pub(super) fn is_away(&self, route: RouteId) -> bool {
        let remote: RemoteId = self.router.route(route).remote;
        self.is_halted(route) || self.is_shut(remote) || self.lanes.is_put_aside(remote)
    }

    /// Parks the change whose turn it would be.
    pub(super) fn hold(&mut self, lane: LaneId, work: Work, why: &str) {
        self.lanes.back(lane);
        self.put_aside(lane, work, true, Duration::ZERO, Some(why));
    }

    /// Parks what waits in batches of routes that are paused.
    pub(super) fn hold_batches(&mut self) {
        for at in 0..self.halted.0.len() {
            let route = RouteId(at as u16);
            if let Some(why) = self.halted_route(route) {
                self.put_batches_aside(|_, (of, _), _| of == route, Some(&why));
            }
        }
    }
}

/// Moments travel by the wall clock, and count by our own.
fn since(halt: &Halt, at: jiff::Timestamp, now: Instant) -> Instant {
    let age = Duration::try_from(at.duration_since(halt.since)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

fn say(what: HaltOf, name: &str, halt: Option<&Halt>) {
    match halt {
        Some(halt) => tracing::warn!("{halt}; nothing is sent until `rowcall resume`"),
        None => tracing::info!("{} `{name}` is resumed", what.name()),
    }
}
