//! What one attempt tells its remote's limits, request by request.

use crate::{
    model::Answer,
    remote::{Leave, Slot},
};
use tokio::time::Instant;

/// An attempt that is about to be made.
pub(super) struct Departure<'a> {
    slot: &'a mut Slot,
    /// The call was made again with another token already, in this attempt or before it was held.
    renewed: &'a mut bool,
    /// A request was sent.
    pub(super) sent: bool,
    /// The last one has no answer.
    pub(super) unanswered: bool,
}

impl<'a> Departure<'a> {
    pub(super) fn new(slot: &'a mut Slot, renewed: &'a mut bool) -> Self {
        Self { slot, renewed, sent: false, unanswered: false }
    }
}

impl Leave for Departure<'_> {
    fn begin(&mut self) -> bool {
        let may = self.slot.begin(Instant::now());
        self.sent |= may;
        self.unanswered = may;
        may
    }

    fn refused(&mut self, answer: &Answer) -> bool {
        if std::mem::replace(self.renewed, true) {
            return false;
        }
        self.slot.refused(answer, Instant::now());
        self.unanswered = false;
        true
    }
}
