//! How much of a remote may be used: its rate, how many calls at once, when it asked to be left
//! alone, and when it does nothing but fail.
//!
//! One [`Governor`] a remote, shared by the engines of every source that calls it. An engine takes
//! a [`Seat`] and claims a [`Slot`] for each change that it wants to carry; the slot is asked
//! before each call and told how it went. A slot is given back by dropping it, so that nothing is
//! lost with a task that ends in whatever way.
//!
//! The decisions are pure and each has a file: the rate in `bucket`, the adaptive concurrency in
//! `window`, `breaker`, `pause` with `quota` (what headers say), what an answer means in `judge`, and
//! whether a change has itself to blame in `tally`. Here is only what holds them together under one lock, which is never held while
//! something is waited for.

mod breaker;
mod bucket;
mod judge;
mod pause;
pub(super) mod quota;
mod seat;
mod settings;
mod slot;
mod standing;
mod tally;
mod window;

pub use pause::Quota;
pub use seat::{Seat, Wait};
pub use settings::{Breaker, Rate};
pub use slot::{Blame, Slot};
pub use standing::{Gate, Gauges, Ill, Record, Standing};
pub use tally::Suspicion;

use crate::model::{Answer, Span};
use breaker::{Turn, Way};
use bucket::Bucket;
use pause::Pause;
use seat::Seats;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally::Tally;
use tokio::{sync::Notify, time::Instant};
use window::Window;

/// Keeps one remote's limits.
#[derive(Debug)]
pub struct Governor {
    name: String,
    concurrency: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: Option<Bucket>,
    window: Window,
    breaker: breaker::Breaker,
    pause: Pause,
    tally: Tally,
    seats: Seats,
    /// Slots that are out.
    taken: u32,
    /// What happened so far.
    record: Record,
    /// Tokens kept for those of them that are about to make their first call.
    reserved: u32,
}

impl Governor {
    /// These limits for the remote of this name.
    pub fn new(name: &str, concurrency: u32, rate: Option<&Rate>, breaker: &Breaker) -> Arc<Self> {
        let state = State {
            bucket: rate.map(Bucket::new),
            window: Window::new(concurrency),
            breaker: breaker::Breaker::new(breaker),
            pause: Pause::default(),
            tally: Tally::default(),
            seats: Seats::default(),
            taken: 0,
            record: Record::default(),
            reserved: 0,
        };
        Arc::new(Self { name: name.to_owned(), concurrency, state: Mutex::new(state) })
    }

    /// A place for an engine. `bell` rings when a claim that was refused may be made again.
    pub fn seat(self: &Arc<Self>, bell: Arc<Notify>) -> Seat {
        Seat::new(Arc::clone(self), bell)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway; if it did, the limits are worth keeping.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, state: &mut State, answer: &Answer, began: Instant, now: Instant) {
        if let Some(begins) = state.pause.heard(answer, began, now) {
            tracing::info!(remote = self.name, "paused: {}", begins.why);
        }
    }

    /// Says what happened to the breaker, and to whom it matters.
    fn turned(&self, state: &State, turn: Turn) {
        let why = state.breaker.open().map_or("", |it| &*it.why);
        match turn {
            Turn::None => return,
            Turn::Opened { wait } => {
                let wait = Span(wait);
                tracing::warn!(remote = self.name, "the breaker is open, nothing is sent for {wait}: {why}");
            }
            Turn::StaysOpen { wait } => {
                let wait = Span(wait);
                tracing::info!(remote = self.name, "the breaker stays open for another {wait}: {why}");
            }
            Turn::Closed { after } => {
                let open_ms = after.as_millis() as u64;
                tracing::info!(
                    remote = self.name,
                    open_ms,
                    "the breaker is closed: the remote answers again"
                );
            }
        }
        state.seats.ring(None);
    }
}

impl State {
    /// Why no further slot can be given now.
    fn refusal(&self, now: Instant) -> Option<Wait> {
        match self.breaker.way(now) {
            Way::Free | Way::Probe => {}
            Way::ShutUntil(until) => return Some(Wait::Until(until)),
            Way::Probing => return Some(Wait::Bell),
        }
        if let Some(pause) = self.pause.now(now) {
            return Some(Wait::Until(pause.until));
        }
        if self.taken >= self.window.width() {
            return Some(Wait::Bell);
        }
        let bucket = self.bucket.as_ref().filter(|_| !self.has_token(now))?;
        // If all there can be are kept for others, one of them gives its own back or uses it.
        let when = bucket.when(self.reserved + 1, now);
        Some(if when > now { Wait::Until(when) } else { Wait::Bell })
    }

    fn has_token(&self, now: Instant) -> bool {
        self.bucket.as_ref().is_none_or(|bucket| bucket.left(now) > self.reserved)
    }
}

#[cfg(test)]
mod tests;
