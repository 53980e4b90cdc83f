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
    /// Breaks the circles in which work waits, and now and then sweeps.
    pub(in crate::engine) fn look_after_family(&mut self) {
        // Where something has happened, they may wait no more.
        self.seek_family();
        for lane in self.circles() {
            self.break_circle(lane);
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

    /// One lane of each circle in which work waits for work that waits in turn: the one that is let go
    /// on with the least harm.
    fn circles(&self) -> Vec<LaneId> {
        let mut circles = Vec::new();
        let mut seen: HashMap<LaneId, LaneId> = HashMap::with_capacity(self.family.waiting.len());
        for &start in self.family.waiting.keys() {
            let (mut at, mut next) = (start, Some(start));
            while let Some(lane) = next
                && !seen.contains_key(&lane)
            {
                seen.insert(lane, start);
                (at, next) = (lane, self.held_up_by(lane));
            }
            // Where this way met itself, and did not merely end.
            if next.is_some_and(|lane| seen.get(&lane) == Some(&start)) {
                circles.extend(self.least_harmed(at));
            }
        }
        circles
    }

    /// The lane that has to move before this one does. A lane is first in, first out, so its oldest work
    /// tells: that waits for its kin, or for the delete half of its own key change.
    fn held_up_by(&self, lane: LaneId) -> Option<LaneId> {
        match self.family.waiting.get(&lane) {
            Some(Pause { wants: Wants::NoChildren, awaits: Some(_), .. }) => {
                let paused = |child| Some(&*self.family.waiting.get(&child)?.work);
                self.lanes.open_claim(lane, paused)
            }
            Some(pause) => pause.awaits,
            None => self.lanes.barred_by(lane),
        }
    }

    /// Whose work of the circle with this lane is not to wait any more. Somebody in it waits for kin: a
    /// delete half is older than what waits for it.
    fn least_harmed(&self, lane: LaneId) -> Option<LaneId> {
        let onward = std::iter::successors(self.held_up_by(lane), |&at| self.held_up_by(at));
        let circle = onward.take_while(|&at| at != lane).chain([lane]);
        let paused = circle.filter_map(|at| Some((at, self.family.waiting.get(&at)?)));
        let harm = |(at, pause): (LaneId, &Pause)| {
            (!self.is_dispensable(at, pause), matches!(pause.wants, Wants::NoChildren), at)
        };
        paused.map(harm).min().map(|(.., at)| at)
    }

    /// Whether it need not be sent at all, since its row was not and is deleted later. That a newer change names other
    /// parents is not enough: it may be this one that moves the row away from a parent that is deleted.
    fn is_dispensable(&self, lane: LaneId, Pause { work, wants, .. }: &Pause) -> bool {
        let may_be_left_out = matches!(wants, Wants::Parents { .. }) && work.answers.is_empty();
        may_be_left_out
            && !work.is_in_doubt(self.ground.sent_before)
            && self.lanes.comes_to_nothing(lane, work.id())
    }

    fn break_circle(&mut self, lane: LaneId) {
        let Some(pause) = self.family.waiting.get(&lane) else { return };
        match (&pause.wants, pause.awaits) {
            _ if self.is_dispensable(lane, pause) => self.leave_out(lane),
            (Wants::Parents { .. }, Some(parent)) => {
                let (route, key) = self.lanes.key(parent).clone();
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
