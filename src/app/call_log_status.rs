//! How the log of calls stands: what the service reports of it.

use crate::{
    admin::view::{CallLogStatus, KeeperStatus, SpoolStatus, Trouble},
    call_log::{Failing, Pipeline},
    log_keeper::KeeperCounts,
};
use std::sync::Arc;

/// An eye on the log of calls of this process.
pub(super) struct LogWatch {
    pub(super) goes_to: String,
    pub(super) pipeline: Arc<Pipeline>,
    /// How much the spool may hold.
    pub(super) spool: Option<u64>,
    pub(super) keeper: Option<(String, Arc<KeeperCounts>)>,
}

impl LogWatch {
    pub(super) fn status(&self) -> CallLogStatus {
        let gauges = self.pipeline.gauges();
        let trouble = |it: &Option<Failing>| it.as_ref().map(|it| Trouble::new(it.since, &it.error));
        let keeper = self.keeper.as_ref().map(|(place, counts)| KeeperStatus {
            stores_in: place.clone(),
            stored: counts.stored(),
            dead: counts.dead(),
            trouble: counts.failing().map(|(since, error)| Trouble::new(since, &error)),
        });
        CallLogStatus {
            goes_to: self.goes_to.clone(),
            trouble: trouble(&gauges.outlet),
            held: gauges.held,
            written: gauges.written,
            sent: gauges.sent,
            dropped: gauges.dropped,
            refused: gauges.refused,
            memory_bytes: gauges.memory_bytes,
            spool: self.spool.map(|max| SpoolStatus {
                bytes: gauges.spool_bytes,
                records: gauges.spool_records,
                max,
                trouble: trouble(&gauges.spool),
            }),
            keeper,
        }
    }
}
