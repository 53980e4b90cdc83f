//! Changes that were sent before are sent again, beside the stream and through the same lanes.
//!
//! They are read from a slot of their own, up to a position before which everything has its outcome
//! when the run begins. So of a change that is sent again it is known how it ended: what is parked of
//! it is left to itself, and a link that is newer than the window means that the live stream was
//! faster ([`super::replayed`]). Within the window which change a link has says nothing, as everything in it
//! is sent again in its order, and a link never goes back.
//!
//! The checkpoint does not wait for any of this. The run has a watermark of its own, and where that
//! stands is stored with the outcomes under it; after a crash the run goes on there. What it has brought
//! of each key by then is in the key's link, and left out: what remains begins where the key is, so that
//! it comes to the same calls, under the same call keys.
//!
//! Call keys are those of the first time only where every change was sent then, and comes to the same calls
//! now. Elsewhere the remote would not know the key of a call that was not made: it would apply that, an old
//! state, and answer the newer ones from memory.
//!
//! What is read has a part of the byte budget for itself, so that neither the stream nor the run takes
//! the other's room (invariant 5).

use super::{ForRun, Replay, ReplayFeed, Replayed, Window};
use crate::{
    capture::{Budget, Captured, SourceError},
    engine::{
        Engine, PENDING_LIMIT,
        watermark::Watermark,
        work::{Arrival, Charge},
    },
    model::{Change, ChangeId, Image, Lsn, RunCounts, RunEnd, RunId},
    routing::{Errand, RouteId},
    state::Again,
};
use serde_json::json;
use std::{collections::HashSet, sync::Arc};
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

/// The replay that is carried.
pub(in crate::engine) struct Replaying {
    pub(in crate::engine) run: RunId,
    pub(in crate::engine) mark: Watermark,
    /// As [`Engine::last_delete`], of what is sent again.
    pub(in crate::engine) last_delete: Vec<Option<(ChangeId, Arrival)>>,
    routes: Vec<RouteId>,
    keys: HashSet<Arc<str>>,
    window: Window,
    anew: bool,
    paused: bool,
    feed: mpsc::Receiver<ReplayFeed>,
    budget: Budget,
    /// Keys that were deleted behind the window, as hashes; charged.
    bygone: HashSet<u64>,
    /// The newest change that was taken: after a broken connection some come again.
    newest: Option<ChangeId>,
    /// How many have their outcome.
    pub(in crate::engine) read: u64,
    /// Where it is known to be.
    at: Lsn,
    /// Everything is read.
    complete: bool,
}

impl Replaying {
    /// What the log says next.
    pub(in crate::engine) async fn next(&mut self) -> ReplayFeed {
        let ended = || SourceError::Final("nobody reads the log for it any more".to_owned());
        self.feed.recv().await.unwrap_or_else(|| ReplayFeed::Broken(ended()))
    }

    /// How many changes it will have read in the end, if the rest of the log is like what was read.
    fn expected(&self) -> Option<u64> {
        let span = |from: Lsn, to: Lsn| u128::from(to.raw().saturating_sub(from.raw()));
        let (all, done) = (span(self.window.start, self.window.to), span(self.window.start, self.at));
        (u128::from(self.read) * all).checked_div(done).and_then(|it| u64::try_from(it).ok())
    }
}

/// Tells keys of routes apart.
fn hash((route, key): (RouteId, &str)) -> u64 {
    xxh3_64(format!("{}/{key}", route.0).as_bytes())
}

/// What it costs to remember a key that was deleted behind the window.
const BYGONE: usize = 16;

impl Drop for Replaying {
    fn drop(&mut self) {
        self.budget.free(BYGONE * self.bygone.len());
    }
}

impl Engine {
    pub(in crate::engine) fn begin_replay(&mut self, replay: Replay) {
        if self.replay.as_ref().is_some_and(|it| it.run == replay.run) {
            return;
        }
        let Replay { run, routes, keys, window, anew, at, read, paused, feed, budget } = replay;
        let routes: Vec<RouteId> = routes.iter().filter_map(|name| self.router.find(name)).collect();
        tracing::info!(%run, from = %at, to = %window.to, "what was sent before is sent again");
        self.runs.replays = Some(run);
        self.runs.uncompared.clone_from(&routes);
        self.replay = Some(Replaying {
            run,
            mark: Watermark::default(),
            last_delete: vec![None; self.last_delete.len()],
            routes,
            keys,
            window,
            anew,
            paused,
            feed,
            budget,
            bygone: HashSet::new(),
            newest: None,
            read,
            at,
            complete: false,
        });
    }

    pub(in crate::engine) fn pause_replay(&mut self, run: RunId, paused: bool) {
        self.replay.iter_mut().filter(|it| it.run == run).for_each(|it| it.paused = paused);
    }

    /// What is with the lanes already goes on.
    pub(in crate::engine) fn cancel_replay(&mut self, run: RunId) {
        if self.replay.take_if(|it| it.run == run).is_some() || self.replay.is_none() {
            self.runs.replays = None;
            self.runs.uncompared.clear();
        }
    }

    /// Whether more of it may be read now.
    pub(in crate::engine) fn may_replay(&self) -> bool {
        let Some(replay) = &self.replay else { return false };
        // What is read for a remote that is down would only be parked.
        let away = |route: &RouteId| self.is_away(*route);
        // What an earlier process may have sent comes again first: it is newer than all of this, and a
        // remote that answers it from memory would stay at what is sent again in between.
        let caught_up = self.read >= self.ground.sent_before;
        let free = replay.budget.has_room() && self.pending.len() < PENDING_LIMIT;
        caught_up && !replay.paused && !replay.complete && free && !replay.routes.iter().any(away)
    }

    pub(in crate::engine) fn take_feed(&mut self, feed: ReplayFeed) {
        match feed {
            ReplayFeed::Batch(batch) => batch.into_iter().for_each(|it| self.take_replayed(it)),
            ReplayFeed::Look(batch) => batch.into_iter().for_each(|it| self.look_ahead(it)),
            ReplayFeed::Looked(to) => {
                self.replay.iter_mut().for_each(|it| it.window.to = to.min(it.window.to));
            }
            ReplayFeed::Broken(error) => self.end_replay(RunEnd::Failed(error.to_string())),
        }
    }

    fn take_replayed(&mut self, captured: Captured) {
        let Some(replay) = &mut self.replay else { return };
        let to = replay.window.to;
        match captured {
            Captured::Change(change) => {
                let charge = Charge::adopt(&replay.budget, change.bytes());
                let known = replay.newest.is_some_and(|newest| change.id <= newest);
                if change.id.commit >= to {
                    replay.complete = true;
                } else if !replay.complete && !known {
                    replay.newest = Some(change.id);
                    self.send_again(change, Arc::new(charge));
                }
            }
            Captured::Commit(commit) if commit.lsn >= to => replay.complete = true,
            Captured::Commit(commit) => replay.mark.complete(commit.lsn, commit.end, commit.at),
            Captured::Idle(lsn) => {
                replay.mark.idle(lsn.min(to));
                replay.complete |= lsn >= to;
            }
            Captured::Mark(_) => {}
        }
        if let Some(replay) = self.replay.as_mut().filter(|it| it.complete) {
            replay.feed.close();
        }
    }

    fn send_again(&mut self, change: Change, charge: Arc<Charge>) {
        let Some(replay) = &self.replay else { return };
        let Replaying { run, window, anew, .. } = *replay;
        if window.since.is_some_and(|since| change.committed_at < since) {
            return;
        }
        // Others saw it long ago; its number may be that of a new one by now.
        let change = Change { transaction: None, ..change };
        let truncates = matches!(change.image, Image::Truncate);
        if truncates {
            tracing::warn!(%run, table = %change.table.name, change = %change.id, "a truncate is not replayed");
        }
        let mut errands = Vec::new();
        self.router.route_change(change, &mut errands);
        for errand in errands {
            let Some(replay) = self.replay.as_mut().filter(|it| it.is_wanted(&errand)) else { continue };
            if truncates || replay.is_bygone(&errand) {
                replay.read += 1;
                self.runs.tell(run).counts.add(RunCounts { read: 1, skipped: 1, ..RunCounts::default() });
                continue;
            }
            let route = self.router.route(errand.route);
            let known_keys = !anew && route.sends_each_change();
            let called = if known_keys { errand.change.id } else { run.anew(errand.change.id) };
            let spares = matches!(errand.change.image, Image::Delete { .. }) && route.waited_for;
            let again = Again { until: replay.window.to, run: Some(run) };
            let replayed = Some(Replayed { again, spares });
            let for_run = ForRun { called, suspect: true, forced: true, ahead: false, replayed };
            self.accept_errand(errand, &charge, Some(for_run));
        }
    }

    /// Something that comes behind the window, and is not sent again.
    fn look_ahead(&mut self, captured: Captured) {
        let Some(replay) = &mut self.replay else { return };
        let Captured::Change(change) = captured else { return };
        let _charge = Charge::adopt(&replay.budget, change.bytes());
        if !matches!(change.image, Image::Delete { .. }) {
            return;
        }
        let mut errands = Vec::new();
        self.router.route_change(change, &mut errands);
        for errand in errands {
            let own = self.router.route(errand.route).table == errand.change.table.name;
            if let (true, Ok(key)) = (own && replay.is_wanted(&errand), &errand.key) {
                let new = replay.bygone.insert(hash((errand.route, key)));
                replay.budget.charge(if new { BYGONE } else { 0 });
            }
        }
        let rows = replay.bygone.len();
        if rows * BYGONE > replay.budget.limit() / 2 {
            let message = format!(
                "more than {rows} rows were deleted behind the end of what is to be sent again, and would come back by it: \
                 leave `--to` out, name a later one, or raise `limits.memory`"
            );
            self.end_replay(RunEnd::Failed(message));
        }
    }

    /// Moves the run over what has its outcome.
    pub(in crate::engine) fn advance_replay(&mut self) {
        let Some(replay) = &mut self.replay else { return };
        let over = replay.complete && replay.mark.in_flight() == 0;
        let reached = if over { replay.window.to } else { replay.mark.reached().end };
        if reached > replay.at || over {
            replay.at = reached.max(replay.at);
            let (run, at, to) = (replay.run, replay.at, replay.window.to);
            let expected = if over { Some(replay.read) } else { replay.expected() };
            let progress = self.runs.tell(run);
            progress.cursor = Some(json!({ "at": at, "to": to }));
            progress.expected = expected.or(progress.expected);
        }
        if over {
            self.end_replay(RunEnd::Done);
        }
    }

    fn end_replay(&mut self, end: RunEnd) {
        let Some(replay) = self.replay.take() else { return };
        match &end {
            RunEnd::Done => tracing::info!(run = %replay.run, changes = replay.read, "the replay is done"),
            RunEnd::Failed(why) => tracing::warn!(run = %replay.run, "the replay failed: {why}"),
        }
        self.runs.tell(replay.run).end = Some(end);
        self.runs.replays = None;
        self.runs.uncompared.clear();
    }
}

impl Replaying {
    fn is_wanted(&self, errand: &Errand) -> bool {
        let key = |key: &Arc<str>| self.keys.contains(key);
        self.routes.contains(&errand.route) && (self.keys.is_empty() || errand.key.as_ref().is_ok_and(key))
    }

    fn is_bygone(&self, errand: &Errand) -> bool {
        let deleted = |key: &Arc<str>| self.bygone.contains(&hash((errand.route, key)));
        errand.key.as_ref().is_ok_and(deleted)
    }
}
