use crate::model::Lsn;
use jiff::Timestamp;
use std::collections::VecDeque;
use tokio::time::Instant;

/// How far everything is settled, while keys finish out of order. Pure bookkeeping.
///
/// One entry a transaction, however many changes it has.
#[derive(Debug, Default)]
pub struct Watermark {
    /// Transactions in commit order that are not settled yet.
    open: VecDeque<Transaction>,
    in_flight: usize,
    reached: Reached,
}

/// Everything that ends at or before `end` is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reached {
    /// Just behind the newest transaction under the mark.
    pub end: Lsn,
    /// When that one was committed; `None` before the first.
    pub committed_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Transaction {
    commit: Lsn,
    committed_at: Option<Timestamp>,
    /// When the first of it was read; `None` if there is nothing for us.
    read_at: Option<Instant>,
    in_flight: usize,
    /// Known once it has no further changes.
    end: Option<Lsn>,
}

impl Watermark {
    /// Work of the transaction that commits at `commit` is under way.
    pub fn start(&mut self, commit: Lsn, committed_at: Timestamp, now: Instant) {
        let transaction = self.latest(commit, Some(committed_at));
        transaction.in_flight += 1;
        transaction.read_at.get_or_insert(now);
        self.in_flight += 1;
    }

    /// That transaction has no further changes and ends at `end`.
    pub fn complete(&mut self, commit: Lsn, end: Lsn, committed_at: Timestamp) {
        self.latest(commit, Some(committed_at)).end = Some(end);
        self.advance();
    }

    /// There is nothing for us up to `lsn`.
    pub fn idle(&mut self, lsn: Lsn) {
        if self.open.back().is_some_and(|last| last.commit >= lsn) || lsn <= self.reached.end {
            return;
        }
        self.latest(lsn, None).end = Some(lsn);
        self.advance();
    }

    /// One piece of that transaction's work has an outcome.
    pub fn finish(&mut self, commit: Lsn) {
        let found = self.open.binary_search_by_key(&commit, |it| it.commit);
        debug_assert!(found.is_ok(), "{commit} was never started");
        if let Some(transaction) = found.ok().and_then(|at| self.open.get_mut(at)) {
            transaction.in_flight -= 1;
            self.in_flight -= 1;
            self.advance();
        }
    }

    /// Whether work of the transaction that commits there has no outcome, or more of it may come.
    pub fn is_open(&self, commit: Lsn) -> bool {
        let found = self.open.binary_search_by_key(&commit, |it| it.commit);
        found.is_ok_and(|at| self.open[at].in_flight > 0 || self.open[at].end.is_none())
    }

    /// How far everything has its outcome.
    pub fn reached(&self) -> Reached {
        self.reached
    }

    /// How many pieces of work have none.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// When the oldest transaction with work left was committed.
    pub fn pending_since(&self) -> Option<Timestamp> {
        self.open.iter().find_map(|it| it.committed_at)
    }

    /// When the oldest transaction with work left was read.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.open.iter().find(|it| it.in_flight > 0).and_then(|it| it.read_at)
    }

    fn latest(&mut self, commit: Lsn, committed_at: Option<Timestamp>) -> &mut Transaction {
        if self.open.back().is_none_or(|last| last.commit != commit) {
            debug_assert!(self.open.back().is_none_or(|last| last.commit < commit), "{commit} out of order");
            self.open.push_back(Transaction { commit, committed_at, read_at: None, in_flight: 0, end: None });
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn advance(&mut self) {
        while let Some(&Transaction { committed_at, in_flight: 0, end: Some(end), .. }) = self.open.front() {
            self.reached = Reached { end, committed_at: committed_at.or(self.reached.committed_at) };
            self.open.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn end_of(commit: u64) -> Lsn {
        Lsn::new(commit * 10 + 1)
    }

    proptest! {
        /// In every order of finishing, the mark never passes open work and never goes back.
        #[test]
        fn the_mark_never_passes_open_work(
            sizes in prop::collection::vec(0usize..4, 1..12),
            seed in any::<u64>(),
        ) {
            let (mut mark, now) = (Watermark::default(), Instant::now());
            let mut left = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let commit = Lsn::new(at as u64 * 10);
                (0..*size).for_each(|_| mark.start(commit, AT, now));
                left.extend(std::iter::repeat_n(at, *size));
                mark.complete(commit, end_of(at as u64), AT);
            }
            let mut state = seed;
            while !left.is_empty() {
                let before = mark.reached().end;
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let done = left.swap_remove((state >> 33) as usize % left.len());
                mark.finish(Lsn::new(done as u64 * 10));
                let expected = match left.iter().min() {
                    Some(0) => Lsn::ZERO,
                    Some(open) => end_of(*open as u64 - 1),
                    None => end_of(sizes.len() as u64 - 1),
                };
                prop_assert_eq!(mark.reached().end, expected);
                prop_assert!(mark.reached().end >= before);
            }
            prop_assert_eq!(mark.in_flight(), 0);
        }
    }

    #[test]
    fn a_transaction_still_arriving_is_not_settled() {
        let mut mark = Watermark::default();
        mark.start(Lsn::new(5), AT, Instant::now());
        mark.finish(Lsn::new(5));
        assert_eq!(mark.reached().end, Lsn::ZERO);
        assert!(mark.is_open(Lsn::new(5)));
        mark.complete(Lsn::new(5), Lsn::new(6), AT);
        assert_eq!(mark.reached().end, Lsn::new(6));
        assert!(!mark.is_open(Lsn::new(5)));
    }

    #[test]
    fn idle_positions_wait_for_the_work_before_them() {
        let mut mark = Watermark::default();
        mark.idle(Lsn::new(3));
        assert_eq!(mark.reached().end, Lsn::new(3));
        let read = Instant::now();
        mark.start(Lsn::new(5), AT, read);
        mark.start(Lsn::new(5), AT, read + std::time::Duration::from_secs(1));
        mark.complete(Lsn::new(5), Lsn::new(6), AT);
        mark.idle(Lsn::new(9));
        assert_eq!(mark.reached().end, Lsn::new(3));
        assert_eq!((mark.pending_since(), mark.waiting_since()), (Some(AT), Some(read)));
        mark.finish(Lsn::new(5));
        mark.finish(Lsn::new(5));
        assert_eq!(mark.reached().end, Lsn::new(9));
        mark.idle(Lsn::new(2));
        assert_eq!(
            (mark.reached().end, mark.pending_since(), mark.waiting_since()),
            (Lsn::new(9), None, None)
        );
    }
}
