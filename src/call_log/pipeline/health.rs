use super::shout::Shout;
use crate::call_log::CallLogError;
use std::time::Duration;
use tokio::time::Instant;

/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How the outlet fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// How often in a row it failed.
    failures: u32,
    /// Not before then is anything sent.
    pub(super) retry_at: Option<Instant>,
    shout: Shout,
}

impl Health {
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn failed(&mut self, error: &CallLogError, has_spool: bool, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
        if !self.shout.is_due(now) {
            return;
        }
        let (failures, place) = (self.failures, if has_spool { "in the spool" } else { "in memory" });
        if error.lasting {
            tracing::error!(
                failures,
                "the call log cannot be sent until somebody mends this: {error}. Its records wait {place}; look \
                 at what `call_log` names and at that server's own log"
            );
        } else {
            tracing::warn!(
                failures,
                "the call log cannot be sent at present: {error}. Its records wait {place}, and it is tried \
                 again; if this goes on, look whether what `call_log` names is up and can be reached"
            );
        }
    }

    pub(super) fn sent(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        if self.shout.is_over() {
            tracing::info!("the call log is sent again");
        }
    }
}
