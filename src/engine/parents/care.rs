//! Nobody waits for ever: circles are broken, and now and then all that waits is looked at.

use super::{Pause, Wants};
use crate::{
    engine::{Engine, Event, carry::Phase, lanes::LaneId},
    state::{RouteKey, StateError},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often what waits is held against what was written past the settlements.
const SWEEP: Duration = Duration::from_secs(60);

impl Engine {
    /// Parks who waits in a circle, and now and then sweeps.
    pub(in crate::engine) fn look_after_family(&mut self) {
        for lane in self.circles() {
            self.park_stuck(lane);
        }
        let depends = self.router.routes().iter().any(|it| it.waited_for);
        let now = Instant::now();
        if depends && self.family.swept.is_none_or(|swept| now >= swept + SWEEP) {
            self.sweep();
        }
    }

    /// Lets go on what has nothing to wait for, one sweep at a time.
    pub(in crate::engine) fn sweep(&mut self) {
        if std::mem::replace(&mut self.family.sweeping, true) {
            return;
        }
        self.family.swept = Some(Instant::now());
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move { Event::Swept(store.sweep().await) });
    }

    pub(in crate::engine) fn swept(&mut self, released: Result<u64, StateError>) {
        self.family.sweeping = false;
        match released {
            Ok(0) => {}
            Ok(_) => {
                self.poll_parked();
                // It was bounded, so there may be more.
                if *self.phase.borrow() == Phase::Running {
                    self.sweep();
                }
            }
            Err(error) => tracing::warn!(%error, "the sweep is tried again later"),
        }
    }

    /// One lane of each circle in which work waits for work that waits in turn.
    fn circles(&self) -> Vec<LaneId> {
        let mut circles = Vec::new();
        let mut seen: HashMap<LaneId, LaneId> = HashMap::with_capacity(self.family.waiting.len());
        for &start in self.family.waiting.keys() {
            let mut at = start;
            while !seen.contains_key(&at) {
                seen.insert(at, start);
                match self.family.waiting.get(&at).and_then(|pause| pause.awaits) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // Where this way met itself, and did not merely end.
            let waits = self.family.waiting.get(&at).is_some_and(|pause| pause.awaits.is_some());
            if waits && seen.get(&at) == Some(&start) {
                circles.push(at);
            }
        }
        circles
    }

    fn park_stuck(&mut self, lane: LaneId) {
        let Some(Pause { wants, awaits, .. }) = self.family.waiting.get(&lane) else { return };
        match (wants, awaits) {
            (Wants::Parents { .. }, Some(parent)) => {
                let (route, key) = self.lanes.key(*parent).clone();
                let route = Arc::clone(&self.router.route(route).name);
                self.park_for_parent(lane, RouteKey { route, key });
            }
            _ => self.park_for_children(lane, "changes of objects that depend on"),
        }
    }

    /// For a stop: what waits comes again, or is parked again.
    pub(in crate::engine) fn leave_family(&mut self) {
        for (lane, pause) in std::mem::take(&mut self.family.waiting) {
            self.interrupted(lane, *pause.work, false);
        }
    }
}
