//! The log keeper: takes records out of RabbitMQ and stores them.
//!
//! Upholds invariant 6. A message is acknowledged only once all that it holds is stored, or is in the
//! dead-letter queue with its reason; a keeper that dies before that leaves its messages to the next
//! one, and what is stored twice is there once. Any number of keepers share the queue.
//!
//! Nothing here gives up: the broker and the store may be away for as long as they like. While the
//! store is away the messages at hand are held, not handed back: so they are neither lost nor sent to
//! and fro, and the broker's count of deliveries does not grow.
//!
//! Not here: what a record is and where it is kept ([`call_log`](crate::call_log)).

mod dead;
mod message;
mod session;

use crate::call_log::{
    CallLogError, CallLogStore, Pauses,
    rabbitmq::{Address, RabbitMqSettings},
};
use dead::DeadLetters;
use session::Ended;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// What a keeper has done since it was made.
#[derive(Debug, Default)]
pub struct KeeperCounts {
    stored: AtomicU64,
    dead: AtomicU64,
    batches: AtomicU64,
    store_failures: AtomicU64,
    connections: AtomicU64,
    failing: Mutex<Option<(Instant, Arc<str>)>>,
}

impl KeeperCounts {
    /// Records handed to the store and taken by it, those included that it had already.
    pub fn stored(&self) -> u64 {
        self.stored.load(Relaxed)
    }

    /// Messages and parts of messages put into the dead-letter queue.
    pub fn dead(&self) -> u64 {
        self.dead.load(Relaxed)
    }

    /// How often it wrote to the store with success.
    pub fn batches(&self) -> u64 {
        self.batches.load(Relaxed)
    }

    /// How often the store failed.
    pub fn store_failures(&self) -> u64 {
        self.store_failures.load(Relaxed)
    }

    /// How often it connected to the broker.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Since when the broker or the store keeps it from working, and what happened last.
    pub fn failing(&self) -> Option<(Instant, Arc<str>)> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fails(&self, error: &CallLogError) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        *failing = Some((since, error.to_string().into()));
    }

    fn works(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Takes records out of RabbitMQ and stores them.
pub struct Keeper {
    settings: RabbitMqSettings,
    address: Address,
    store: Arc<dyn CallLogStore>,
    counts: Arc<KeeperCounts>,
}

impl Keeper {
    /// A keeper of this store. Wrong settings are an error; a broker that is away is not.
    pub fn new(settings: &RabbitMqSettings, store: Arc<dyn CallLogStore>) -> Result<Self, CallLogError> {
        let address = Address::new(settings)?;
        Ok(Self { settings: settings.clone(), address, store, counts: Arc::default() })
    }

    /// What it has done so far; it goes on counting there.
    pub fn counts(&self) -> Arc<KeeperCounts> {
        self.counts.clone()
    }

    /// Works until it is told to stop, by `true` or by nobody being left to say it. What it is storing
    /// then, it stores and acknowledges.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut pauses = Pauses::of("keeper");
        let mut dead = DeadLetters::new(&self.settings, &self.address);
        loop {
            let failed = match self.session(&mut dead, &mut pauses, &mut stop).await {
                Ok(Ended::Stopped) => break,
                Err(error) => error,
            };
            self.counts.fails(&failed);
            if pauses.is_failing() {
                tracing::debug!(error = %failed, "the log keeper still has no broker");
            } else if failed.lasting {
                tracing::error!(error = %failed, "the log keeper cannot work until somebody mends it");
            } else {
                tracing::warn!(error = %failed, "the log keeper lost the broker, and tries again until it is back");
            }
            if timeout(pauses.lengthen(), stopped(&mut stop)).await.is_ok() {
                break;
            }
        }
        dead.close().await;
    }
}

/// Runs one keeper until it is told to stop. Only settings that cannot be used are an error.
pub async fn run_keeper(
    rabbit: &RabbitMqSettings,
    store: Arc<dyn CallLogStore>,
    stop: watch::Receiver<bool>,
) -> Result<(), CallLogError> {
    Keeper::new(rabbit, store)?.run(stop).await;
    Ok(())
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody left to say it says it too.
    let _ = stop.wait_for(|stop| *stop).await;
}
