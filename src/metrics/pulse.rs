use super::LastTime;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::time::Instant;

/// Whether anything comes from a source: felt by whoever watches over it, kept by whoever reads it.
#[derive(Debug, Default)]
pub struct Pulse {
    moved: LastTime,
    held: AtomicBool,
}

impl Pulse {
    /// The source is ahead of where it was: it sent a change, or says that it has read on in its log.
    pub fn moves(&self, now: Instant) {
        self.moved.is(now);
    }

    /// The reader itself reads no further, since what it has is not taken from it; or does again.
    pub fn holds(&self, held: bool, now: Instant) {
        self.held.store(held, Relaxed);
        self.moved.is(now);
    }

    /// Whether it is the reader who waits.
    pub fn is_held(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// When it last moved.
    pub fn moved_at(&self) -> Instant {
        self.moved.at()
    }
}
