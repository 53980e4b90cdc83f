//! When a change that is sent again is left out, since something newer of its key is there. Pure.

use crate::{
    model::{ChangeId, Link},
    state::Again,
};

/// What sets a change that is sent again apart from one that comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Replayed {
    pub(in crate::engine) again: Again,
    /// It deletes a row that others depend on: not if the row was written again since.
    pub(in crate::engine) spares: bool,
}

impl Replayed {
    /// The remote was told something that is newer than all that is sent again. What is newer only
    /// than this change is sent again too, after it; unless this very run has brought it so far.
    pub(in crate::engine) fn is_overtaken(&self, id: ChangeId, link: &Link) -> bool {
        link.change.commit >= self.again.until
            || (self.spares && !link.gone && link.change > id)
            || self.has_come(id, link)
    }

    /// This run has brought it, or something newer, before a restart.
    pub(in crate::engine) fn has_come(&self, id: ChangeId, link: &Link) -> bool {
        let Some(this) = self.again.run.map(|run| run.anew(id)) else { return false };
        link.replayed.is_some_and(|newest| newest.run() == this.run() && newest >= this)
    }

    /// What is parked of its key, the oldest of it being this, brings what is newer; or is it itself.
    pub(in crate::engine) fn is_parked_over(id: ChangeId, oldest: Option<ChangeId>) -> bool {
        oldest.is_some_and(|oldest| oldest >= id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lsn, RunId};

    fn replayed(run: Option<RunId>, spares: bool) -> Replayed {
        Replayed { again: Again { until: Lsn::new(50), run }, spares }
    }

    fn id(commit: u64) -> ChangeId {
        ChangeId { commit: Lsn::new(commit), ordinal: 0 }
    }

    fn link(commit: u64) -> Link {
        Link { change: id(commit), ..Link::default() }
    }

    #[test]
    fn only_what_is_newer_than_the_window_overtakes() {
        let replayed = replayed(None, false);
        let told = [10, 30, 49, 50, 90].map(|commit| replayed.is_overtaken(id(30), &link(commit)));
        assert_eq!(told, [false, false, false, true, true]);
    }

    #[test]
    fn a_row_with_children_that_was_written_again_is_not_deleted_meanwhile() {
        let replayed = replayed(None, true);
        let told = [29, 30, 31].map(|commit| replayed.is_overtaken(id(30), &link(commit)));
        assert_eq!(told, [false, false, true]);
        assert!(!replayed.is_overtaken(id(30), &Link { gone: true, ..link(31) }), "it is gone anyway");
    }

    #[test]
    fn what_the_same_run_has_brought_already_is_left_out() {
        let brought = |run: i64| Link { replayed: Some(RunId(run).anew(id(30))), ..link(49) };
        let told = |run: i64| {
            [20, 30, 40].map(|commit| replayed(Some(RunId(3)), false).is_overtaken(id(commit), &brought(run)))
        };
        assert_eq!(told(3), [true, true, false]);
        assert_eq!((told(2), told(4)), ([false; 3], [false; 3]), "another run's says nothing");
    }

    #[test]
    fn what_is_parked_counts_if_it_is_newer_or_the_change_itself() {
        let told = [None, Some(29), Some(30), Some(31)];
        let told = told.map(|oldest| Replayed::is_parked_over(id(30), oldest.map(id)));
        assert_eq!(told, [false, false, true, true]);
    }
}
