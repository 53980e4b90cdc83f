mod crashes;
pub(in crate::call_log) mod small_disk;

use super::*;
use small_disk::SmallDisk;
use std::{fs, ops::Range, path::Path};
use tempfile::TempDir;

pub(in crate::call_log) fn line(number: u64, size: usize) -> Line {
    let json = format!("{number}-{}", "x".repeat(size));
    Line::new(&format!("a#{number}"), "loans", json)
}

fn lines(numbers: Range<u64>) -> Vec<Line> {
    numbers.map(|number| line(number, 70)).collect()
}

/// What records like these take, each.
fn one() -> u64 {
    frame::length(&line(10, 70)) as u64
}

fn limits(max: u64, segment: u64, when_full: WhenFull) -> Limits {
    Limits { max, segment, when_full }
}

/// Four records a segment, four segments.
fn small(folder: &Path, when_full: WhenFull) -> Spool {
    let limits = limits(one() * 16, one() * 4, when_full);
    Spool::open_on(Box::new(RealDisk), folder, limits).expect("a spool")
}

fn ids(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|it| it.id()[2..].parse().expect("a number")).collect()
}

fn all(spool: &mut Spool) -> Vec<u64> {
    ids(&spool.read(usize::MAX, usize::MAX).expect("records"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn segments(folder: &Path) -> Vec<u64> {
    segment::numbers(folder).expect("a listing")
}

#[test]
fn records_come_back_in_order_and_their_segments_go_once_they_are_sent() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    for at in (10..20).step_by(2) {
        spool.append(&lines(at..at + 2), 0, Cap::Kept).expect("room");
    }
    assert_eq!((spool.records(), spool.unread(), segments(folder.path()).len()), (10, 10, 3));
    assert_eq!(ids(&spool.read(5, usize::MAX).expect("records")), [10, 11, 12, 13, 14]);
    assert_eq!((spool.records(), spool.unread()), (10, 5));
    spool.confirm().expect("a removal");
    assert_eq!((spool.records(), segments(folder.path()).len()), (5, 2));
    assert_eq!(ids(&spool.read(usize::MAX, 1).expect("records")), [15]);
    assert_eq!(all(&mut spool), [16, 17, 18, 19]);
    spool.confirm().expect("a removal");
    assert_eq!((spool.records(), spool.bytes(), segments(folder.path()).len()), (0, 0, 0));
    spool.append(&lines(20..21), 0, Cap::Kept).expect("room");
    assert_eq!(all(&mut spool), [20]);
}

#[test]
fn a_line_comes_back_as_it_was() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    let strange = [Line::new("", "", ""), Line::new("ä#1", "…", [0; 5000]), line(1, 3_000_000)];
    for line in &strange {
        spool.append(std::slice::from_ref(line), 0, Cap::Passed).expect("room");
    }
    assert_eq!(spool.read(usize::MAX, usize::MAX).expect("records"), strange);
}

#[test]
fn what_is_being_sent_already_is_read_only_by_the_next_process() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    spool.append(&lines(10..13), 2, Cap::Kept).expect("room");
    assert_eq!((spool.records(), spool.unread()), (3, 1));
    drop(spool);
    assert_eq!(all(&mut small(folder.path(), WhenFull::Block)), [10, 11, 12]);
    let mut spool = small(folder.path(), WhenFull::Block);
    assert_eq!(all(&mut spool), [10, 11, 12]);
    spool.append(&lines(13..15), 1, Cap::Kept).expect("room");
    assert_eq!(all(&mut spool), [14]);
}

#[test]
fn an_orderly_stop_remembers_what_was_sent() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    spool.append(&lines(10..13), 0, Cap::Kept).expect("room");
    spool.read(2, usize::MAX).expect("records");
    spool.confirm().expect("a confirmation");
    spool.read(1, usize::MAX).expect("records");
    spool.close().expect("a note");
    let mut spool = small(folder.path(), WhenFull::Block);
    assert_eq!((spool.records(), all(&mut spool)), (1, vec![12]));
    // Those of other numbers are no old friends of the note.
    spool.confirm().expect("a confirmation");
    spool.append(&lines(20..24), 0, Cap::Kept).expect("room");
    drop(spool);
    assert_eq!(all(&mut small(folder.path(), WhenFull::Block)), [20, 21, 22, 23]);
}

#[test]
fn a_full_one_takes_nothing_until_a_segment_was_sent() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    for at in 10..26 {
        spool.append(&lines(at..at + 1), 0, Cap::Kept).expect("room");
    }
    let error = spool.append(&lines(26..27), 0, Cap::Kept).expect_err("the cap");
    assert!(error.is_full(), "{error}");
    assert!(error.to_string().contains("call_log.spool.max"), "{error}");
    spool.read(4, usize::MAX).expect("records");
    spool.confirm().expect("a removal");
    spool.append(&lines(26..27), 0, Cap::Kept).expect("room");
    assert_eq!((spool.dropped(), all(&mut spool)), (0, (14..27).collect()));
    spool.append(&lines(27..40), 0, Cap::Passed).expect("a last chance");
}

#[test]
fn a_record_that_is_larger_than_everything_goes_alone() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    spool.append(&[line(10, 100_000)], 0, Cap::Kept).expect("room");
    assert!(spool.append(&lines(11..12), 0, Cap::Kept).expect_err("the cap").is_full());
    assert_eq!(all(&mut spool), [10]);
    spool.confirm().expect("a removal");
    spool.append(&lines(11..12), 0, Cap::Kept).expect("room");
}

#[test]
fn the_oldest_segment_is_dropped_and_counted_without_what_is_being_sent() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::DropOldest);
    for at in 10..26 {
        spool.append(&lines(at..at + 1), 0, Cap::Kept).expect("room");
    }
    assert_eq!(ids(&spool.read(3, usize::MAX).expect("records")), [10, 11, 12]);
    spool.append(&lines(26..27), 0, Cap::Kept).expect("room");
    assert_eq!((spool.dropped(), spool.records()), (1, 13));
    spool.confirm().expect("a confirmation");
    assert_eq!((spool.records(), all(&mut spool)), (13, (14..27).collect()));
}

#[test]
fn a_second_process_is_refused_with_what_to_do() {
    let folder = folder();
    let first = small(folder.path(), WhenFull::Block);
    let refused = Spool::open(&SpoolSettings::at(folder.path())).expect_err("a refusal");
    let shown = refused.to_string();
    assert!(shown.contains(&format!("({})", std::process::id())), "{shown}");
    assert!(shown.contains("call_log.spool.path"), "{shown}");
    drop(first);
    Spool::open(&SpoolSettings::at(folder.path())).expect("it is free");
}

#[test]
fn a_full_disk_takes_nothing_and_forgets_nothing() {
    let folder = folder();
    let disk = SmallDisk::new(one() * 10 + 50);
    let limits = limits(1 << 30, one() * 4, WhenFull::Block);
    let mut spool = Spool::open_on(Box::new(disk.clone()), folder.path(), limits).expect("a spool");
    for at in 10..20 {
        spool.append(&lines(at..at + 1), 0, Cap::Kept).expect("room");
    }
    for _ in 0..3 {
        let error = spool.append(&lines(20..22), 0, Cap::Kept).expect_err("a full disk");
        assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
    }
    disk.grow(one() * 2);
    spool.append(&lines(20..22), 0, Cap::Kept).expect("room again");
    assert_eq!((spool.records(), spool.dropped()), (12, 0));
    drop(spool);
    assert_eq!(all(&mut small(folder.path(), WhenFull::Block)), (10..22).collect::<Vec<_>>());
}

#[test]
fn on_a_full_disk_the_oldest_are_dropped_until_there_is_room() {
    let folder = folder();
    let disk = SmallDisk::new(one() * 10);
    let limits = limits(1 << 30, one() * 4, WhenFull::DropOldest);
    let mut spool = Spool::open_on(Box::new(disk), folder.path(), limits).expect("a spool");
    for at in 10..40 {
        spool.append(&lines(at..at + 1), 0, Cap::Kept).expect("room");
    }
    let left = all(&mut spool);
    assert_eq!((left.last(), spool.dropped() + left.len() as u64), (Some(&39), 30));
    assert!(left.len() >= 6, "{left:?}");
    let error = spool.append(&lines(50..70), 0, Cap::Kept).expect_err("more than there is");
    assert!(error.is_full() && spool.bytes() == 0, "{error}");
}

#[test]
fn a_segment_that_somebody_took_away_is_counted_and_the_rest_comes() {
    let folder = folder();
    let mut spool = small(folder.path(), WhenFull::Block);
    for at in 10..22 {
        spool.append(&lines(at..at + 1), 0, Cap::Kept).expect("room");
    }
    fs::remove_file(segment::path(folder.path(), 2)).expect("a removal");
    assert_eq!(all(&mut spool), [10, 11, 12, 13, 18, 19, 20, 21]);
    assert_eq!(spool.dropped(), 4);
    spool.confirm().expect("a confirmation");
    assert_eq!(spool.records(), 0);
}
