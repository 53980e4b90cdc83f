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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_then_now_and_then_and_at_once_again_after_it_was_over() {
        let (start, mut shout) = (Instant::now(), Shout::default());
        let mut said = |second: u64| shout.is_due(start + Duration::from_secs(second));
        assert_eq!([0, 1, 9, 10, 11, 20].map(&mut said), [true, false, false, true, false, true]);
        assert!(shout.is_over() && !shout.is_over());
        assert!(shout.is_due(start + Duration::from_secs(21)));
    }
}
