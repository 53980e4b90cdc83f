//! Tells the targets of `notify` how the service does: shows the notifier the checks, keeps in the state database
//! what was told, and follows the runs that end.

mod ends;
mod keeper;

pub(super) use ends::follow_ends;

use super::{App, AppError, clock, serve};
use crate::{engine::stopped, health, notify::Notifier};
use keeper::Keeper;
use std::time::Duration;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How often the checks are looked at; more often only where less than a second has to last.
const LOOK: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(20);
/// How long telling what is left may take in the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long remembering that may take.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// Who is told while the process runs.
pub(super) struct Notifying {
    pub(super) notifier: Notifier,
    /// It is known what was told by an earlier process, or it cannot be.
    ready: watch::Receiver<bool>,
    closing: watch::Sender<bool>,
    couriers: JoinSet<()>,
    over: watch::Sender<bool>,
    keeping: JoinSet<()>,
}

impl Notifying {
    /// Shows the notifier the checks, until `stop` becomes true or its sender is gone.
    pub(super) fn watch(
        &self,
        app: &App,
        mut stop: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (app, notifier, mut ready) = (app.clone(), self.notifier.clone(), self.ready.clone());
        async move {
            tokio::select! {
                _ = ready.wait_for(|it| *it) => {}
                () = stopped(&mut stop) => return,
            }
            let every = (app.loaded.config.notify.after.0 / 4).clamp(SOONEST, LOOK);
            loop {
                tokio::select! {
                    () = sleep(every) => {}
                    // How it stops is no problem.
                    () = stopped(&mut stop) => return,
                }
                notifier.look(&app.watched(), Instant::now());
            }
        }
    }

    /// Tells why the service ends, if a person is needed, and what is left, within a bound.
    pub(super) async fn close(mut self, error: Option<&AppError>) {
        if let Some(error) = error {
            self.notifier.stopped(health::plain(&error.to_string()));
        }
        self.closing.send_replace(true);
        let told = async { while self.couriers.join_next().await.is_some() {} };
        if timeout(LAST_WORDS, told).await.is_err() {
            let left = self.notifier.waiting();
            tracing::warn!(left, "the last {left} notices were not told");
        }
        self.over.send_replace(true);
        let kept = async { while self.keeping.join_next().await.is_some() {} };
        if timeout(LAST_SAVE, kept).await.is_err() {
            tracing::debug!("what was told last could not be remembered in time");
        }
    }
}

impl App {
    /// Starts telling, if anybody is to be told.
    pub(super) fn start_notify(&self) -> Result<Option<Notifying>, AppError> {
        let Some(notifier) = self.notifier()? else { return Ok(None) };
        let (closing, closes) = watch::channel(false);
        let (over, ends) = watch::channel(false);
        let (known, ready) = watch::channel(false);
        let couriers = notifier.couriers(&closes);
        let mut keeping = JoinSet::new();
        // A configuration has a source.
        if let Some(plan) = self.plans()?.into_iter().next() {
            let keeper = Keeper::new(plan, &self.loaded.config, notifier.clone(), known);
            keeping.spawn(keeper.run(ends));
        }
        Ok(Some(Notifying { notifier, ready, closing, couriers, over, keeping }))
    }

    fn notifier(&self) -> Result<Option<Notifier>, AppError> {
        let settings = &self.loaded.config.notify;
        Notifier::new(settings, &self.vitals.meters, &serve::instance(), clock::now)
            .map_err(|error| AppError::Configuration(vec![error]))
    }

    /// Tells a target, or each, that somebody tries it; what came of that for each.
    pub async fn test_notify(
        &self,
        target: Option<&str>,
    ) -> Result<Vec<(String, Result<(), String>)>, AppError> {
        let wrong = |message: &str| AppError::Configuration(vec![message.to_owned()]);
        let notifier = self.notifier()?.ok_or_else(|| wrong("nobody is told: `notify.targets` is empty"))?;
        let known = notifier.targets();
        if let Some(name) = target.filter(|name| !known.iter().any(|it| it == name)) {
            return Err(wrong(&format!("there is no target `{name}`: known are {}", known.join(", "))));
        }
        Ok(notifier.test(target).await)
    }
}
