use std::sync::Arc;
use tokio::time::Instant;

/// How the call log stands, for a person and for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineGauges {
    /// How many records were taken over.
    pub written: u64,
    /// How many the outlet has, those from before the start among them.
    pub sent: u64,
    /// How many went through the spool.
    pub spooled: u64,
    /// How many were dropped, or lost by damage of the spool.
    pub dropped: u64,
    /// How many the outlet will never take, which were left out.
    pub refused: u64,
    /// What is only in memory now.
    pub memory_bytes: u64,
    /// What lies in the spool now.
    pub spool_bytes: u64,
    /// How many records lie there that are not known to be sent.
    pub spool_records: u64,
    /// Since when the outlet takes nothing.
    pub since_failing: Option<Instant>,
    /// What went wrong last, with the outlet or with the spool. It stays once that is over.
    pub last_error: Option<Arc<str>>,
}
