//! The loop: take changes, spread them over lanes, carry them, settle what ended, acknowledge.
//!
//! One task owns lanes, watermark and pending outcomes, so there are no locks; calls, reads and
//! settlements run in tasks of their own and report back. Nothing here waits for I/O.
//!
//! Upholds invariant 1 (the source is acknowledged only with the receipt of a settlement), 2 (one
//! lane a key), 4 (what is parked leaves the watermark free) and 5 (capture waits for the byte
//! budget, and for settlements that lag behind). It does not decide what to call
//! ([`crate::synchronize`]) nor how ([`crate::remote`]).

mod admission;
mod batch;
#[cfg(debug_assertions)]
mod broken;
mod brought;
mod carry;
mod counting;
mod drain;
mod ending;
mod events;
#[cfg(debug_assertions)]
mod failpoint;
mod halts;
mod heard_of;
mod intake;
mod keep;
mod lanes;
mod leave;
pub mod log;
mod outage;
mod parents;
mod pending;
mod reading;
mod runs;
mod saying;
mod settings;
mod spill;
mod stop;
mod unchanged;
mod watermark;
mod work;
mod write_back;

#[cfg(debug_assertions)]
pub(crate) use broken::broken;
pub use carry::Remote;
pub use leave::Departure;
pub use log::CallLog;
pub use outage::KeptLog;
pub use runs::{Assignment, Replay, ReplayFeed, RunOrder, RunWork, Window};
pub use settings::Limits;
pub use watermark::{Reached, Watermark};

use crate::{
    call_log::CallLogSink,
    capture::{Budget, ChangeSource, ChunkReader, RowReader, SourceError, WalGuard},
    metrics::{RouteMeter, SourceMeter},
    model::{ChangeId, Halt, Lsn, ParkReason, Parked, ParkedState},
    remote::Clock,
    routing::{Errand, Router},
    state::{RemoteGauges, StateError, StateStore},
};
use admission::Admission;
use batch::Gathering;
use brought::{Brought, brought};
use carry::{Ground, Phase};
use drain::Drain;
use events::Event;
use halts::Halted;
use heard_of::HeardOf;
use keep::Keeping;
use lanes::{Desk, LaneId, Lanes};
use outage::Outages;
use parents::Family;
use pending::Pending;
use runs::{Replaying, Runs};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use work::{Arrival, Work};

/// What stops the engine. A failing call does not: that is an [`Outcome`](crate::model::Outcome).
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The source failed; what was under way is settled.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The state store failed; everything since the last settlement comes again.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What the engine is given.
pub struct Parts {
    /// Which routes a change concerns.
    pub router: Router,
    /// The remotes, by [`crate::routing::RemoteId`].
    pub remotes: Vec<Remote>,
    /// What survives a crash.
    pub store: Arc<dyn StateStore>,
    /// Reads present rows.
    pub reader: Arc<dyn RowReader>,
    /// The byte budget, shared with the source.
    pub budget: Budget,
    /// Where a record of each request goes; `None`: no log is kept.
    pub call_log: Option<Arc<dyn CallLogSink>>,
    /// Dates what is told.
    pub clock: Clock,
    /// What the process may use.
    pub limits: Limits,
    /// Tells databases apart in call keys.
    pub origin: u32,
    /// Changes committed before this may have been sent by an earlier process.
    pub sent_before: Lsn,
    /// How much log the source may keep for the sake of a remote that is down.
    pub guard: WalGuard,
    /// How much it keeps; `None` until that is known.
    pub kept: watch::Receiver<Option<KeptLog>>,
    /// What people have paused.
    pub halts: watch::Receiver<Vec<Halt>>,
    /// Reads tables piece by piece.
    pub chunks: Arc<dyn ChunkReader>,
    /// What is to be done beside the stream.
    pub orders: mpsc::UnboundedReceiver<RunOrder>,
    /// The run that an earlier process has begun.
    pub resumed: Option<Assignment>,
    /// The routes of a replay that an earlier process has begun.
    pub replaying: Vec<Arc<str>>,
    /// Tells this engine's marks, and what it sends, from those of all others.
    pub nonce: u64,
    /// Counts what is done.
    pub meter: Arc<SourceMeter>,
}

/// Carries one source's changes.
pub struct Engine {
    router: Router,
    ground: Arc<Ground>,
    budget: Budget,
    limits: Limits,
    lanes: Lanes,
    admission: Admission,
    mark: Watermark,
    pending: Pending,
    tasks: JoinSet<Event>,
    phase: watch::Sender<Phase>,
    waiting: BinaryHeap<Reverse<Wait>>,
    batches: Gathering,
    /// Work that waits for parents or children.
    family: Family,
    keeping: Keeping,
    errands: Vec<Errand>,
    arrivals: u64,
    /// The newest delete, which the insert half of the same key change waits for.
    last_delete: Vec<Option<(ChangeId, Arrival)>>,
    in_flight: Vec<Flight>,
    meter: Arc<SourceMeter>,
    /// Of each route.
    route_meters: Vec<Arc<RouteMeter>>,
    drain: Drain,
    outages: Outages,
    kept: watch::Receiver<Option<KeptLog>>,
    halts: watch::Receiver<Vec<Halt>>,
    halted: Halted,
    runs: Runs,
    replay: Option<Replaying>,
    /// Whose turn it is where both the stream and a replay have something.
    replay_next: bool,
    settling: bool,
    recalling: bool,
    heard_of: HeardOf,
    /// A gauge has changed and nothing else is there to be settled.
    gauges_due: bool,
    /// Remotes whose gauges have changed since they were last told.
    remotes_due: BTreeMap<Arc<str>, RemoteGauges>,
    saved_through: Lsn,
    /// Everything that was committed before this has been read, or was settled before the start.
    read: Lsn,
}

/// How many of a route's changes are read and have no outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flight {
    changes: u64,
    backing_off: u64,
    /// As it was last told to the state store.
    told: (u64, u64),
}

/// A piece of work between two attempts.
#[derive(Debug)]
struct Wait {
    until: Instant,
    lane: LaneId,
    work: Box<Work>,
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Wait {}
impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Wait {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.until, self.work.arrival).cmp(&(other.until, other.work.arrival))
    }
}

/// Keys read in one query, at most.
const RECALL_AT_ONCE: usize = 4_096;
/// Unsettled outcomes beyond which capture waits.
const PENDING_LIMIT: usize = 16_384;
/// How often parked changes are looked for, and changed gauges told.
const TICK: Duration = Duration::from_secs(1);

impl Engine {
    /// Puts the engine together. `resume` is where the source starts.
    pub fn new(parts: Parts, resume: Lsn) -> Self {
        let Parts {
            router,
            remotes,
            store,
            reader,
            budget,
            call_log,
            clock,
            limits,
            origin,
            sent_before,
            guard,
            kept,
            halts,
            chunks,
            orders,
            resumed,
            replaying,
            nonce,
            meter,
        } = parts;
        let routes = router.routes().to_vec();
        let (routes_count, remotes_count, budget_limit) = (routes.len(), remotes.len(), budget.limit());
        let places = routes.iter().map(|route| (route.remote, route.priority)).collect();
        let now = Instant::now();
        let desk = Desk::new(&routes, remotes.len(), reader.at_once(), now);
        let mut engine = Self {
            lanes: Lanes::new(places, desk, remotes.len(), budget.limit() / 4, now),
            admission: Admission::new(&remotes, &meter, now),
            last_delete: vec![None; routes.len()],
            in_flight: vec![Flight::default(); routes.len()],
            route_meters: routes.iter().map(|route| meter.route(&route.name)).collect(),
            meter,
            ground: Arc::new(Ground {
                routes,
                remotes,
                store,
                reader,
                budget: budget.clone(),
                log: CallLog { sink: call_log, clock },
                origin,
                sent_before,
                life: nonce as u32,
            }),
            router,
            budget,
            limits,
            mark: Watermark::default(),
            pending: Pending::new(sent_before),
            tasks: JoinSet::new(),
            phase: watch::Sender::new(Phase::Running),
            waiting: BinaryHeap::new(),
            batches: Gathering::default(),
            family: Family::default(),
            keeping: Keeping::new(),
            errands: Vec::new(),
            arrivals: 0,
            drain: Drain::new(routes_count, budget_limit),
            outages: Outages::new(guard, remotes_count),
            kept,
            halts,
            halted: Halted::default(),
            settling: false,
            recalling: false,
            heard_of: HeardOf::Reading(Vec::new()),
            gauges_due: false,
            remotes_due: BTreeMap::new(),
            saved_through: resume,
            read: resume,
            runs: Runs::new(chunks, orders, nonce),
            replay: None,
            replay_next: false,
        };
        let replaying = replaying.iter().filter_map(|name| engine.router.find(name)).collect();
        engine.runs.expect_replay(replaying);
        if let Some(run) = resumed {
            engine.begin(run);
        }
        engine
    }

    /// Runs until `stop` says so, the source ends, or something that is not one change's fault
    /// fails. In each case but a failing state store, what was under way is settled first.
    pub async fn run(
        mut self,
        source: &mut dyn ChangeSource,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        self.tell_positions();
        let ended = self.carry_all(source, stop).await;
        if ended.is_err() {
            self.leave().await;
        }
        ended
    }

    async fn carry_all(
        &mut self,
        source: &mut dyn ChangeSource,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        let mut tick = ticks();
        let mut ended = false;
        self.read_heard_of();
        self.obey_halts();
        loop {
            self.meter.turned.is(Instant::now());
            let free = self.budget.has_room() && !self.runs.holds_stream();
            let room = !ended && free && self.pending.len() < PENDING_LIMIT;
            let replays = self.may_replay();
            let next_attempt = self.waiting.peek().map(|Reverse(wait)| wait.until);
            let next = next_attempt.into_iter().chain(self.admission.again_at());
            let next = next.chain(self.batches.next_time()).chain(self.runs.again_at()).min();
            let bell = self.admission.bell();
            tokio::select! {
                // A stop comes before everything, or a fast remote would never let it through;
                // then outcomes, since they free what the rest needs; new changes come last.
                biased;
                () = stopped(stop) => return self.drain(source).await,
                Some(event) = self.tasks.join_next() => {
                    self.take(event, source)?;
                    while let Some(event) = self.tasks.try_join_next() {
                        self.take(event, source)?;
                    }
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.resume_due();
                    self.ready_batches();
                }
                // A remote that is shared may have room again.
                () = bell.notified() => {}
                _ = tick.tick() => {
                    self.review();
                    self.hold_batches();
                    self.drain.start_over();
                    self.poll_parked();
                    self.look_after_family();
                    self.tell_gauges();
                }
                () = changed(&mut self.kept) => self.review(),
                () = changed(&mut self.halts) => self.obey_halts(),
                order = self.runs.order() => self.obey(order),
                brought = brought(source, &mut self.replay, room, replays, self.replay_next), if room || replays => {
                    self.replay_next = matches!(brought, Brought::Live(_));
                    match brought {
                        Brought::Again(feed) => self.take_feed(feed),
                        Brought::Live(Ok(Some(batch))) => self.accept(batch),
                        Brought::Live(Ok(None)) => ended = true,
                        Brought::Live(Err(error)) => {
                            self.drain(source).await?;
                            return Err(error.into());
                        }
                    }
                }
                () = self.budget.room(), if !self.budget.has_room() => {}
            }
            self.go_on();
            if ended && self.is_idle() {
                return self.drain(source).await;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.mark.in_flight() == 0 && self.pending.is_empty() && !self.settling && self.runs.is_idle()
    }

    /// Starts whatever may start now.
    fn go_on(&mut self) {
        self.seek_family();
        self.read_on();
        self.recall();
        self.spill();
        self.queue_batches();
        self.admission.begin(Instant::now());
        while let Some(ready) = self.lanes.next_ready(&mut self.admission) {
            self.start(ready);
        }
        self.settle();
    }
}

/// What stands in place of the key of a change that has none, so that it holds no other.
fn keyless(id: ChangeId) -> Arc<str> {
    Arc::from(format!("?{id}"))
}

#[cfg(test)]
mod tests;

/// Parks a piece of work as it is, with all that is known of it.
fn parked(work: &Work, state: ParkedState, reason: ParkReason, message: String) -> Parked {
    Parked {
        state,
        reason,
        message,
        answers: work.answers.clone(),
        attempts: work.attempts,
        requests: work.requests,
        called: work.called,
        wait: Duration::ZERO,
        doubt: work.doubt,
        waits_for: None,
    }
}

/// Waits for news; for ever, if nobody is left to bring any.
async fn changed<T>(news: &mut watch::Receiver<T>) {
    if news.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Waits until the stop is asked for, or whoever could ask is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
