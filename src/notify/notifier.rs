//! The targets of a running process, and what is told to them.

use super::{
    EndedRun, Settings, Subject, Told, Watcher,
    courier::{Courier, Way},
    names::{RUN, SERVICE},
    queue::{Item, LIMIT, Queue},
};
use crate::{
    health::{Check, State},
    metrics::Meters,
    model::RunId,
    remote::Clock,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};
use xxhash_rust::xxh3::xxh3_128;

/// Everyone who is told. It takes what is to be told at any time; that leaves while what [`Notifier::couriers`]
/// gives runs.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    couriers: Vec<Arc<Courier>>,
    watcher: Mutex<Watcher>,
    clock: Clock,
    instance: Arc<str>,
    /// Something was told.
    told: Notify,
}

impl Notifier {
    /// Nothing is connected yet; `None` where nobody is to be told. `instance` is who says it.
    pub fn new(
        settings: &Settings,
        meters: &Meters,
        instance: &str,
        clock: Clock,
    ) -> Result<Option<Self>, String> {
        let (instance, mut couriers): (Arc<str>, _) = (instance.into(), Vec::new());
        for (name, target) in &settings.targets {
            couriers.push(Arc::new(Courier {
                name: name.clone(),
                aim: target.into(),
                meter: meters.target(name),
                way: Way::new(name, target, clock)?,
                queue: Mutex::new(Queue::new(LIMIT)),
                bell: Notify::new(),
                instance: Arc::clone(&instance),
                clock,
            }));
        }
        let aims = couriers.iter().map(|it| it.aim.clone()).collect();
        let watcher = Mutex::new(Watcher::new(settings.after.0, aims));
        let shared = Shared { couriers, watcher, clock, instance, told: Notify::new() };
        Ok((!shared.couriers.is_empty()).then(|| Self(Arc::new(shared))))
    }

    /// Brings notices to the targets until `closing` becomes true, and then what is left, however long that takes.
    pub fn couriers(&self, closing: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for courier in &self.0.couriers {
            let (courier, shared, closing) = (Arc::clone(courier), Arc::clone(&self.0), closing.clone());
            tasks.spawn(async move { courier.run(&shared.told, closing).await });
        }
        tasks
    }

    fn watcher(&self) -> MutexGuard<'_, Watcher> {
        self.0.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has told what follows from the checks as they are now.
    pub fn look(&self, checks: &[Check], now: Instant) {
        let at = (self.0.clock)();
        // Held until all of it is in the queues: what is learned meanwhile would be older.
        let mut watcher = self.watcher();
        for it in watcher.look(checks, now, at) {
            let Some(courier) = self.0.couriers.get(it.target) else { continue };
            let id = format!("{}/{at}/{}/{}", self.0.instance, it.name, it.state.name());
            let (name, state, reason, since) = (it.name, it.state, it.reason, it.since);
            self.push(courier, &id, Subject::Check { name, state, reason, since });
        }
    }

    /// Has told a target that a run is over; each run once.
    pub fn run_ended(&self, target: &str, run: EndedRun) {
        let Some(courier) = self.0.couriers.iter().find(|it| it.name == target) else { return };
        let finished = run.finished_at.map(|it| it.to_string()).unwrap_or_default();
        let id = format!("run/{}/{}/{finished}", run.source, run.id);
        self.push(courier, &id, Subject::Run(run));
    }

    /// Has told that the service ends since it needs a person, and why.
    pub fn stopped(&self, why: &str) {
        for courier in self.0.couriers.iter().filter(|it| it.aim.takes(SERVICE, State::Fail)) {
            let id = format!("{}/{}/{SERVICE}", self.0.instance, (self.0.clock)());
            self.push(courier, &id, Subject::Stopped(why.to_owned()));
        }
    }

    /// Tells the targets of this name, or all of them, a trial, once; what came of that.
    pub async fn test(&self, target: Option<&str>) -> Vec<(String, Result<(), String>)> {
        let mut results = Vec::new();
        for courier in self.0.couriers.iter().filter(|it| target.is_none_or(|name| it.name == name)) {
            let item = self.item(&format!("{}/{}/test", self.0.instance, (self.0.clock)()), Subject::Test);
            let notice = super::Notice::of(&item.subject, &item.id, item.at, State::Ok, &self.0.instance);
            let told = courier.way.deliver(&notice).await;
            results.push((courier.name.clone(), told.map_err(|it| it.why().to_owned())));
        }
        results
    }

    fn item(&self, id: &str, subject: Subject) -> Item {
        Item { id: format!("{:032x}", xxh3_128(id.as_bytes())), at: (self.0.clock)(), subject }
    }

    fn push(&self, courier: &Courier, id: &str, subject: Subject) {
        if !courier.queue().push(self.item(id, subject), Instant::now()) {
            courier.meter.dropped.one();
            let name = &courier.name;
            tracing::error!(
                notified = name,
                "more than {LIMIT} notices wait for `notify.targets.{name}`: the oldest was dropped"
            );
        }
        courier.bell.notify_one();
    }

    /// The targets by name.
    pub fn targets(&self) -> Vec<String> {
        self.0.couriers.iter().map(|it| it.name.clone()).collect()
    }

    /// Those that want to hear of runs.
    pub fn targets_of_runs(&self) -> Vec<String> {
        let wanting = self.0.couriers.iter().filter(|it| it.aim.takes(RUN, State::Fail));
        wanting.map(|it| it.name.clone()).collect()
    }

    /// Whether this target wants to hear of this run.
    pub fn wants_run(&self, target: &str, run: &EndedRun) -> bool {
        self.0.couriers.iter().any(|it| it.name == target && it.aim.takes(RUN, run.state()))
    }

    /// How many notices wait.
    pub fn waiting(&self) -> usize {
        self.0.couriers.iter().map(|it| it.queue().len()).sum()
    }

    /// Waits until something was told that is to be remembered.
    pub async fn told(&self) {
        self.0.told.notified().await;
    }

    /// What was told and is not remembered.
    pub fn unsaved(&self) -> Vec<Told> {
        self.0.couriers.iter().flat_map(|it| it.queue().unsaved(&it.name)).collect()
    }

    /// It is remembered.
    pub fn saved(&self, told: &[Told]) {
        for courier in &self.0.couriers {
            let mut queue = courier.queue();
            told.iter().filter(|it| it.target == courier.name).for_each(|it| queue.saved(it));
        }
    }

    /// Takes over what was told by an earlier process, or by another instance.
    pub fn learn(&self, told: &[Told]) {
        let mut watcher = self.watcher();
        for it in told {
            let at = self.0.couriers.iter().position(|courier| courier.name == it.target);
            let Some((at, courier)) = at.and_then(|at| Some((at, self.0.couriers.get(at)?))) else {
                continue;
            };
            if courier.queue().learn(it) {
                watcher.was_told(at, &it.name, it.state);
            }
        }
    }

    /// The runs of a source whose end was told, which is not remembered, each with whom it was told.
    pub fn unsaved_runs(&self, source: &str) -> Vec<(String, RunId)> {
        let of = |it: &Arc<Courier>| {
            let runs = it.queue().unsaved_runs(source);
            let name = it.name.clone();
            runs.into_iter().map(move |run| (name.clone(), run))
        };
        self.0.couriers.iter().flat_map(of).collect()
    }

    /// It is remembered.
    pub fn saved_runs(&self, source: &str, told: &[(String, RunId)]) {
        for courier in &self.0.couriers {
            let runs: Vec<RunId> =
                told.iter().filter(|(name, _)| *name == courier.name).map(|(_, run)| *run).collect();
            courier.queue().saved_runs(source, &runs);
        }
    }
}
