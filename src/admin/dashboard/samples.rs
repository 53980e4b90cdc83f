//! How it went in the last hour: what [`Status`] said every few seconds, kept in memory (invariant 5).

use crate::{
    admin::{
        Desk,
        view::{Behind, Status},
    },
    engine::stopped,
};
use jiff::Timestamp;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How often.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// An hour of them.
const KEPT: usize = 720;
/// Younger than this, what was said last is said again: many may look at once.
const FRESH: Duration = Duration::from_secs(1);

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub at: Timestamp,
    pub sources: Vec<Point>,
}

/// One source at that time.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub source: Arc<str>,
    pub settled: Behind,
    /// Changes applied or skipped, ever.
    pub done: i64,
}

impl Sample {
    fn of(status: &Status, at: Timestamp) -> Self {
        let done = |source: &str| {
            let routes = status.routes.iter().filter(|it| it.source == source);
            routes.map(|it| it.applied + it.skipped).sum()
        };
        let point = |line: &crate::admin::view::SourceLine| Point {
            source: line.source.as_str().into(),
            settled: line.lag.settled,
            done: done(&line.source),
        };
        Self { at, sources: status.sources.iter().map(point).collect() }
    }
}

/// All that is kept.
pub(in crate::admin) struct Samples {
    kept: Mutex<Kept>,
    tick: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    ring: VecDeque<Sample>,
    latest: Option<(Instant, Arc<Status>)>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { kept: Mutex::default(), tick: watch::Sender::new(0) }
    }
}

impl Samples {
    /// Those of the last hour, the oldest first.
    pub(super) fn all(&self) -> Vec<Sample> {
        self.lock().ring.iter().cloned().collect()
    }

    /// What was said a moment ago.
    pub(super) fn latest(&self) -> Option<Arc<Status>> {
        let kept = self.lock();
        kept.latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, status)| Arc::clone(status))
    }

    /// Something was done: it is to be seen.
    pub(super) fn forget_latest(&self) {
        self.lock().latest = None;
        self.tick.send_modify(|it| *it += 1);
    }

    /// Changes whenever there is something new.
    pub(super) fn ticks(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    fn keep(&self, status: Option<Status>, at: Timestamp) {
        if let Some(status) = status {
            let mut kept = self.lock();
            kept.ring.push_back(Sample::of(&status, at));
            while kept.ring.len() > KEPT {
                kept.ring.pop_front();
            }
            kept.latest = Some((Instant::now(), Arc::new(status)));
        }
        // Who watches is to see as well that nothing can be seen.
        self.tick.send_modify(|it| *it += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks every few seconds until it is told to stop.
pub(in crate::admin) async fn sample(
    desk: Arc<dyn Desk>,
    samples: Arc<Samples>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let look = async {
            let status = timeout(2 * EVERY, desk.status()).await;
            samples.keep(status.ok().and_then(Result::ok), desk.now());
            sleep(EVERY).await;
        };
        tokio::select! {
            () = look => {}
            () = stopped(&mut stop) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Status {
        let (sources, halts, remotes, call_logs) = (vec![], vec![], vec![], vec![]);
        let (routes, runs, schedules, read_at) = (vec![], vec![], vec![], None);
        Status { sources, halts, remotes, call_logs, routes, runs, schedules, read_at }
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_is_kept_and_what_was_just_said_is_said_again_for_a_moment() {
        let samples = Samples::default();
        let ticks = samples.ticks();
        for second in 0..1_000 {
            samples.keep(Some(empty()), Timestamp::from_second(second).expect("a time"));
        }
        let all = samples.all();
        assert_eq!((all.len(), all[0].at.as_second()), (KEPT, 280));
        assert!(samples.latest().is_some() && ticks.has_changed().expect("open"));
        sleep(FRESH).await;
        assert!(samples.latest().is_none());
        samples.keep(Some(empty()), Timestamp::UNIX_EPOCH);
        samples.forget_latest();
        assert!(samples.latest().is_none());
    }
}
