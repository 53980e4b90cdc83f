use super::queue::Waiting;
use crate::call_log::{CallLogError, Line, Outlet, Refused};
use futures_util::{FutureExt, future::BoxFuture};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// The batch that is being sent, until the outlet has it. Everything else is younger.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) lines: Arc<[Line]>,
    /// What it costs of the memory.
    pub(super) bytes: usize,
    /// Since when its oldest record waits.
    pub(super) since: Instant,
    pub(super) place: Place,
    safe: Vec<oneshot::Sender<()>>,
}

/// Where else a batch in hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    /// It is being written into the spool.
    Moving,
    Spool,
}

impl Hand {
    pub(super) fn of_memory(taken: Vec<Waiting>, now: Instant) -> Self {
        let (mut bytes, mut since, mut safe) = (0, now, Vec::new());
        let lines = taken.into_iter().map(|waiting| {
            bytes += waiting.bytes;
            since = since.min(waiting.since);
            safe.extend(waiting.safe);
            waiting.line
        });
        Self { lines: lines.collect(), bytes, since, place: Place::Nowhere, safe }
    }

    pub(super) fn of_spool(lines: Vec<Line>, now: Instant) -> Self {
        Self { lines: lines.into(), bytes: 0, since: now, place: Place::Spool, safe: Vec::new() }
    }

    /// It is safe now: who waited for that hears so. Says what it cost of the memory, which is over.
    pub(super) fn settle(&mut self) -> usize {
        for safe in self.safe.drain(..) {
            // Who no longer waits need not hear.
            let _ = safe.send(());
        }
        std::mem::take(&mut self.bytes)
    }
}

/// The outlet is out while it sends, and comes back with what came of it.
pub(super) type Sending = BoxFuture<'static, (Box<dyn Outlet>, Sent)>;

pub(super) type Sent = Result<Vec<Refused>, CallLogError>;

/// Sends a batch, within this time whatever the outlet does.
pub(super) fn send(mut outlet: Box<dyn Outlet>, lines: Arc<[Line]>, within: Duration) -> Sending {
    let failed = |message| CallLogError { doing: "sending the call log", message, lasting: false };
    Box::pin(async move {
        let sending = AssertUnwindSafe(outlet.send(&lines)).catch_unwind();
        let sent = match timeout(within, sending).await {
            Ok(Ok(sent)) => sent,
            Ok(Err(_)) => Err(failed("it panicked, which is a bug".to_owned())),
            Err(_) => Err(failed(format!("there was no confirmation within {within:?}"))),
        };
        (outlet, sent)
    })
}
