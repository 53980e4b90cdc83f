//! Whether the row that has a key now is the one that a change was about. Pure.
//!
//! A row is of the transaction that wrote it last. If that is the change's own, nothing has happened
//! to the row since. If not, it may have been updated, or deleted and inserted again, and the row does
//! not say which. But the log does: once everything up to the moment at which the row was seen is
//! settled, a delete would have taken away what is owed to the former row; so if it is owed still, and
//! the row has not been written since, it is the same one.

use crate::{model::Lsn, state::Owed};
use std::{collections::HashMap, sync::Arc};

/// Rows in doubt that are remembered; those beyond are only written later.
const MOST: usize = 10_000;

/// The rows that were found to be of another transaction than the change was.
#[derive(Debug, Default)]
pub(super) struct Doubts(HashMap<(Arc<str>, Arc<str>), Doubt>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Doubt {
    /// What was owed to it.
    version: i64,
    /// The transaction it was of.
    of: u32,
    /// A position in the log behind that.
    seen: Lsn,
}

impl Doubts {
    /// Whether a row that is of this transaction is the one to which it is owed. Everything up to
    /// `settled` had been settled before it was read what is owed.
    pub(super) fn is_the_row(&self, owed: &Owed, of: u32, settled: Lsn) -> bool {
        owed.owing.transaction == Some(of)
            || self.of(owed).is_some_and(|it| (it.version, it.of) == (owed.version, of) && it.seen <= settled)
    }

    /// It is not known, and `seen` is behind the moment at which the row was of this transaction.
    pub(super) fn doubt(&mut self, owed: &Owed, of: u32, seen: Lsn) {
        if self.of(owed).is_some_and(|it| (it.version, it.of) == (owed.version, of)) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.clear();
        }
        let at = &owed.owing.at;
        let doubt = Doubt { version: owed.version, of, seen };
        self.0.insert((Arc::clone(&at.route), Arc::clone(&at.key)), doubt);
    }

    /// It is written, or there is nothing to write any more.
    pub(super) fn forget(&mut self, owed: &Owed) {
        let at = &owed.owing.at;
        self.0.remove(&(Arc::clone(&at.route), Arc::clone(&at.key)));
    }

    fn of(&self, owed: &Owed) -> Option<&Doubt> {
        let at = &owed.owing.at;
        self.0.get(&(Arc::clone(&at.route), Arc::clone(&at.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Owing, RouteKey};

    fn owed(version: i64, transaction: Option<u32>) -> Owed {
        let at = RouteKey { route: "loan".into(), key: "1".into() };
        let owing = Owing { at, values: serde_json::Map::new(), transaction };
        Owed { owing, version, attempts: 0 }
    }

    #[test]
    fn a_row_is_the_same_if_nobody_wrote_it_since_or_a_delete_would_have_been_settled() {
        let (settled, seen) = (Lsn::new(100), Lsn::new(200));
        let mut doubts = Doubts::default();
        assert!(doubts.is_the_row(&owed(1, Some(7)), 7, settled));
        for transaction in [Some(7), None] {
            let owed = owed(1, transaction);
            assert!(!doubts.is_the_row(&owed, 8, seen), "nobody looked yet");
            doubts.doubt(&owed, 8, seen);
            assert!(!doubts.is_the_row(&owed, 8, Lsn::new(199)), "a delete may be on its way");
            // Seen again it is not to wait any longer.
            doubts.doubt(&owed, 8, Lsn::new(300));
            assert!(doubts.is_the_row(&owed, 8, seen));
            assert!(!doubts.is_the_row(&owed, 9, seen), "it was written since");
            doubts.forget(&owed);
            assert!(!doubts.is_the_row(&owed, 8, seen));
        }
    }

    #[test]
    fn what_was_said_anew_is_looked_at_anew() {
        let mut doubts = Doubts::default();
        doubts.doubt(&owed(1, None), 8, Lsn::new(200));
        assert!(!doubts.is_the_row(&owed(2, None), 8, Lsn::new(900)));
        doubts.doubt(&owed(2, None), 8, Lsn::new(950));
        assert!(doubts.is_the_row(&owed(2, None), 8, Lsn::new(950)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut doubts = Doubts::default();
        for number in 0..3 * MOST {
            let mut owed = owed(1, None);
            owed.owing.at.key = number.to_string().into();
            doubts.doubt(&owed, 8, Lsn::new(1));
        }
        assert!(doubts.0.len() <= MOST, "{}", doubts.0.len());
    }
}
