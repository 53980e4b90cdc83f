use std::{fmt::Display, sync::Arc};
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
    /// How many writers wait until there is room, and calls with them.
    pub held: u64,
    /// The outlet takes nothing.
    pub outlet: Option<Failing>,
    /// The spool takes nothing, or gives nothing back.
    pub spool: Option<Failing>,
}

/// Something fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Instant,
    /// How it failed last.
    pub error: Arc<str>,
}

impl Failing {
    /// It failed, perhaps not for the first time in a row.
    pub(super) fn again(before: Option<Self>, error: &dyn Display, now: Instant) -> Self {
        Self { since: before.map_or(now, |it| it.since), error: error.to_string().into() }
    }
}
