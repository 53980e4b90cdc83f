use super::{Governor, Slot};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{sync::Notify, time::Instant};

/// An engine's place at a remote that it shares with the engines of other sources.
///
/// It claims a slot for its most urgent work; of several seats the one with the most urgent claim
/// is served first.
#[derive(Debug)]
pub struct Seat {
    governor: Arc<Governor>,
    id: u64,
    /// A person has stopped everything: also what has a slot already makes no further call.
    halted: Arc<AtomicBool>,
}

/// When to claim again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// At this time.
    Until(Instant),
    /// When the bell rings.
    Bell,
}

/// The seats of a governor, as it keeps them.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: Vec<Taken>,
    ids: u64,
}

#[derive(Debug)]
struct Taken {
    id: u64,
    bell: Arc<Notify>,
    /// What it waits for, by urgency.
    claim: Option<Instant>,
}

impl Seat {
    pub(super) fn new(governor: Arc<Governor>, bell: Arc<Notify>) -> Self {
        let id = governor.lock().seats.add(bell);
        Self { governor, id, halted: Arc::default() }
    }

    /// The remote's limits.
    pub fn governor(&self) -> &Arc<Governor> {
        &self.governor
    }

    /// Nothing is sent from here on, or it is again.
    pub fn halt(&self, halted: bool) {
        self.halted.store(halted, Ordering::Relaxed);
        if halted {
            self.withdraw();
        }
    }

    /// Asks for a slot for work of this urgency; the earlier the more urgent.
    pub fn claim(&self, urgency: Instant, now: Instant) -> Result<Slot, Wait> {
        if self.halted.load(Ordering::Relaxed) {
            return Err(Wait::Bell);
        }
        let mut state = self.governor.lock();
        let refused = match state.refusal(now) {
            None if state.seats.is_most_urgent(self.id, urgency) => None,
            None => Some(Wait::Bell),
            refused => refused,
        };
        state.seats.set_claim(self.id, refused.map(|_| urgency));
        match refused {
            Some(wait) => Err(wait),
            None => Ok(Slot::new(&self.governor, &mut state, (self.id, &self.halted), now)),
        }
    }

    /// There is nothing to claim a slot for any more.
    pub fn withdraw(&self) {
        self.governor.lock().seats.set_claim(self.id, None);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.governor.lock().seats.remove(self.id);
    }
}

impl Seats {
    fn add(&mut self, bell: Arc<Notify>) -> u64 {
        self.ids += 1;
        self.seats.push(Taken { id: self.ids, bell, claim: None });
        self.ids
    }

    fn remove(&mut self, id: u64) {
        self.seats.retain(|it| it.id != id);
        self.ring(None);
    }

    fn is_most_urgent(&self, id: u64, urgency: Instant) -> bool {
        self.seats.iter().all(|it| it.id == id || it.claim.is_none_or(|claim| claim >= urgency))
    }

    /// Others may have waited for a more urgent claim to be served, withdrawn or replaced.
    fn set_claim(&mut self, id: u64, claim: Option<Instant>) {
        let Some(own) = self.seats.iter_mut().find(|it| it.id == id) else { return };
        let before = std::mem::replace(&mut own.claim, claim);
        if before.is_some_and(|before| claim.is_none_or(|claim| claim > before)) {
            self.ring(Some(id));
        }
    }

    /// Wakes whoever waits, but for one.
    pub(super) fn ring(&self, but: Option<u64>) {
        for seat in self.seats.iter().filter(|it| it.claim.is_some() && Some(it.id) != but) {
            seat.bell.notify_one();
        }
    }
}
