use super::{
    DeadLetters, Keeper,
    message::{self, Bad},
    stopped,
};
use crate::call_log::{
    CallLogError, CallRecord, Pauses, Refused,
    rabbitmq::{Link, declare},
};
use futures_util::StreamExt;
use lapin::{
    Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// Messages of a batch, and how long to wait for more once there is one.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 8 << 20;
const GATHERING: Duration = Duration::from_millis(50);
/// Messages the broker may send ahead: the next batch arrives while one is stored.
const PREFETCH: u16 = 2 * BATCH as u16;
const ANSWERING: Duration = Duration::from_secs(5);

/// How a session ended that did not fail.
pub(super) enum Ended {
    Stopped,
}

const CONSUMING: &str = "reading the call log's queue";

fn failed(message: impl Into<String>) -> CallLogError {
    CallLogError { doing: CONSUMING, message: message.into(), lasting: false }
}

impl Keeper {
    /// Works on one connection for as long as that holds.
    pub(super) async fn session(
        &self,
        dead: &mut DeadLetters,
        pauses: &mut Pauses,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, CallLogError> {
        // Stopping goes first: a connection that is being made is not worth waiting for.
        let opened = tokio::select! {
            biased;
            () = stopped(stop) => return Ok(Ended::Stopped),
            opened = self.open() => opened?,
        };
        let (link, mut consumer) = opened;
        self.counts.connections.fetch_add(1, Relaxed);
        self.counts.works();
        loop {
            // What was gathered and is thrown away here was not acknowledged: the broker has it still.
            let batch = tokio::select! {
                biased;
                () = stopped(stop) => break,
                batch = gather(&mut consumer) => batch?,
            };
            if !self.keep(dead, &batch, stop).await? {
                break;
            }
            self.acknowledge(&link, &batch).await?;
            if pauses.is_failing() {
                tracing::info!("the log keeper works again");
            }
            pauses.over();
        }
        link.close().await;
        Ok(Ended::Stopped)
    }

    async fn open(&self) -> Result<(Link, Consumer), CallLogError> {
        let link = Link::open(&self.address, "rowcall log-keeper").await?;
        declare(&link.channel, &self.settings).await?;
        let consuming = async {
            link.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
            let (queue, options) = (self.settings.queue.as_str().into(), BasicConsumeOptions::default());
            link.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await
        };
        match timeout(ANSWERING, consuming).await {
            Ok(Ok(consumer)) => Ok((link, consumer)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no answer within {ANSWERING:?}"))),
        }
    }

    /// Brings all of a batch to where it belongs; `false` if it was told to stop before that was done.
    async fn keep(
        &self,
        dead: &mut DeadLetters,
        batch: &[Delivery],
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, CallLogError> {
        let (mut records, mut origins) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut poison = Vec::new();
        for delivery in batch {
            for part in message::read(&delivery.data) {
                match part {
                    Ok(part) => {
                        records.push(part.record);
                        origins.push((delivery, part.body));
                    }
                    Err(bad) => poison.push((delivery, bad)),
                }
            }
        }
        let Some(refused) = self.store(&records, stop).await else { return Ok(false) };
        poison.extend(refused.into_iter().filter_map(|it| {
            let (delivery, body) = *origins.get(it.at)?;
            Some((delivery, Bad { reason: format!("the store will never take it: {}", it.reason), body }))
        }));
        for (delivery, bad) in poison {
            tracing::warn!(reason = %bad.reason, "what is in the call log's queue cannot be stored: it goes to the dead-letter queue");
            dead.put(delivery, &bad).await?;
            self.counts.dead.fetch_add(1, Relaxed);
        }
        Ok(true)
    }

    /// Stores, however long that takes, but for what it says is refused; `None` if it was told to stop
    /// before that was done.
    async fn store(&self, records: &[CallRecord], stop: &mut watch::Receiver<bool>) -> Option<Vec<Refused>> {
        if records.is_empty() {
            return Some(Vec::new());
        }
        let mut pauses = Pauses::of("store");
        let refused = loop {
            // Not interrupted: it has deadlines of its own, and what was begun may well succeed.
            let error = match self.store.store(records).await {
                Ok(refused) => break refused,
                Err(error) => error,
            };
            self.counts.store_failures.fetch_add(1, Relaxed);
            self.counts.fails(&error);
            if pauses.is_failing() {
                tracing::debug!(%error, "the call log's store still takes no records");
            } else if error.lasting {
                tracing::error!(%error, "the call log's store takes no records until somebody mends it");
            } else {
                tracing::warn!(%error, "the call log's store takes no records; they wait in the queue");
            }
            if timeout(pauses.lengthen(), stopped(stop)).await.is_ok() {
                return None;
            }
        };
        self.counts.works();
        if pauses.is_failing() {
            tracing::info!("the call log's store takes records again");
        }
        self.counts.stored.fetch_add((records.len() - refused.len()) as u64, Relaxed);
        self.counts.batches.fetch_add(1, Relaxed);
        Some(refused)
    }

    /// All up to the last of the batch: what came before it was acknowledged before.
    async fn acknowledge(&self, link: &Link, batch: &[Delivery]) -> Result<(), CallLogError> {
        let Some(last) = batch.last() else { return Ok(()) };
        let acknowledging = link.channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true });
        match timeout(ANSWERING, acknowledging).await {
            Ok(acknowledged) => acknowledged.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed("the connection takes nothing any more")),
        }
    }
}

/// The next messages: as soon as there is one, and what comes shortly after.
async fn gather(consumer: &mut Consumer) -> Result<Vec<Delivery>, CallLogError> {
    let mut batch = vec![taken(consumer.next().await)?];
    let mut bytes = batch[0].data.len();
    let deadline = Instant::now() + GATHERING;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        // Its deadline also ends a stream that never pauses.
        let Ok(next) = timeout_at(deadline, consumer.next()).await else { break };
        let delivery = taken(next)?;
        bytes += delivery.data.len();
        batch.push(delivery);
    }
    Ok(batch)
}

fn taken(next: Option<lapin::Result<Delivery>>) -> Result<Delivery, CallLogError> {
    match next {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(failed(error.to_string())),
        None => Err(failed("the broker ended it: the queue may have been deleted")),
    }
}
