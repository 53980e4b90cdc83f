use std::time::Duration;
use tokio::time::Instant;

/// How often the same trouble is told at most.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps a message that is due again and again from being all there is to read.
#[derive(Debug, Default)]
pub(super) struct Shout {
    last: Option<Instant>,
}

impl Shout {
    /// Whether it is to be said now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.last.is_none_or(|last| now >= last + EVERY);
        if is_due {
            self.last = Some(now);
        }
        is_due
    }

    /// What was shouted about is over; the next time is news.
    pub(super) fn is_over(&mut self) -> bool {
        self.last.take().is_some()
    }
}
