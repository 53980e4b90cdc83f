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
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicUsize::new(0), freed: Notify::new() }))
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
        if before >= self.0.limit {
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
}
