use super::quota::{self, Said};
use crate::model::{Answer, Span};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A remote that asked to be left alone for a while: every call to it waits, not only the one that
/// was told. Pure; the time is an argument.
#[derive(Debug, Default)]
pub(super) struct Pause {
    current: Option<Paused>,
    /// How often in a row it throttled without saying for how long.
    unadvised: u32,
    quota: Option<(Quota, Option<Instant>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Paused {
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) why: Arc<str>,
}

/// What the remote said of its quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many calls it has in all, if that was said.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub left: u64,
}

/// No header puts everything off for longer; the remote may ask again.
const LONGEST: Duration = Duration::from_secs(3_600);
/// The waits where the remote only says that it is too much.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST_UNADVISED: Duration = Duration::from_secs(60);

impl Pause {
    /// The pause, if there is one now.
    pub(super) fn now(&self, now: Instant) -> Option<&Paused> {
        self.current.as_ref().filter(|it| now < it.until)
    }

    /// What is known of the quota now.
    pub(super) fn quota(&self, now: Instant) -> Option<Quota> {
        self.quota.filter(|(_, until)| until.is_none_or(|until| now < until)).map(|(quota, _)| quota)
    }

    /// A call that began at `began` was answered like this. Gives the pause if one begins.
    pub(super) fn heard(&mut self, answer: &Answer, began: Instant, now: Instant) -> Option<&Paused> {
        let said = quota::read(answer);
        if let Some(Said { limit, left: Some(left), reset }) = said {
            self.quota = Some((Quota { limit, left }, reset.map(|it| now + it.min(LONGEST))));
        }
        let status = answer.status;
        let throttled = quota::is_throttled(answer);
        let asked = if throttled || status == 503 { quota::asked(answer) } else { None };
        let reset = said.filter(|it| it.left == Some(0) || throttled).and_then(|it| it.reset);
        if !throttled {
            self.unadvised = 0;
        }
        let (wait, why) = match (asked, reset.filter(|it| !it.is_zero())) {
            (Some(wait), _) => (wait, Why::Asked(status)),
            (None, Some(wait)) => (wait, Why::UsedUp(status)),
            (None, None) if throttled => (self.unadvised(began)?, Why::Unadvised(status)),
            (None, None) => return None,
        };
        self.extend(wait.min(LONGEST), why, now)
    }

    /// Each throttling doubles the wait; a wave of calls is throttled once.
    fn unadvised(&mut self, began: Instant) -> Option<Duration> {
        if self.current.as_ref().is_some_and(|it| began <= it.since) {
            return None;
        }
        let wait = FIRST.saturating_mul(1 << self.unadvised.min(16)).min(LONGEST_UNADVISED);
        self.unadvised += 1;
        Some(wait)
    }

    fn extend(&mut self, wait: Duration, why: Why, now: Instant) -> Option<&Paused> {
        let until = now + wait;
        let present = self.now(now);
        if present.is_some_and(|it| it.until >= until) {
            return None;
        }
        let begins = present.is_none();
        let since = present.map_or(now, |it| it.since);
        let why = Arc::from(why.said(wait));
        let current = self.current.insert(Paused { since, until, why });
        begins.then_some(current)
    }
}

#[derive(Clone, Copy)]
enum Why {
    Asked(u16),
    UsedUp(u16),
    Unadvised(u16),
}

impl Why {
    fn said(self, wait: Duration) -> String {
        let wait = Span(Duration::from_secs(wait.as_secs_f64().ceil() as u64));
        match self {
            Self::Asked(status) => format!("it answered {status} and asked to wait {wait}"),
            Self::UsedUp(status @ (403 | 429)) => format!("it answered {status}, with more calls in {wait}"),
            Self::UsedUp(_) => format!("its quota is used up, with more calls in {wait}"),
            Self::Unadvised(status) => {
                format!("it answered {status} without saying for how long: waiting {wait}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().copied().collect();
        Answer { status, headers, ..Answer::default() }
    }

    /// How long the pause is from now on.
    fn left(pause: &Pause, now: Instant) -> Option<u64> {
        pause.now(now).map(|it| (it.until - now).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_remote_that_asks_to_wait_gets_its_pause_but_not_for_ever() {
        let now = Instant::now();
        for (status, asked, paused) in [
            (429, "30", Some(30)),
            (503, "30", Some(30)),
            (429, "99999999999", Some(3_600)),
            (200, "30", None),
            (500, "30", None),
            (503, "0", None),
        ] {
            let mut pause = Pause::default();
            let begins = pause.heard(&answer(status, &[("retry-after", asked)]), now, now).is_some();
            assert_eq!((left(&pause, now), begins), (paused, paused.is_some()), "{status} {asked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_quota_pauses_before_the_first_call_too_many() {
        let now = Instant::now();
        let mut pause = Pause::default();
        let some = [("ratelimit", r#""a";r=1;t=20"#), ("ratelimit-policy", r#""a";q=60"#)];
        pause.heard(&answer(200, &some), now, now);
        assert_eq!(left(&pause, now), None);
        assert_eq!(pause.quota(now), Some(Quota { limit: Some(60), left: 1 }));
        pause.heard(&answer(200, &[("ratelimit", r#""a";r=0;t=20"#)]), now, now);
        assert_eq!(left(&pause, now), Some(20));
        pause.heard(&answer(200, &some), now, now);
        assert_eq!(left(&pause, now), Some(20), "an answer that was overtaken does not end it");
        assert_eq!(pause.now(now + 20 * SECOND), None);
        assert_eq!(pause.quota(now + 20 * SECOND), None, "nothing is known any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_pause_extends_a_shorter_one_and_its_beginning_stays() {
        let now = Instant::now();
        let mut pause = Pause::default();
        pause.heard(&answer(429, &[("retry-after", "10")]), now, now);
        let later = now + 5 * SECOND;
        assert_eq!(pause.heard(&answer(429, &[("retry-after", "2")]), now, later), None);
        assert_eq!(pause.heard(&answer(429, &[("retry-after", "60")]), now, later), None);
        assert_eq!((left(&pause, later), pause.now(later).map(|it| it.since)), (Some(60), Some(now)));
    }

    #[tokio::test(start_paused = true)]
    async fn without_advice_the_waits_double_wave_by_wave_until_a_call_goes_well() {
        let mut now = Instant::now();
        let mut pause = Pause::default();
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let began = now;
            now += SECOND / 10;
            for _ in 0..16 {
                pause.heard(&answer(429, &[]), began, now);
            }
            assert_eq!(left(&pause, now), Some(expected));
            now += Duration::from_secs(expected);
        }
        pause.heard(&answer(200, &[]), now, now);
        pause.heard(&answer(429, &[]), now, now);
        assert_eq!(left(&pause, now), Some(1));
    }
}
