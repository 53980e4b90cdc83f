use super::settings;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Leaves a remote alone that does nothing but fail. Pure; the time is an argument.
///
/// Closed, calls go through. After so many failures in a row, or when too many of the last ones
/// failed, it opens: nothing goes through for a while. Then it is half open: one call, the probe,
/// goes through; if it is answered the breaker closes, if not it stays open for twice as long.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    ratio: Option<f64>,
    first_wait: Duration,
    longest_wait: Duration,
    in_a_row: u32,
    /// The last calls, newest lowest, 1 for a failure.
    recent: u64,
    /// How many of those there were.
    seen: u32,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// How long the present wait is.
    wait: Duration,
    /// A probe is under way.
    pub(super) probing: bool,
    /// What the newest failure was.
    pub(super) why: Arc<str>,
}

/// What may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    /// One call, to see whether the remote is back.
    Probe,
    ShutUntil(Instant),
    /// Until the probe is back.
    Probing,
}

/// What a piece of news changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Turn {
    None,
    Opened {
        wait: Duration,
    },
    StaysOpen {
        wait: Duration,
    },
    /// After this long.
    Closed {
        after: Duration,
    },
}

const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How many of the last calls a ratio is about, and how many are needed to tell.
const RECENT: u32 = u64::BITS;
const ENOUGH: u32 = 16;

impl Breaker {
    pub(super) fn new(settings: &settings::Breaker) -> Self {
        let settings::Breaker { failures, ratio, open, max } = settings;
        Self {
            failures: *failures,
            ratio: *ratio,
            first_wait: open.0,
            longest_wait: max.map_or(LONGEST_WAIT, |it| it.0).max(open.0),
            in_a_row: 0,
            recent: 0,
            seen: 0,
            open: None,
        }
    }

    pub(super) fn way(&self, now: Instant) -> Way {
        match &self.open {
            None => Way::Free,
            Some(open) if now < open.until => Way::ShutUntil(open.until),
            Some(Open { probing: true, .. }) => Way::Probing,
            Some(_) => Way::Probe,
        }
    }

    pub(super) fn open(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// The probe is under way, or was given back unused.
    pub(super) fn set_probing(&mut self, probing: bool) {
        if let Some(open) = &mut self.open {
            open.probing = probing;
        }
    }

    /// A call was answered. Of those that were under way when it opened, none closes it.
    pub(super) fn answered(&mut self, probe: bool, now: Instant) -> Turn {
        match &self.open {
            None => {
                self.in_a_row = 0;
                self.remember(false);
                Turn::None
            }
            Some(open) if probe => {
                let after = now.saturating_duration_since(open.since);
                self.open = None;
                Turn::Closed { after }
            }
            Some(_) => Turn::None,
        }
    }

    /// A call failed by the remote's fault.
    pub(super) fn failed(&mut self, probe: bool, why: impl FnOnce() -> Arc<str>, now: Instant) -> Turn {
        match &mut self.open {
            Some(open) if probe => {
                open.wait = (open.wait * 2).min(self.longest_wait);
                open.until = now + open.wait;
                open.probing = false;
                open.why = why();
                Turn::StaysOpen { wait: open.wait }
            }
            Some(_) => Turn::None,
            None => {
                self.in_a_row += 1;
                self.remember(true);
                if !self.trips() {
                    return Turn::None;
                }
                let wait = self.first_wait;
                self.open = Some(Open { since: now, until: now + wait, wait, probing: false, why: why() });
                // What comes after it closes is judged afresh.
                (self.in_a_row, self.recent, self.seen) = (0, 0, 0);
                Turn::Opened { wait }
            }
        }
    }

    fn remember(&mut self, failure: bool) {
        self.recent = self.recent << 1 | u64::from(failure);
        self.seen = (self.seen + 1).min(RECENT);
    }

    fn trips(&self) -> bool {
        let part = f64::from(self.recent.count_ones()) / f64::from(self.seen.max(1));
        (self.failures > 0 && self.in_a_row >= self.failures)
            || (self.seen >= ENOUGH && self.ratio.is_some_and(|ratio| part >= ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;
    use proptest::prelude::*;

    fn breaker(failures: u32, ratio: Option<f64>) -> Breaker {
        let span = |seconds| Span(Duration::from_secs(seconds));
        Breaker::new(&settings::Breaker { failures, ratio, open: span(10), max: Some(span(35)) })
    }

    fn why() -> Arc<str> {
        Arc::from("down")
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_probe_through() {
        let mut breaker = breaker(3, None);
        let start = Instant::now();
        for _ in 0..2 {
            breaker.failed(false, why, start);
            breaker.failed(false, why, start);
            breaker.answered(false, start);
        }
        assert_eq!(breaker.way(start), Way::Free, "an answer in between begins anew");
        breaker.failed(false, why, start);
        breaker.failed(false, why, start);
        assert_eq!(breaker.failed(false, why, start), Turn::Opened { wait: 10 * SECOND });
        let until = start + 10 * SECOND;
        assert_eq!(breaker.way(until - SECOND), Way::ShutUntil(until));
        breaker.answered(false, start + SECOND);
        breaker.failed(false, why, start + SECOND);
        assert_eq!(breaker.way(until - SECOND), Way::ShutUntil(until), "late answers change nothing");
        assert_eq!(breaker.way(until), Way::Probe);
        breaker.set_probing(true);
        assert_eq!(breaker.way(until), Way::Probing);
        assert_eq!(breaker.answered(true, until + SECOND), Turn::Closed { after: 11 * SECOND });
        assert_eq!(breaker.way(until + SECOND), Way::Free);
    }

    #[tokio::test(start_paused = true)]
    async fn each_probe_that_fails_doubles_the_wait_up_to_the_longest() {
        let mut breaker = breaker(1, None);
        let mut now = Instant::now();
        let since = now;
        breaker.failed(false, why, now);
        for wait in [20, 35, 35] {
            now = breaker.open().expect("open").until;
            assert_eq!(breaker.way(now), Way::Probe);
            breaker.set_probing(true);
            assert_eq!(breaker.failed(true, why, now), Turn::StaysOpen { wait: wait * SECOND });
            assert_eq!(breaker.open().expect("open").since, since, "it has been open all the while");
        }
        now = breaker.open().expect("open").until;
        breaker.set_probing(true);
        breaker.answered(true, now);
        assert_eq!(breaker.failed(false, why, now), Turn::Opened { wait: 10 * SECOND }, "and begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_never_made_leaves_the_way_to_another() {
        let mut breaker = breaker(1, None);
        let now = Instant::now();
        breaker.failed(false, why, now);
        let until = now + 10 * SECOND;
        breaker.set_probing(true);
        breaker.set_probing(false);
        assert_eq!(breaker.way(until), Way::Probe);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_too_many_of_the_last_calls_failed() {
        let mut breaker = breaker(0, Some(0.5));
        let now = Instant::now();
        for _ in 0..15 {
            assert_eq!(breaker.failed(false, why, now), Turn::None, "too few to tell");
        }
        assert_eq!(breaker.failed(false, why, now), Turn::Opened { wait: 10 * SECOND });
        breaker.set_probing(true);
        breaker.answered(true, now);
        for _ in 0..64 {
            breaker.answered(false, now);
            breaker.answered(false, now);
            assert_eq!(breaker.failed(false, why, now), Turn::None, "a third is not half");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rule_it_never_opens() {
        let mut breaker = breaker(0, None);
        let now = Instant::now();
        (0..1_000).for_each(|_| assert_eq!(breaker.failed(false, why, now), Turn::None));
    }

    proptest! {
        /// Whatever happens: shut, nothing goes through; and never more than one probe.
        #[test]
        fn nothing_goes_through_while_it_is_shut(
            failures in 1u32..6,
            news in prop::collection::vec((any::<bool>(), 0u64..20), 1..200),
        ) {
            let mut breaker = breaker(failures, None);
            let (mut now, mut in_a_row) = (Instant::now(), 0);
            for (well, seconds) in news {
                now += Duration::from_secs(seconds);
                let probe = match breaker.way(now) {
                    Way::Free => false,
                    Way::Probe => true,
                    Way::ShutUntil(until) => {
                        prop_assert!(until > now && until <= now + 35 * SECOND);
                        continue;
                    }
                    Way::Probing => unreachable!("it is back by now"),
                };
                if probe {
                    breaker.set_probing(true);
                    prop_assert_eq!(breaker.way(now), Way::Probing);
                }
                if well { breaker.answered(probe, now) } else { breaker.failed(probe, why, now) };
                in_a_row = if well || probe { 0 } else { in_a_row + 1 };
                let open = if probe { !well } else { in_a_row == failures };
                prop_assert_eq!(breaker.open().is_some(), open);
                if open { in_a_row = 0 }
            }
        }
    }
}
