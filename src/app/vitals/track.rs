use std::collections::VecDeque;
use tokio::time::Instant;

/// When the server's log was how long: says for how long a position has been behind it. Pure.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// Growing in both.
    seen: VecDeque<(Instant, u64)>,
}

/// So many points are kept; beyond them every second one goes, so that an outage of days costs no more than
/// one of minutes.
const POINTS: usize = 1_024;

impl Track {
    /// The log ends there now. Nobody asks for a position before `needed` any more.
    pub(super) fn ends_at(&mut self, end: u64, needed: u64, now: Instant) {
        if self.seen.back().is_none_or(|(_, last)| *last < end) {
            self.seen.push_back((now, end));
        }
        while self.seen.front().is_some_and(|(_, at)| *at <= needed) {
            self.seen.pop_front();
        }
        if self.seen.len() > POINTS {
            let mut keep = false;
            self.seen.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Since when the log has been longer than this; `None` if it is not.
    pub(super) fn behind_since(&self, position: u64) -> Option<Instant> {
        let at = self.seen.partition_point(|(_, end)| *end <= position);
        self.seen.get(at).map(|(since, _)| *since)
    }

    /// What was seen before says nothing about what comes.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_position_is_behind_since_the_log_first_went_beyond_it() {
        let (mut track, start) = (Track::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (second, end) in [(0, 100), (2, 100), (4, 150), (6, 200)] {
            track.ends_at(end, 90, at(second));
        }
        assert_eq!(track.behind_since(95), Some(at(0)));
        assert_eq!(track.behind_since(100), Some(at(4)));
        assert_eq!(track.behind_since(199), Some(at(6)));
        assert_eq!(track.behind_since(200), None);
        track.ends_at(200, 150, at(8));
        assert_eq!(track.behind_since(0), Some(at(6)), "what is acknowledged is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_outage_costs_no_more_than_a_short_one_and_its_beginning_is_kept() {
        let (mut track, start) = (Track::default(), Instant::now());
        for point in 1..=100_000u64 {
            track.ends_at(point, 0, start + Duration::from_secs(point));
        }
        assert!(track.seen.len() <= POINTS);
        assert_eq!(track.behind_since(0), Some(start + Duration::from_secs(1)));
    }
}
