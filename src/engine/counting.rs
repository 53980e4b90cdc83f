//! What the engine's meter is told: how changes end, and how far it is.

use super::{Engine, saying, work::Work};
use crate::{metrics::OutcomeKind, model::Outcome, routing::RouteId};
use std::time::Duration;

impl Engine {
    /// A change has ended, and with it those that it absorbed.
    pub(super) fn count(&self, route: RouteId, work: &Work, outcome: &Outcome) {
        let meter = &self.route_meters[usize::from(route.0)];
        let kind = match outcome {
            Outcome::Applied { .. } => OutcomeKind::Applied,
            Outcome::Unchanged => OutcomeKind::Unchanged,
            Outcome::Skipped { .. } => OutcomeKind::Skipped,
            // It was counted when it was parked first.
            Outcome::Parked(_) if work.parked => return,
            Outcome::Parked(_) => OutcomeKind::Parked,
        };
        meter.outcome(kind).add(1 + work.absorbed.len() as u64);
        if work.parked {
            meter.drained.one();
        }
        if kind == OutcomeKind::Applied
            && let Some(milliseconds) = saying::latency(self.ground.log.clock, work)
        {
            meter.latency.took(Duration::from_millis(milliseconds.unsigned_abs()));
        }
    }

    /// How far everything is read and settled.
    pub(super) fn tell_positions(&self) {
        self.meter.received.set(self.read.raw());
        self.meter.settled.set(self.saved_through.raw());
    }
}
