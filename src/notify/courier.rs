//! Brings the notices of a target to it, in order, and tries again.

use super::{Aim, Notice, Target, program::Program, queue::Queue, webhook::Webhook};
use crate::{metrics::TargetMeter, remote::Clock};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What could not be told for this long is given up.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Why a notice was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another try may do.
    Passing {
        /// Why.
        why: String,
        /// When it asked to be tried again.
        after: Option<Duration>,
        /// It may have been heard all the same.
        heard: bool,
    },
    /// It would be refused again.
    Lasting(String),
}

impl Refusal {
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Passing { why, .. } | Self::Lasting(why) => why,
        }
    }
}

/// How a target is told.
#[derive(Debug)]
pub(super) enum Way {
    Webhook(Box<Webhook>),
    Program(Program),
}

impl Way {
    pub(super) fn new(name: &str, target: &Target, clock: Clock) -> Result<Self, String> {
        Ok(match Webhook::new(name, target, clock)? {
            Some(webhook) => Self::Webhook(Box::new(webhook)),
            None => Self::Program(Program::new(target)),
        })
    }

    /// Tells it once.
    pub(super) async fn deliver(&self, notice: &Notice<'_>) -> Result<(), Refusal> {
        let json = serde_json::to_vec(notice).map_err(|error| Refusal::Lasting(error.to_string()))?;
        match self {
            Self::Webhook(webhook) => webhook.deliver(notice.id, json.into()).await,
            Self::Program(program) => program.deliver(notice, &json).await,
        }
    }
}

/// A target with what waits for it.
#[derive(Debug)]
pub(super) struct Courier {
    pub(super) name: String,
    pub(super) aim: Aim,
    pub(super) meter: Arc<TargetMeter>,
    pub(super) way: Way,
    pub(super) queue: Mutex<Queue>,
    /// Something waits.
    pub(super) bell: Notify,
    pub(super) instance: Arc<str>,
    pub(super) clock: Clock,
}

impl Courier {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what waits until `closing` becomes true, and then what is left. Rings `told` for what was told.
    pub(super) async fn run(&self, told: &Notify, mut closing: watch::Receiver<bool>) {
        let mut wait = None;
        loop {
            let next = self.queue().next();
            let Some((item, was)) = next else {
                tokio::select! {
                    () = self.bell.notified() => continue,
                    _ = closing.wait_for(|it| *it) => {}
                }
                // It may have come at the same time.
                if self.queue().len() == 0 {
                    return;
                }
                continue;
            };
            let notice = Notice::of(&item.subject, &item.id, item.at, was, &self.instance);
            match self.way.deliver(&notice).await {
                Ok(()) => {
                    self.queue().delivered((self.clock)());
                    self.meter.delivered.one();
                    if wait.take().is_some() {
                        tracing::info!(
                            notified = self.name,
                            "`notify.targets.{}` takes notices again",
                            self.name
                        );
                    }
                    tracing::debug!(notified = self.name, "told: {}", notice.text);
                }
                Err(Refusal::Lasting(why)) => self.gives_up(&notice, &why),
                Err(Refusal::Passing { why, after, heard }) => {
                    let came = self.queue().came();
                    if came.is_some_and(|it| it.elapsed() >= PATIENCE) {
                        self.gives_up(&notice, &why);
                    } else {
                        self.queue().again(heard);
                        self.fails(wait.is_none(), &why);
                    }
                    let own = wait.map_or(FIRST_WAIT, |it: Duration| (it * 2).min(LONGEST_WAIT));
                    wait = Some(own);
                    let pause = own.max(after.unwrap_or_default()).min(PATIENCE);
                    let is_closing = *closing.borrow();
                    tokio::select! {
                        () = sleep(pause) => {}
                        // What is left is tried once more at once.
                        _ = closing.wait_for(|it| *it), if !is_closing => wait = Some(FIRST_WAIT / 2),
                    }
                }
            }
            told.notify_one();
        }
    }

    fn fails(&self, is_first: bool, why: &str) {
        let name = &self.name;
        if is_first {
            let minutes = PATIENCE.as_secs() / 60;
            tracing::warn!(
                notified = name,
                "`notify.targets.{name}` does not take a notice, which is tried again for {minutes} minutes: {why}"
            );
        } else {
            tracing::debug!(notified = name, "`notify.targets.{name}` still takes no notice: {why}");
        }
    }

    fn gives_up(&self, notice: &Notice<'_>, why: &str) {
        self.queue().given_up();
        self.meter.given_up.one();
        let (name, text) = (&self.name, &notice.text);
        tracing::error!(notified = name, "`notify.targets.{name}` was not told, since {why}: \"{text}\"");
    }
}

#[cfg(test)]
mod tests;
