use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The one count of the bytes of all changes in flight (invariant 5).
///
/// Whoever brings changes in waits for room and charges; whoever settles them frees. One change
/// larger than the whole budget passes when nothing else is in flight.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
    /// The budget of which it is a part.
    within: Option<(Budget, usize)>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some((whole, bytes)) = &self.within {
            whole.free(*bytes);
        }
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self::of(limit, None)
    }

    /// A part of it for somebody of his own, who then neither takes room from the others nor waits for
    /// theirs. They have it back once the last use of the part is over.
    #[must_use]
    pub fn set_apart(&self, bytes: usize) -> Self {
        self.charge(bytes);
        Self::of(bytes, Some((self.clone(), bytes)))
    }

    fn of(limit: usize, within: Option<(Self, usize)>) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0), freed: Notify::new(), within }))
    }

    /// Waits until anything at all may come in. The next charge may go over the limit once.
    pub async fn room(&self) {
        loop {
            let freed = self.0.freed.notified();
            if self.has_room() {
                return;
            }
            freed.await;
        }
    }

    /// Whether anything at all may come in.
    pub fn has_room(&self) -> bool {
        self.used() < self.0.limit
    }

    /// Counts bytes that came in.
    pub fn charge(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are settled.
    pub fn free(&self, bytes: usize) {
        let before = self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "freed {bytes} of {before} bytes");
        // Who waits is woken when there is room, and not for each byte on the way there.
        if before >= self.0.limit && before - bytes < self.0.limit {
            self.0.freed.notify_waiters();
        }
    }

    /// How many bytes are in flight.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub fn limit(&self) -> usize {
        self.0.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_the_next_one_wait_until_something_is_freed() {
        let budget = Budget::new(10);
        budget.room().await;
        budget.charge(25);
        let waiting = budget.room();
        tokio::pin!(waiting);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        budget.free(10);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "still over");
        budget.free(15);
        waiting.await;
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_set_apart_counts_as_used_until_nobody_holds_it() {
        let budget = Budget::new(10);
        let part = budget.set_apart(4);
        part.charge(5);
        assert_eq!((budget.used(), budget.has_room(), part.has_room()), (4, true, false));
        let charged = part.clone();
        drop(part);
        assert_eq!(budget.used(), 4, "something of it is in flight");
        charged.free(5);
        drop(charged);
        assert_eq!(budget.used(), 0);
    }
}
