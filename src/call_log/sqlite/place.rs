//! Where a record lies in the file, by its own data alone: so neither its time nor its name needs an index.
//!
//! Its row's number is its time with a few bits of its name. What is written as time goes on is added near the
//! end, and a record that is stored again meets itself. Its spot is the place of its change in the source's
//! log, as the name says it, which grows as well.

use crate::model::Lsn;
use jiff::Timestamp;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Bits of the name in a row's number. With them, times up to the year 2112 have one.
const NAMED: u32 = 11;
/// Ordinals beyond it are of no change that is alone in its place.
const ORDINAL: u32 = 24;
/// Records of one microsecond lie in no order among each other.
pub(super) fn microsecond(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond().div_euclid(1_000)).unwrap_or(i64::MAX)
}

/// The numbers of a microsecond's records.
pub(super) fn numbers_of(moment: i64) -> Range<i64> {
    let from = |moment: i64| moment.saturating_mul(1 << NAMED);
    from(moment)..from(moment.saturating_add(1))
}

/// The microsecond of a row.
pub(super) fn moment_of(number: i64) -> i64 {
    number >> NAMED
}

/// The number of a record's row.
pub(super) fn number(at: Timestamp, id: &str) -> i64 {
    let name = xxh3_64(id.as_bytes()) & ((1 << NAMED) - 1);
    not_before(at).saturating_add(name.cast_signed())
}

/// The same, and those that are tried one after the other if another record has it: the rest of its microsecond,
/// and then whatever follows.
pub(super) fn numbers(at: Timestamp, id: &str) -> impl Iterator<Item = i64> {
    let (all, own) = (numbers_of(microsecond(at)), number(at, id));
    (own..all.end).chain(all.start..own).chain(all.end..)
}

/// No record that began then or later has a smaller one.
pub(super) fn not_before(at: Timestamp) -> i64 {
    numbers_of(microsecond(at)).start
}

/// No record that began then or earlier has this or a greater one.
pub(super) fn after(at: Timestamp) -> i64 {
    numbers_of(microsecond(at)).end
}

/// No record that began earlier has this or a greater one.
pub(super) fn until(at: Timestamp) -> i64 {
    at.checked_sub(jiff::SignedDuration::from_nanos(1)).map_or(i64::MIN, after)
}

/// The spot of a record, by its name. Where that names no change alone, it is any number that is always the same.
pub(super) fn spot(id: &str) -> i64 {
    let mut four = [""; 4];
    let named = id.split('-').find_map(|part| {
        four = [four[1], four[2], four[3], part];
        let [origin, commit, ordinal, next] = four;
        if origin.len() != 8 || !is_hex(origin) || is_key(next) {
            return None;
        }
        along(u64::from_str_radix(commit, 16).ok()?, ordinal.parse().ok()?)
    });
    named.unwrap_or_else(|| xxh3_64(id.as_bytes()).cast_signed())
}

/// The spot at which the records of a change are, those that have no spot of their own.
pub(super) fn spot_of_change(change: &str) -> Option<i64> {
    let (commit, ordinal) = change.rsplit_once('.')?;
    along(commit.parse::<Lsn>().ok()?.raw(), ordinal.parse().ok()?)
}

/// Unique within a terabyte of log, which is enough to be quick.
fn along(commit: u64, ordinal: u64) -> Option<i64> {
    let is_alone = commit != 0 && ordinal < 1 << ORDINAL;
    is_alone.then(|| ((commit << ORDINAL) | ordinal).cast_signed())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_hexdigit())
}

/// A change of a run is named together with a key: it shares its place with others.
fn is_key(part: &str) -> bool {
    part.len() == 16 && is_hex(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        call_log::RecordId,
        model::{CallKey, ChangeId},
    };

    fn id(route: &str, change: ChangeId, key: Option<u64>, step: &str) -> String {
        let key = CallKey { route: route.into(), origin: 0x00ab_cdef, change, key, step: step.into() };
        RecordId::new(&key.to_string(), None, 1).to_string()
    }

    #[test]
    fn a_name_and_a_change_lead_to_one_spot_whatever_is_in_the_name() {
        let change = ChangeId { commit: Lsn::new(0x1_0000_12AB), ordinal: 7 };
        let spot_of = |change: ChangeId| spot_of_change(&change.to_string());
        for (route, step) in [("loan", "create"), ("a-b.c-d", "e-f"), ("x-1", "step-00abcdef-1-2-3")] {
            assert_eq!(Some(spot(&id(route, change, None, step))), spot_of(change), "{route} {step}");
        }
        let next = ChangeId { ordinal: 8, ..change };
        assert!(spot_of(change) < spot_of(next));
    }

    #[test]
    fn what_many_share_is_no_spot() {
        let change = ChangeId { commit: Lsn::new(0x12AB), ordinal: 7 };
        let [one, two] = [1, 2].map(|key| spot(&id("loan", change, Some(key), "create")));
        assert!(one != two && Some(one) != spot_of_change("0/12AB.7"));
        for none in ["", "0/0.7", "0/12AB", "x.7", "0/12AB.16777216", "0/12AB.18446744073709551615"] {
            assert_eq!(spot_of_change(none), None, "{none}");
        }
        assert_eq!(spot("any"), spot(&String::from("any")));
    }

    #[test]
    fn a_row_has_a_number_within_those_of_its_time() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let times =
            ["1969-12-31T23:59:59.9999995Z", "2026-01-31T12:00:00.123456Z", "2111-12-31T23:59:59.123Z"];
        for at in times.map(time) {
            let next = Timestamp::from_nanosecond(at.as_nanosecond() + 1_000).expect("a time");
            let mut tried = numbers(at, "a#1");
            let own: std::collections::BTreeSet<i64> = tried.by_ref().take(1 << NAMED).collect();
            assert_eq!(own, (not_before(at)..after(at)).collect(), "{at}");
            assert_eq!(tried.next(), Some(after(at)));
            assert!(own.iter().all(|it| moment_of(*it) == moment_of(not_before(at))));
            assert!(until(next) >= after(at) && not_before(next) == after(at), "{at}");
        }
        assert_eq!(until(time("2026-01-31T12:00:00Z")), not_before(time("2026-01-31T12:00:00Z")));
    }
}
