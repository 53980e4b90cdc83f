//! Reads the log for a replay and hands it to the engine, over as many connections as that takes.

use crate::{
    capture::{
        Budget, Captured, ChangeSource, SourceError,
        logical::{LogicalSource, Options},
    },
    engine::ReplayFeed,
    model::{Lsn, TableName},
    postgres::Target,
};
use jiff::Timestamp;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};

/// How often a position without changes is passed on: it ends the run.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// When a connection that broke is made anew.
const AGAIN: Duration = Duration::from_secs(1);

/// What is to be read.
pub(super) struct Feed {
    pub(super) target: Target,
    pub(super) slot: String,
    pub(super) publication: String,
    pub(super) origin: String,
    pub(super) tables: Arc<HashSet<TableName>>,
    pub(super) budget: Budget,
    /// Everything before has its outcome.
    pub(super) at: Lsn,
    /// Up to here.
    pub(super) to: Lsn,
    /// What comes behind that is looked at first, up to where everything is settled.
    pub(super) ahead: Option<Ahead>,
}

/// A window that ends before the present.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    /// It ends before the first transaction that was committed after this; at `to`, if that is known.
    pub(super) until: Option<Timestamp>,
    /// Where what is looked at ends.
    pub(super) settled: Lsn,
}

/// What is read.
enum Part {
    /// What is sent again.
    Window,
    /// What comes behind that: from `end` on, once that is known.
    Behind { until: Option<Timestamp>, end: Option<Lsn> },
}

/// Why reading ended before everything was read.
enum Stop {
    /// Nobody listens any more.
    Closed,
    Failed(SourceError),
}

impl Feed {
    pub(super) async fn run(self, out: mpsc::Sender<ReplayFeed>) {
        if let Err(Stop::Failed(error)) = self.feed(&out).await {
            // If nobody listens any more, nobody needs to know.
            let _ = out.send(ReplayFeed::Broken(error)).await;
        }
    }

    async fn feed(&self, out: &mpsc::Sender<ReplayFeed>) -> Result<(), Stop> {
        let mut to = self.to;
        if let Some(Ahead { until, settled }) = self.ahead {
            let mut behind = Part::Behind { until, end: until.is_none().then_some(to) };
            let from = if until.is_none() { to.max(self.at) } else { self.at };
            self.read(from, settled, out, &mut behind).await?;
            if let Part::Behind { end, .. } = behind {
                to = end.unwrap_or(settled).min(to);
            }
            send(out, ReplayFeed::Looked(to)).await?;
        }
        self.read(self.at, to, out, &mut Part::Window).await
    }

    async fn hand_over(
        &self,
        batch: Vec<Captured>,
        part: &mut Part,
        out: &mpsc::Sender<ReplayFeed>,
    ) -> Result<(), Stop> {
        let Part::Behind { until, end } = part else { return send(out, ReplayFeed::Batch(batch)).await };
        let mut kept = Vec::new();
        for captured in batch {
            let Captured::Change(change) = &captured else { continue };
            if end.is_none() && until.is_some_and(|until| change.committed_at > until) {
                *end = Some(change.id.commit);
            }
            if end.is_some_and(|end| change.id.commit >= end) {
                kept.push(captured);
            } else {
                self.budget.free(change.bytes());
            }
        }
        if kept.is_empty() { Ok(()) } else { send(out, ReplayFeed::Look(kept)).await }
    }

    /// Reads from one position to another, however often the connection breaks.
    async fn read(
        &self,
        from: Lsn,
        to: Lsn,
        out: &mpsc::Sender<ReplayFeed>,
        part: &mut Part,
    ) -> Result<(), Stop> {
        let mut at = from;
        while at < to {
            let mut source = tokio::select! {
                () = out.closed() => return Err(Stop::Closed),
                opened = LogicalSource::open(&self.target, self.options(at)) => match opened {
                    Ok(source) => source,
                    Err(error) => {
                        again(error, out).await?;
                        continue;
                    }
                },
            };
            let ended = loop {
                let batch = tokio::select! {
                    () = out.closed() => break Err(Stop::Closed),
                    batch = source.next() => batch,
                };
                let batch = match batch {
                    Ok(batch) => batch.unwrap_or_default(),
                    Err(error) => break Err(Stop::Failed(error)),
                };
                let mut over = false;
                for captured in &batch {
                    match captured {
                        Captured::Commit(commit) => at = at.max(commit.end),
                        Captured::Idle(lsn) => at = at.max(*lsn),
                        Captured::Change(change) => over |= change.id.commit >= to,
                        Captured::Mark(_) => {}
                    }
                }
                if let Err(stop) = self.hand_over(batch, part, out).await {
                    break Err(stop);
                }
                if over || at >= to {
                    break Ok(());
                }
            };
            source.close().await;
            match ended {
                Ok(()) => break,
                Err(Stop::Failed(error)) => again(error, out).await?,
                Err(Stop::Closed) => return Err(Stop::Closed),
            }
        }
        // Behind the last transaction; who waits for a position hears of it.
        self.hand_over(vec![Captured::Idle(to)], part, out).await
    }

    fn options(&self, start: Lsn) -> Options {
        let tables = Arc::clone(&self.tables);
        Options {
            slot: self.slot.clone(),
            publication: self.publication.clone(),
            start,
            // What is read is not settled yet: after a crash it has to come again.
            acknowledged: self.at,
            routed: Box::new(move |table| tables.contains(table)),
            origin: self.origin.clone(),
            budget: self.budget.clone(),
            heartbeat: HEARTBEAT,
            pulse: Arc::default(),
        }
    }
}

async fn send(out: &mpsc::Sender<ReplayFeed>, feed: ReplayFeed) -> Result<(), Stop> {
    out.send(feed).await.map_err(|_| Stop::Closed)
}

/// Waits before another try, unless none can help.
async fn again(error: SourceError, out: &mpsc::Sender<ReplayFeed>) -> Result<(), Stop> {
    if error.is_final() {
        return Err(Stop::Failed(error));
    }
    tracing::warn!(%error, "the log of a replay is read on soon");
    tokio::select! {
        () = out.closed() => Err(Stop::Closed),
        () = sleep(AGAIN) => Ok(()),
    }
}
