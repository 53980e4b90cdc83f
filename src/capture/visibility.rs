//! Whether what a transaction wrote can be read by others.
//!
//! A commit is in the log before other sessions see it, and with synchronous replication long
//! before. A row that is read again for a change must not be read as it was before that change: no
//! later change would correct it.

/// What a server's `pg_current_snapshot()` says: `xmin:xmax:in progress`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Every transaction before this one is over.
    pub(super) oldest: u32,
    next: u32,
    in_progress: Vec<u32>,
}

impl Snapshot {
    /// The stream numbers transactions by 32 bits, so the upper ones are left out.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u64>().ok().map(|it| it as u32);
        let mut parts = text.splitn(3, ':');
        let (oldest, next) = (number(parts.next()?)?, number(parts.next()?)?);
        let listed = parts.next()?.split(',').filter(|it| !it.is_empty());
        Some(Self { oldest, next, in_progress: listed.map(number).collect::<Option<_>>()? })
    }

    /// Whether what this transaction wrote is in the snapshot.
    pub(super) fn sees(&self, transaction: u32) -> bool {
        precedes(transaction, self.next) && !self.in_progress.contains(&transaction)
    }
}

/// Whether one transaction began before another, which is never half of all numbers away.
pub(super) fn precedes(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_seen_once_it_is_neither_listed_nor_to_come() {
        let snapshot = Snapshot::parse("10:20:10,14,15").expect("a snapshot");
        let seen: Vec<u32> = (8..22).filter(|it| snapshot.sees(*it)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!(Snapshot::parse("7:7:").expect("a snapshot").sees(6));
        assert_eq!(Snapshot::parse("7:x:"), None);
    }

    #[test]
    fn numbers_that_wrap_around_stay_in_order() {
        let snapshot = Snapshot::parse("4294967290:4294967300:4294967295").expect("a snapshot");
        assert!(snapshot.sees(4_294_967_294) && !snapshot.sees(4_294_967_295));
        assert!(snapshot.sees(3) && !snapshot.sees(4), "3 is 2^32 + 3 here");
    }
}
