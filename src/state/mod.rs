//! What must survive a crash: the checkpoint, links and parked changes.

use crate::model::Lsn;

/// Proof that a settlement is durable. Only this room can make one, and acknowledging takes one
/// (invariant 1).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the source keeps its log until it is told"]
pub struct Saved(Lsn);

impl Saved {
    /// Everything that ends at or before this position is settled.
    pub fn through(&self) -> Lsn {
        self.0
    }
}
