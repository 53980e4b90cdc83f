//! When a remote's changes are put aside: decisions, without doing anything about them. Pure; the
//! time is an argument.
//!
//! Upholds invariant 4: how much log is kept is bounded by configuration (`wal_guard`), not by a
//! remote's health; and that a slow remote never starves another.

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
    /// Bytes that cannot be removed.
    pub kept: u64,
    /// Bytes behind what we have acknowledged.
    pub lag: u64,
}

impl KeptLog {
    /// The source cannot be asked: only the time is known, by our own clock.
    pub fn unknown(at: Timestamp) -> Self {
        Self { at, kept: 0, lag: 0 }
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

    /// What weighs on the process at this moment, if anything does. `open` is when the oldest
    /// transaction that is not settled was committed.
    pub(super) fn pressure(
        &mut self,
        kept: Option<KeptLog>,
        open: Option<Timestamp>,
        full: bool,
        others: bool,
    ) -> Option<Pressure> {
        let starved = std::mem::replace(&mut self.full, full) && full && others;
        let log = kept.and_then(|kept| self.log_pressure(kept, open));
        log.or(starved.then_some(Pressure::Memory))
    }

    fn log_pressure(&self, kept: KeptLog, open: Option<Timestamp>) -> Option<Pressure> {
        let WalGuard { bytes, after } = &self.guard;
        let age = open.map(|open| age(kept.at, open)).unwrap_or_default();
        let what = if kept.kept > bytes.0 {
            format!(
                "the source keeps {} of log (`wal_guard.bytes` is {bytes})",
                ByteSize(kept.kept).rounded()
            )
        } else if age > after.0 {
            let age = Span(Duration::from_secs(age.as_secs()));
            format!("the oldest change has been waiting for {age} (`wal_guard.after` is {after})")
        } else {
            return None;
        };
        Some(Pressure::Log(what.into()))
    }

    /// Whether the log is so far below the guard again that the next change does not trip it.
    fn is_relaxed(&self, kept: Option<KeptLog>, open: Option<Timestamp>) -> bool {
        kept.is_none_or(|kept| {
            let age = open.map(|open| age(kept.at, open)).unwrap_or_default();
            kept.lag <= self.guard.bytes.0 / 2 && age <= self.guard.after.0 / 2
        })
    }

    /// Looks at one remote. `since` is when it was shut, by the server's clock, as text.
    pub(super) fn review(
        &mut self,
        (remote, name): (RemoteId, &str),
        shut: Option<&Shut>,
        pressure: Option<&Pressure>,
        (kept, open): (Option<KeptLog>, Option<Timestamp>),
        now: Instant,
    ) -> Turn {
        let relaxed = self.is_relaxed(kept, open);
        let place = &mut self.aside[usize::from(remote.0)];
        match (&*place, shut, pressure) {
            (None, Some(shut), Some(pressure)) => {
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

fn age(at: Timestamp, open: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(open)).unwrap_or_default()
}

fn since(shut: &Shut, kept: Option<KeptLog>, now: Instant) -> String {
    let span = now.saturating_duration_since(shut.since);
    let at = kept.and_then(|kept| kept.at.checked_sub(SignedDuration::try_from(span).ok()?).ok());
    at.map_or_else(
        || format!("for {}", Span(Duration::from_secs(span.as_secs()))),
        |at| format!("since {at:.0}"),
    )
}
