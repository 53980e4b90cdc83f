//! A source that is fed while the engine runs.

use super::*;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Yields what it is fed.
pub(super) struct Fed {
    budget: Budget,
    batches: UnboundedReceiver<Vec<Captured>>,
    /// How far it was acknowledged.
    pub(super) acknowledged: watch::Sender<Lsn>,
}

impl Rig {
    pub(super) fn fed(&self) -> (UnboundedSender<Vec<Captured>>, Fed) {
        let (feed, batches) = unbounded_channel();
        (feed, Fed { budget: self.budget.clone(), batches, acknowledged: watch::Sender::new(Lsn::ZERO) })
    }
}

#[async_trait]
impl ChangeSource for Fed {
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError> {
        let batch = self.batches.recv().await;
        for captured in batch.iter().flatten() {
            if let Captured::Change(change) = captured {
                self.budget.charge(change.bytes());
            }
        }
        Ok(batch)
    }

    fn acknowledge(&mut self, saved: &Saved) {
        self.acknowledged.send_replace(saved.through());
    }
}
