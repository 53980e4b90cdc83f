//! When a change that is sent again is left out, since something newer of its key is there. Pure.

use crate::model::{ChangeId, Link, Lsn, RunId};

/// What sets a change that is sent again apart from one that comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Replayed {
    /// It is one of those that were committed before this.
    pub(in crate::engine) until: Lsn,
    /// The run that reads it; `None` once it was parked.
    pub(in crate::engine) run: Option<RunId>,
    /// It deletes a row that others depend on: not if the row was written again since.
    pub(in crate::engine) spares: bool,
}

impl Replayed {
    /// The remote was told something that is newer than all that is sent again. What is newer only
    /// than this change is sent again too, after it.
    pub(in crate::engine) fn is_overtaken(&self, id: ChangeId, link: &Link) -> bool {
        link.change.commit >= self.until || (self.spares && !link.gone && link.change > id)
    }

    /// What is parked of its key, the oldest of it being this, brings what is newer; or is it itself.
    pub(in crate::engine) fn is_parked_over(id: ChangeId, oldest: Option<ChangeId>) -> bool {
        oldest.is_some_and(|oldest| oldest >= id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(commit: u64) -> ChangeId {
        ChangeId { commit: Lsn::new(commit), ordinal: 0 }
    }

    fn link(commit: u64) -> Link {
        Link { change: id(commit), ..Link::default() }
    }

    #[test]
    fn only_what_is_newer_than_the_window_overtakes() {
        let replayed = Replayed { until: Lsn::new(50), run: None, spares: false };
        let told = [10, 30, 49, 50, 90].map(|commit| replayed.is_overtaken(id(30), &link(commit)));
        assert_eq!(told, [false, false, false, true, true]);
    }

    #[test]
    fn a_row_with_children_that_was_written_again_is_not_deleted_meanwhile() {
        let replayed = Replayed { until: Lsn::new(50), run: None, spares: true };
        let told = [29, 30, 31].map(|commit| replayed.is_overtaken(id(30), &link(commit)));
        assert_eq!(told, [false, false, true]);
        assert!(!replayed.is_overtaken(id(30), &Link { gone: true, ..link(31) }), "it is gone anyway");
    }

    #[test]
    fn what_is_parked_counts_if_it_is_newer_or_the_change_itself() {
        let told = [None, Some(29), Some(30), Some(31)];
        let told = told.map(|oldest| Replayed::is_parked_over(id(30), oldest.map(id)));
        assert_eq!(told, [false, false, true, true]);
    }
}
