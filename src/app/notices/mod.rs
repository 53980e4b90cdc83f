//! Tells the targets of `notify` how the service does: shows the notifier the checks, keeps in the state database
//! what was told, and follows the runs that end.

mod ends;
mod keeper;

pub(super) use ends::follow_ends;

use super::{App, AppError, clock, serve};
use crate::{engine::stopped, health, notify::Notifier};
use keeper::Keeper;
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How often the checks are looked at; more often only where less than a second has to last.
const LOOK: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(20);
/// So long it is waited to hear what was told before.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long telling what is left may take in the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long remembering that may take.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// Who is told while the process runs.
pub(super) struct Notifying {
    pub(super) notifier: Notifier,
    asked: watch::Sender<u64>,
    answered: watch::Receiver<u64>,
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
        let (app, notifier) = (app.clone(), self.notifier.clone());
        let (asked, mut answered) = (self.asked.clone(), self.answered.clone());
        let every = (app.loaded.config.notify.after.0 / 4).clamp(SOONEST, LOOK);
        let watching = async move {
            let mut ours = BTreeSet::new();
            loop {
                let checks = app.watched();
                let now = app.ours();
                let takes_over = now.difference(&ours).next().is_some();
                ours = now;
                if takes_over {
                    heard(&asked, &mut answered).await;
                } else {
                    notifier.look(&checks, Instant::now());
                    sleep(every).await;
                }
            }
        };
        async move {
            tokio::select! {
                () = watching => {}
                // How it stops is no problem.
                () = stopped(&mut stop) => {}
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

/// Waits until it is known what was told up to now by an earlier process, or by the instance that held the source
/// before; not for ever.
async fn heard(asked: &watch::Sender<u64>, answered: &mut watch::Receiver<u64>) {
    asked.send_modify(|it| *it += 1);
    let question = *asked.borrow();
    let _ = timeout(PATIENCE, answered.wait_for(|it| *it >= question)).await;
}

impl App {
    /// Starts telling, if anybody is to be told.
    pub(super) fn start_notify(&self) -> Result<Option<Notifying>, AppError> {
        let Some(notifier) = self.notifier()? else { return Ok(None) };
        let (closing, closes) = watch::channel(false);
        let (over, ends) = watch::channel(false);
        let (asked, (answers, answered)) = (watch::Sender::new(0), watch::channel(0));
        let couriers = notifier.couriers(&closes);
        let mut keeping = JoinSet::new();
        // A configuration has a source.
        if let Some(plan) = self.plans()?.into_iter().next() {
            let keeper = Keeper::new(plan, &self.loaded.config, notifier.clone());
            keeping.spawn(keeper.run(asked.subscribe(), answers, ends));
        }
        Ok(Some(Notifying { notifier, asked, answered, closing, couriers, over, keeping }))
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
