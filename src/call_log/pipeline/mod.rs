//! The way of a record from the one who made it to the outlet.
//!
//! Upholds invariant 6: a record that was taken over is sent at least once, in the order in which this
//! process took it, whatever the outlet does, as long as there is room; what is dropped where that is
//! configured is counted. And 7: what comes in here is redacted first, so that nothing else waits in
//! memory, lies on disk or is sent. And 5: what waits in memory is bounded in bytes.
//!
//! ```text
//! write ─▶ redact ─▶ memory ─────────────▶ hand ─▶ outlet
//!                      └────▶ spool ────────┘
//! ```
//!
//! There is one batch in hand, the oldest records there are. What lies in the spool is younger than that
//! and older than what is in memory. So once something lies there, all goes through it until it is
//! empty. Records go there when more than half of the memory is used, when the outlet failed, when
//! somebody waits for one for too long, and when the time to stop is over; what is in hand goes ahead of
//! them, so that the spool has everything in its order too, and a process that dies loses nothing of it.

mod depot;
mod gauges;
mod hand;
mod health;
mod options;
mod queue;
mod shout;
mod worker;

#[cfg(test)]
mod tests;

pub use gauges::{Failing, PipelineGauges};
pub use options::PipelineOptions;

use super::{CallLogSink, Line, Outlet, Record, Spool};
use futures_util::future::BoxFuture;
use queue::Queue;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{sync::Mutex, task::JoinSet, time::Instant};
use worker::Worker;

/// Redacts a record and makes it what leaves the process.
pub type Prepare = Arc<dyn Fn(Record<'_>) -> Line + Send + Sync>;

/// Brings records to an outlet.
pub struct Pipeline {
    prepare: Prepare,
    queue: Arc<Queue>,
    task: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("gauges", &self.gauges()).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Starts, with what a spool still has from before. Needs a runtime. Ends with [`Self::close`]; one
    /// that is only dropped loses what is in memory.
    pub fn start(
        outlet: Box<dyn Outlet>,
        prepare: Prepare,
        spool: Option<Spool>,
        options: PipelineOptions,
    ) -> Self {
        let queue = Arc::new(Queue::new(options, spool.as_ref()));
        let mut task = JoinSet::new();
        task.spawn(Worker::new(queue.clone(), outlet, spool).run());
        Self { prepare, queue, task: Mutex::new(task) }
    }

    /// How it stands.
    pub fn gauges(&self) -> PipelineGauges {
        let state = self.queue.lock();
        PipelineGauges { memory_bytes: state.bytes as u64, ..state.gauges.clone() }
    }

    /// Stops: what is in memory is sent within this time, else it goes into the spool, even beyond its
    /// cap. What is in the spool is left to the next start. Only without a spool, or with one that
    /// takes nothing, is anything lost, and then counted.
    pub async fn close(&self, within: Duration) -> PipelineGauges {
        self.queue.lock().closing.get_or_insert(Instant::now() + within);
        self.queue.changed.notify_one();
        let mut task = self.task.lock().await;
        while let Some(ended) = task.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the call log's task broke off, which is a bug");
            }
        }
        self.gauges()
    }
}

impl CallLogSink for Pipeline {
    fn write(&self, record: Record<'_>) -> Option<BoxFuture<'_, ()>> {
        // Redacted by whoever brings it, so that this is done by as many as there are.
        self.queue.put((self.prepare)(record))
    }
}
