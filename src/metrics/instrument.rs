use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// Counts upwards.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Holds a number that somebody else keeps.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, now: u64) {
        self.0.store(now, Relaxed);
    }

    /// As it was set last.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts values by size.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds, each included, without the last, which is infinite.
    bounds: &'static [u64],
    /// What a unit is divided by when it is told.
    per: f64,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

const MILLISECOND: u64 = 1_000_000;

const fn milliseconds<const N: usize>(mut bounds: [u64; N]) -> [u64; N] {
    let mut at = 0;
    while at < N {
        bounds[at] *= MILLISECOND;
        at += 1;
    }
    bounds
}

/// What one call or one transaction takes.
static SHORT: [u64; 15] =
    milliseconds([1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000]);
/// What a change takes, also through an outage.
static LONG: [u64; 16] = milliseconds([
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000,
]);
static SIZES: [u64; 10] = [1, 4, 16, 64, 256, 1_024, 2_048, 4_096, 8_192, 16_384];

impl Histogram {
    /// Of times up to a minute.
    pub fn short() -> Self {
        Self::new(&SHORT, 1e9)
    }

    /// Of times up to hours.
    pub fn long() -> Self {
        Self::new(&LONG, 1e9)
    }

    /// Of how many there were.
    pub fn sizes() -> Self {
        Self::new(&SIZES, 1.0)
    }

    fn new(bounds: &'static [u64], per: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, per, counts, sum: AtomicU64::new(0) }
    }

    /// It took this long.
    pub fn took(&self, time: Duration) {
        self.saw(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// There were so many.
    pub fn saw(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// The bounds, each with how many values there were up to it; the last is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut so_far = 0;
        let bounds = self.bounds.iter().map(|it| *it as f64 / self.per).chain([f64::INFINITY]);
        bounds.zip(&self.counts).map(move |(bound, count)| {
            so_far += count.load(Relaxed);
            (bound, so_far)
        })
    }

    /// All values together.
    pub fn sum(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / self.per
    }
}

/// When something happened last.
#[derive(Debug)]
pub struct LastTime {
    base: Instant,
    milliseconds: AtomicU64,
}

impl Default for LastTime {
    fn default() -> Self {
        Self { base: Instant::now(), milliseconds: AtomicU64::new(0) }
    }
}

impl LastTime {
    /// It happened.
    pub fn is(&self, now: Instant) {
        let since = now.saturating_duration_since(self.base).as_millis();
        self.milliseconds.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    /// When that was; when this was made, if it did not happen yet.
    pub fn at(&self) -> Instant {
        self.base + Duration::from_millis(self.milliseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_that_it_fits_into() {
        let histogram = Histogram::short();
        for milliseconds in [1, 3, 3, 100_000] {
            histogram.took(Duration::from_millis(milliseconds));
        }
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets[..3], [(0.001, 1), (0.002, 1), (0.005, 3)]);
        assert_eq!((buckets[14], buckets[15]), ((60.0, 3), (f64::INFINITY, 4)));
        assert!((histogram.sum() - 100.007).abs() < 1e-9);
    }

    #[test]
    fn sizes_are_told_as_they_are() {
        let histogram = Histogram::sizes();
        histogram.saw(16_385);
        assert_eq!((histogram.buckets().last(), histogram.sum()), (Some((f64::INFINITY, 1)), 16_385.0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_time_never_goes_back() {
        let (last, start) = (LastTime::default(), Instant::now());
        last.is(start + Duration::from_secs(5));
        last.is(start + Duration::from_secs(2));
        assert_eq!(last.at() - start, Duration::from_secs(5));
    }
}
