use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// How long to leave something alone that fails: ever longer, to a cap, for ever. Processes that lost
/// the same server do not come back in step.
#[derive(Debug)]
pub struct Pauses {
    seed: u64,
    failures: u32,
}

impl Pauses {
    /// The pauses of this process at what is named.
    pub fn of(name: &str) -> Self {
        Self::seeded(xxh3_64_with_seed(name.as_bytes(), u64::from(std::process::id())))
    }

    fn seeded(seed: u64) -> Self {
        Self { seed, failures: 0 }
    }

    /// It works again.
    pub fn over(&mut self) {
        self.failures = 0;
    }

    /// Whether the last that was heard of it is a failure.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It failed once more: the pause before the next try, of which half is spread.
    pub fn lengthen(&mut self) -> Duration {
        let whole = LONGEST.min(FIRST * 2_u32.pow(self.failures.min(10)));
        self.failures = self.failures.saturating_add(1);
        let spread = xxh3_64_with_seed(&self.failures.to_le_bytes(), self.seed) % 1_000;
        whole / 2 + whole * spread as u32 / 2_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_cap_and_differ_between_processes() {
        let of = |seed| {
            let mut pauses = Pauses::seeded(seed);
            (0..100).map(|_| pauses.lengthen()).collect::<Vec<_>>()
        };
        let (one, other) = (of(1), of(2));
        assert_ne!(one, other);
        for (n, pause) in one.iter().chain(&other).enumerate() {
            let whole = LONGEST.min(FIRST * 2_u32.pow((n as u32 % 100).min(10)));
            assert!((whole / 2..whole).contains(pause), "{n}: {pause:?}");
        }
        let mut pauses = Pauses::seeded(1);
        assert_eq!(pauses.lengthen(), one[0]);
        pauses.over();
        assert!(!pauses.is_failing());
    }
}
