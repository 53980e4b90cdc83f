//! What one attempt tells its remote's limits, request by request.

use super::log::Watch;
use crate::{
    model::Answer,
    remote::{Leave, Shown, Slot},
};
use tokio::time::Instant;

/// An attempt that is about to be made.
pub struct Departure<'a, 'w> {
    slot: &'a mut Slot,
    /// The call was made again with another token already, in this attempt or before it was held.
    renewed: &'a mut bool,
    /// Requests that were sent for the call.
    requests: &'a mut u32,
    /// Tells of each.
    pub watch: Watch<'w>,
    /// A request was sent.
    pub sent: bool,
    /// The last one has no answer.
    pub unanswered: bool,
}

impl<'a, 'w> Departure<'a, 'w> {
    /// Nothing is sent yet.
    pub fn new(slot: &'a mut Slot, renewed: &'a mut bool, requests: &'a mut u32, watch: Watch<'w>) -> Self {
        Self { slot, renewed, requests, watch, sent: false, unanswered: false }
    }
}

impl Leave for Departure<'_, '_> {
    fn begin(&mut self) -> bool {
        let may = self.slot.begin(Instant::now());
        self.sent |= may;
        self.unanswered = may;
        if may {
            *self.requests += 1;
            self.watch.begins(*self.requests);
        }
        may
    }

    fn trace(&mut self) -> Option<String> {
        Some(self.watch.parent(*self.requests + 1))
    }

    fn watches(&self) -> bool {
        self.watch.records()
    }

    fn sends(&mut self, request: Shown) {
        self.watch.sends(request);
    }

    fn refused(&mut self, answer: &Answer) -> bool {
        if std::mem::replace(self.renewed, true) {
            return false;
        }
        self.slot.refused(answer, Instant::now());
        self.watch.ends(Some(Ok(answer)), "renewed", None);
        self.unanswered = false;
        true
    }
}
