//! When a remote's changes are put aside: decisions, without doing anything about them. Pure; the
//! time is an argument.
//!
//! Upholds invariant 4: how much log is kept is bounded by configuration (`wal_guard`), not by a
//! remote's health; and that a slow remote never starves another.
//!
//! What counts is log that is kept because something that was read cannot be settled. Log that the
//! source keeps for other reasons (a long transaction of its own, whose beginning the slot has to
//! keep) is not behind what we have acknowledged, and putting aside would not free it. Log that is
//! behind it because we were away is worked through, and nothing in it waits for long. So one measure
//! of each kind decides, for tripping and for relaxing: how much log is behind what we have
//! acknowledged, and how long the oldest change has been waiting since it was read. What trips has
//! to fall to half before it is relaxed, and a remote has to be shut for as long as a change has to wait:
//! neither goes to and fro with a remote that pauses now and then.

use crate::{
    capture::WalGuard,
    model::{ByteSize, Span},
    routing::RemoteId,
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How much log the source keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLog {
    /// When that was so, by the server's clock as long as it can be asked.
    pub at: Timestamp,
    /// Bytes behind what we have acknowledged.
    pub lag: u64,
}

impl KeptLog {
    /// The source cannot be asked: only the time is known, by our own clock.
    pub fn unknown(at: Timestamp) -> Self {
        Self { at, lag: 0 }
    }
}

/// Since when nothing goes through to a remote, and why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shut {
    pub(super) since: Instant,
    pub(super) why: Arc<str>,
}

/// Why changes of a remote are put aside.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pressure {
    /// The source keeps more log than it should.
    Log(Arc<str>),
    /// The byte budget is full, and other remotes have to wait for it.
    Memory,
}

impl Pressure {
    fn text(&self) -> &str {
        match self {
            Self::Log(what) => what,
            Self::Memory => "`limits.memory` is used up and other remotes wait",
        }
    }
}

/// Which bound is crossed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trip {
    Bytes,
    After,
}

/// A remote whose changes are put aside.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub(super) message: String,
    pub(super) changes: u64,
}

/// What a review changed for a remote.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Turn {
    None,
    /// From now on its changes are put aside.
    Begins,
    /// They are carried again; so many were put aside.
    Ends(u64),
    /// It is there but slow: only what has waited for long is put aside.
    Stale(String),
}

/// How the remotes stand.
#[derive(Debug)]
pub(super) struct Outages {
    guard: WalGuard,
    /// Those whose changes are put aside.
    aside: Vec<Option<Aside>>,
    /// The byte budget was full at the last review.
    full: bool,
}

/// Work older than this is not being kept up with.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Outages {
    pub(super) fn new(guard: WalGuard, remotes: usize) -> Self {
        Self { guard, aside: vec![None; remotes], full: false }
    }

    pub(super) fn aside(&mut self, remote: RemoteId) -> Option<&mut Aside> {
        self.aside[usize::from(remote.0)].as_mut()
    }

    /// What weighs on the process at this moment, if anything does. `waited` is how long ago the
    /// oldest transaction that is not settled was read.
    pub(super) fn pressure(
        &mut self,
        kept: Option<KeptLog>,
        waited: Duration,
        full: bool,
        others: bool,
    ) -> Option<Pressure> {
        let starved = std::mem::replace(&mut self.full, full) && full && others;
        let log = kept.and_then(|kept| self.log_pressure(kept, waited));
        log.or(starved.then_some(Pressure::Memory))
    }

    fn log_pressure(&self, kept: KeptLog, waited: Duration) -> Option<Pressure> {
        let WalGuard { bytes, after } = &self.guard;
        let what = match self.trips(kept.lag, waited, 1)? {
            Trip::Bytes => format!(
                "the source keeps {} of log for what is not settled (`wal_guard.bytes` is {bytes})",
                ByteSize(kept.lag).rounded()
            ),
            Trip::After => {
                let waited = Span(Duration::from_secs(waited.as_secs()));
                format!("the oldest change has been waiting for {waited} (`wal_guard.after` is {after})")
            }
        };
        Some(Pressure::Log(what.into()))
    }

    /// Whether this is beyond the guard, or beyond this part of it.
    fn trips(&self, lag: u64, waited: Duration, part: u32) -> Option<Trip> {
        let (bytes, after) = (self.guard.bytes.0 / u64::from(part), self.guard.after.0 / part);
        if waited > after {
            Some(Trip::After)
        } else if lag > bytes && waited >= self.patience() / part {
            Some(Trip::Bytes)
        } else {
            None
        }
    }

    /// What has waited for less is being worked on.
    fn patience(&self) -> Duration {
        PATIENCE.min(self.guard.after.0)
    }

    /// Whether all is so far below the guard again that the next change does not trip it.
    fn is_relaxed(&self, kept: Option<KeptLog>, waited: Duration) -> bool {
        kept.is_none_or(|kept| self.trips(kept.lag, waited, 2).is_none())
    }

    /// Looks at one remote. `since` is when it was shut, by the server's clock, as text.
    pub(super) fn review(
        &mut self,
        (remote, name): (RemoteId, &str),
        shut: Option<&Shut>,
        pressure: Option<&Pressure>,
        (kept, waited): (Option<KeptLog>, Duration),
        now: Instant,
    ) -> Turn {
        let relaxed = self.is_relaxed(kept, waited);
        let patience = match pressure {
            Some(Pressure::Log(_)) => self.patience(),
            _ => Duration::ZERO,
        };
        let place = &mut self.aside[usize::from(remote.0)];
        match (&*place, shut, pressure) {
            (None, Some(shut), Some(pressure)) if now.saturating_duration_since(shut.since) >= patience => {
                let message = format!(
                    "remote `{name}` takes no calls {}: {}. Put aside because {}",
                    since(shut, kept, now),
                    shut.why,
                    pressure.text()
                );
                *place = Some(Aside { message, changes: 0 });
                Turn::Begins
            }
            (None, None, Some(pressure)) => Turn::Stale(format!(
                "remote `{name}` does not keep up. Put aside because {}",
                pressure.text()
            )),
            (Some(aside), None, _) if relaxed => {
                let changes = aside.changes;
                *place = None;
                Turn::Ends(changes)
            }
            _ => Turn::None,
        }
    }
}

fn since(shut: &Shut, kept: Option<KeptLog>, now: Instant) -> String {
    let span = now.saturating_duration_since(shut.since);
    let at = kept.and_then(|kept| kept.at.checked_sub(SignedDuration::try_from(span).ok()?).ok());
    at.map_or_else(
        || format!("for {}", Span(Duration::from_secs(span.as_secs()))),
        |at| format!("since {at:.0}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: u64 = 1_000;
    const HOUR: u64 = 3_600;

    /// One remote, looked at again and again.
    struct Watched {
        outages: Outages,
        began: Instant,
        shut: Option<Shut>,
        second: u64,
    }

    impl Watched {
        fn new() -> Self {
            let guard = WalGuard { bytes: ByteSize(GUARD), after: Span(Duration::from_secs(HOUR)) };
            let (outages, began) = (Outages::new(guard, 1), Instant::now());
            Self { outages, began, shut: None, second: 0 }
        }

        fn now(&self) -> Instant {
            self.began + Duration::from_secs(self.second)
        }

        fn shuts(&mut self) {
            self.shut = Some(Shut { since: self.now(), why: "it is down".into() });
        }

        /// What a look in this second decides, when the log is this long and the oldest change has been
        /// waiting for so many seconds.
        fn look(&mut self, second: u64, lag: u64, waited: u64) -> Turn {
            self.second = second;
            let kept = Some(KeptLog { at: Timestamp::UNIX_EPOCH, lag });
            let waited = Duration::from_secs(waited);
            let pressure = self.outages.pressure(kept, waited, false, false);
            let (shut, now) = (self.shut.clone(), self.now());
            self.outages.review((RemoteId(0), "bank"), shut.as_ref(), pressure.as_ref(), (kept, waited), now)
        }
    }

    #[test]
    fn log_that_is_kept_for_nothing_of_ours_puts_nothing_aside() {
        let mut watched = Watched::new();
        watched.shuts();
        // A long transaction of the source's own: whatever the slot keeps, we have acknowledged it all.
        assert_eq!(watched.look(100, 0, 0), Turn::None);
        // We were away, and what is read does not wait.
        assert_eq!(watched.look(200, 50 * GUARD, 9), Turn::None);
        // It waits, but there is little of it.
        assert_eq!(watched.look(300, GUARD, HOUR), Turn::None);
    }

    #[test]
    fn a_remote_that_pauses_for_a_moment_is_not_put_aside_while_we_catch_up() {
        let mut watched = Watched::new();
        for second in (0..600).step_by(3) {
            watched.second = second;
            match second % 2 {
                0 => watched.shuts(),
                _ => watched.shut = None,
            }
            let turn = watched.look(second + 2, 50 * GUARD, second % 10);
            assert_eq!(turn, Turn::None, "in second {second}");
        }
    }

    #[test]
    fn what_begins_ends_only_far_below_what_it_began_at() {
        let mut watched = Watched::new();
        watched.shuts();
        assert_eq!(watched.look(9, GUARD + 1, 30), Turn::None, "it is shut for a moment only");
        assert_eq!(watched.look(10, GUARD + 1, 9), Turn::None, "it has only been read");
        assert_eq!(watched.look(10, GUARD + 1, 10), Turn::Begins);
        assert_eq!(watched.look(20, 0, 0), Turn::None, "it is down");
        watched.shut = None;
        for (lag, waited) in [(GUARD + 1, 10), (GUARD, 9), (GUARD / 2 + 1, 5), (0, HOUR / 2 + 1)] {
            let turn = watched.look(30, lag, waited);
            assert!(!matches!(turn, Turn::Ends(_) | Turn::Begins), "{lag} bytes, {waited} s: {turn:?}");
        }
        assert_eq!(watched.look(40, GUARD / 2, HOUR / 2), Turn::Ends(0));
        // It comes and goes: that alone begins nothing.
        for second in 41..100 {
            watched.shuts();
            assert_eq!(watched.look(second, GUARD + 1, 30), Turn::None);
            watched.shut = None;
            assert_eq!(watched.look(second, GUARD + 1, 9), Turn::None);
        }
        // Log that is still to be read when the remote is back is carried, not put aside.
        watched.shuts();
        assert_eq!(watched.look(110, GUARD + 1, 10), Turn::Begins);
        watched.shut = None;
        assert_eq!(watched.look(111, 50 * GUARD, 4), Turn::Ends(0));
    }

    #[test]
    fn a_change_that_waits_for_too_long_trips_however_little_log_there_is() {
        let mut watched = Watched::new();
        watched.shuts();
        assert_eq!(watched.look(HOUR, 1, HOUR), Turn::None);
        assert_eq!(watched.look(HOUR + 1, 1, HOUR + 1), Turn::Begins);
        watched.shut = None;
        assert_eq!(watched.look(HOUR + 2, 1, HOUR / 2 + 1), Turn::None);
        assert_eq!(watched.look(HOUR + 3, 1, HOUR / 2), Turn::Ends(0));
    }
}
