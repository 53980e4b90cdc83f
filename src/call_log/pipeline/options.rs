use crate::{call_log::WhenFull, model::ByteSize};
use std::time::Duration;

/// How records are brought to their outlet.
#[derive(Clone, Copy, Debug)]
pub struct PipelineOptions {
    /// How much waits in memory.
    pub memory: ByteSize,
    /// What happens once that is full, where there is no spool; else the spool's setting counts.
    pub when_full: WhenFull,
    /// A write returns only once its record is in the spool, or the outlet has it.
    pub required: bool,
    /// How many records are sent at once.
    pub batch: usize,
    /// How long is waited for more, when it is quiet.
    pub gather: Duration,
    /// How long a record that is waited for (`required`) may be under way before it goes into the spool.
    pub patience: Duration,
    /// How long the outlet may take for a batch.
    pub send_within: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            memory: ByteSize(8 << 20),
            when_full: WhenFull::Block,
            required: false,
            batch: 500,
            gather: Duration::from_millis(5),
            patience: Duration::from_millis(50),
            send_within: Duration::from_secs(30),
        }
    }
}

impl PipelineOptions {
    /// How much waits in memory.
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.memory.0).unwrap_or(usize::MAX)
    }

    /// No more is added to a batch once it has so many bytes.
    pub(super) fn batch_bytes(&self) -> usize {
        (self.limit() / 4).clamp(1, 1 << 20)
    }
}
