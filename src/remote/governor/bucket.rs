use super::settings::Rate;
use std::time::Duration;
use tokio::time::Instant;

/// What a burst is worth where none is given.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket: never more than `burst` at once, nor more than `limit + burst` in any stretch
/// of `per`. Pure; the time is an argument.
///
/// It remembers one moment instead of a number: when the bucket will be full again.
#[derive(Debug)]
pub(super) struct Bucket {
    /// What one token takes to come back, rounded up: rather too slow than too fast.
    each: Duration,
    burst: u32,
    full_at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: &Rate) -> Self {
        let (per, limit) = (rate.per.0.as_nanos().max(1), u128::from(rate.limit.get()));
        let each = u64::try_from(per.div_ceil(limit)).unwrap_or(u64::MAX);
        let brought = u32::try_from(BURST.as_nanos() / u128::from(each)).unwrap_or(u32::MAX);
        let burst = rate.burst.map_or(brought.clamp(1, rate.limit.get()), |it| it.get());
        Self { each: Duration::from_nanos(each), burst, full_at: None }
    }

    /// How many there are.
    pub(super) fn left(&self, now: Instant) -> u32 {
        let missing = self.missing(now).as_nanos().div_ceil(self.each.as_nanos());
        self.burst.saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
    }

    /// When there will be this many; never more than the burst.
    pub(super) fn when(&self, tokens: u32, now: Instant) -> Instant {
        let spare = self.each * (self.burst - tokens.min(self.burst));
        now + self.missing(now).saturating_sub(spare)
    }

    /// Takes one of those that are there.
    pub(super) fn take(&mut self, now: Instant) {
        self.full_at = Some(now + self.missing(now) + self.each);
    }

    /// Puts back one that was taken and not used.
    pub(super) fn give_back(&mut self) {
        self.full_at = self.full_at.and_then(|it| it.checked_sub(self.each));
    }

    fn missing(&self, now: Instant) -> Duration {
        self.full_at.map_or(Duration::ZERO, |it| it.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Span;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn bucket(limit: u32, per_ms: u64, burst: u32) -> Bucket {
        let per = Span(Duration::from_millis(per_ms));
        let limit = NonZeroU32::new(limit).expect("not zero");
        Bucket::new(&Rate { limit, per, burst: NonZeroU32::new(burst) })
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_one_after_another() {
        let start = Instant::now();
        let mut bucket = bucket(60, 60_000, 3);
        for left in [3, 2, 1] {
            assert_eq!((bucket.left(start), bucket.when(1, start)), (left, start));
            bucket.take(start);
        }
        let second = Duration::from_secs(1);
        assert_eq!((bucket.left(start), bucket.when(1, start)), (0, start + second));
        assert_eq!(bucket.when(2, start), start + 2 * second);
        assert_eq!(bucket.left(start + second), 1);
        assert_eq!(bucket.left(start + 100 * second), 3, "it never holds more than the burst");
    }

    #[test]
    fn without_a_burst_a_tenth_of_a_second_counts() {
        for (limit, per_ms, burst) in
            [(60, 60_000, 1), (1_000, 1_000, 100), (5, 10, 5), (5_000, 3_600_000, 1)]
        {
            assert_eq!(bucket(limit, per_ms, 0).burst, burst, "{limit} per {per_ms} ms");
        }
    }

    proptest! {
        /// Whoever always takes as soon as it may never gets more than is promised, in any window.
        #[test]
        fn no_window_has_more_than_the_limit_and_the_burst(
            limit in 1u32..40,
            per_ms in 1u64..2_000,
            burst in 1u32..20,
            pauses in prop::collection::vec(0u64..3_000_000_000, 1..80),
        ) {
            let mut taken = Vec::new();
            let per = Duration::from_millis(per_ms);
            let mut bucket = bucket(limit, per_ms, burst);
            let mut now = Instant::now();
            for pause in pauses {
                now = bucket.when(1, now + Duration::from_nanos(pause % (per_ms * 1_000_000 / 4 + 1)));
                prop_assert!(bucket.left(now) >= 1, "it is there when it was promised");
                bucket.take(now);
                taken.push(now);
            }
            for (at, first) in taken.iter().enumerate() {
                let within = taken[at..].iter().take_while(|it| **it < *first + per).count();
                prop_assert!(within <= (limit + burst) as usize, "{within} within {per:?}");
                let at_once = taken[at..].iter().take_while(|it| *it == first).count();
                prop_assert!(at_once <= burst as usize);
            }
        }
    }
}
