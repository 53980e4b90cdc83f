use super::{Counter, Gauge, Histogram, LastTime};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Hands out the meters by name: the same to everyone who asks, so that counts outlive a session.
#[derive(Debug, Default)]
pub struct Meters {
    sources: Named<SourceMeter>,
    remotes: Named<RemoteMeter>,
    targets: Named<TargetMeter>,
}

impl Meters {
    /// The meter of this source.
    pub fn source(&self, name: &str) -> Arc<SourceMeter> {
        self.sources.get(name)
    }

    /// The meter of this remote.
    pub fn remote(&self, name: &str) -> Arc<RemoteMeter> {
        self.remotes.get(name)
    }

    /// The meter of this target of notices.
    pub fn target(&self, name: &str) -> Arc<TargetMeter> {
        self.targets.get(name)
    }

    /// All targets' meters, by name.
    pub fn targets(&self) -> Vec<(Arc<str>, Arc<TargetMeter>)> {
        self.targets.all()
    }

    /// All sources' meters, by name.
    pub fn sources(&self) -> Vec<(Arc<str>, Arc<SourceMeter>)> {
        self.sources.all()
    }

    /// All remotes' meters, by name.
    pub fn remotes(&self) -> Vec<(Arc<str>, Arc<RemoteMeter>)> {
        self.remotes.all()
    }
}

/// What is locked only while a session begins and while somebody reads.
#[derive(Debug)]
struct Named<T>(Mutex<BTreeMap<Arc<str>, Arc<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Named<T> {
    fn get(&self, name: &str) -> Arc<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(meter) => Arc::clone(meter),
            None => Arc::clone(known.entry(Arc::from(name)).or_default()),
        }
    }

    fn all(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(name, meter)| (Arc::clone(name), Arc::clone(meter))).collect()
    }
}

/// What is counted of one source.
#[derive(Debug)]
pub struct SourceMeter {
    /// Changes of routed tables that were taken over.
    pub captured: Counter,
    /// Outcomes in one settlement.
    pub settled_outcomes: Histogram,
    /// How long one settlement took.
    pub settling: Histogram,
    /// Everything that was committed before this position is read.
    pub received: Gauge,
    /// Everything that ends at or before this position is settled.
    pub settled: Gauge,
    /// Sessions that ended by a failure, after which another one is begun.
    pub broken: Counter,
    /// Those of them that were ended since nothing came any more.
    pub stalled: Counter,
    /// When the engine's loop last went round.
    pub turned: LastTime,
    routes: Named<RouteMeter>,
    waiting: Named<Gauge>,
    halted: Named<Gauge>,
}

impl Default for SourceMeter {
    fn default() -> Self {
        Self {
            captured: Counter::default(),
            settled_outcomes: Histogram::sizes(),
            settling: Histogram::short(),
            received: Gauge::default(),
            settled: Gauge::default(),
            broken: Counter::default(),
            stalled: Counter::default(),
            turned: LastTime::default(),
            routes: Named::default(),
            waiting: Named::default(),
            halted: Named::default(),
        }
    }
}

impl SourceMeter {
    /// The meter of this route.
    pub fn route(&self, name: &str) -> Arc<RouteMeter> {
        self.routes.get(name)
    }

    /// How many keys wait for this remote.
    pub fn waiting_for(&self, remote: &str) -> Arc<Gauge> {
        self.waiting.get(remote)
    }

    /// Not 0 where a person has stopped everything at this remote.
    pub fn halted_at(&self, remote: &str) -> Arc<Gauge> {
        self.halted.get(remote)
    }

    /// All routes' meters, by name.
    pub fn routes(&self) -> Vec<(Arc<str>, Arc<RouteMeter>)> {
        self.routes.all()
    }

    /// How many keys wait for each remote.
    pub fn waiting(&self) -> Vec<(Arc<str>, Arc<Gauge>)> {
        self.waiting.all()
    }

    /// Nobody is at work: nothing is under way.
    pub fn rests(&self) {
        for (_, route) in self.routes() {
            route.in_flight.set(0);
            route.backing_off.set(0);
        }
        self.waiting().iter().for_each(|(_, waiting)| waiting.set(0));
        self.halted.all().iter().for_each(|(_, halted)| halted.set(0));
    }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Its calls were made.
    Applied,
    /// It says what was said last.
    Unchanged,
    /// Nothing had to be done.
    Skipped,
    /// It was taken out of the stream's way.
    Parked,
}

impl OutcomeKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Applied, Self::Unchanged, Self::Skipped, Self::Parked];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Parked => "parked",
        }
    }
}

/// What is counted of one route.
#[derive(Debug)]
pub struct RouteMeter {
    outcomes: [Counter; OutcomeKind::ALL.len()],
    /// Parked changes that were taken up again and are not parked any more.
    pub drained: Counter,
    /// From a change's commit to the answer that ended it.
    pub latency: Histogram,
    /// Changes that are read and have no outcome.
    pub in_flight: Gauge,
    /// Those of them that wait for another attempt.
    pub backing_off: Gauge,
}

impl Default for RouteMeter {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            drained: Counter::default(),
            latency: Histogram::long(),
            in_flight: Gauge::default(),
            backing_off: Gauge::default(),
        }
    }
}

impl RouteMeter {
    /// So many changes that ended like this.
    pub fn outcome(&self, kind: OutcomeKind) -> &Counter {
        &self.outcomes[kind as usize]
    }
}

/// What came of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The answer that was hoped for, or one that the entity knows what to do with.
    Answered,
    /// Too many at once, or too many in all.
    Throttled,
    /// 401 or 403.
    Auth,
    /// 409.
    Conflict,
    /// Another answer below 500.
    Refused,
    /// An answer from 500 on.
    Failing,
    /// The connection could not be made, or broke.
    Transport,
    /// No answer in time.
    Timeout,
    /// An answer that is too long, or a request that cannot be sent.
    Unusable,
    /// The service stopped before the answer came.
    Interrupted,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Answered,
        Self::Throttled,
        Self::Auth,
        Self::Conflict,
        Self::Refused,
        Self::Failing,
        Self::Transport,
        Self::Timeout,
        Self::Unusable,
        Self::Interrupted,
    ];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failing => "failing",
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Unusable => "unusable",
            Self::Interrupted => "interrupted",
        }
    }
}

/// How a call ended, after however many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It was answered.
    Answered,
    /// What it was for is parked.
    GivenUp,
    /// It was a batch, whose halves are asked for instead.
    Halved,
}

impl CallEnd {
    /// Every end.
    pub const ALL: [Self; 3] = [Self::Answered, Self::GivenUp, Self::Halved];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::GivenUp => "given_up",
            Self::Halved => "halved",
        }
    }
}

/// What is counted of one remote.
#[derive(Debug)]
pub struct RemoteMeter {
    attempts: [Counter; Class::ALL.len()],
    calls: [Counter; CallEnd::ALL.len()],
    /// Attempts that are to be made again.
    pub retries: Counter,
    /// How long a request took.
    pub duration: Histogram,
}

impl Default for RemoteMeter {
    fn default() -> Self {
        Self {
            attempts: Default::default(),
            calls: Default::default(),
            retries: Counter::default(),
            duration: Histogram::short(),
        }
    }
}

impl RemoteMeter {
    /// A request that was sent has come to this.
    pub fn attempted(&self, class: Class, took: Duration) {
        self.attempts[class as usize].one();
        self.duration.took(took);
    }

    /// So many requests that came to this.
    pub fn attempts(&self, class: Class) -> &Counter {
        &self.attempts[class as usize]
    }

    /// So many calls that ended like this.
    pub fn calls(&self, end: CallEnd) -> &Counter {
        &self.calls[end as usize]
    }
}

/// What is counted of one target of notices.
#[derive(Debug, Default)]
pub struct TargetMeter {
    /// Notices that it took.
    pub delivered: Counter,
    /// Notices that it refused, or could not be told for too long.
    pub given_up: Counter,
    /// Notices that were dropped, since too many waited for it.
    pub dropped: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_again_gets_the_same_meter() {
        let meters = Meters::default();
        meters.source("main").route("loan").outcome(OutcomeKind::Parked).add(3);
        let (source, remote) = (meters.source("main"), meters.remote("bank"));
        assert_eq!(source.route("loan").outcome(OutcomeKind::Parked).get(), 3);
        remote.attempted(Class::Timeout, Duration::from_secs(1));
        assert_eq!(meters.remote("bank").attempts(Class::Timeout).get(), 1);
        assert_eq!((meters.sources().len(), meters.remotes().len(), source.routes().len()), (1, 1, 1));
    }

    #[test]
    fn every_label_has_a_place_of_its_own() {
        assert!(OutcomeKind::ALL.iter().enumerate().all(|(at, it)| *it as usize == at));
        assert!(Class::ALL.iter().enumerate().all(|(at, it)| *it as usize == at));
        assert!(CallEnd::ALL.iter().enumerate().all(|(at, it)| *it as usize == at));
    }
}
