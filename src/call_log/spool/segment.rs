use super::{SpoolError, cursor::Position};
use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

/// What is known of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where its last whole, durable record ends.
    pub(super) end: u64,
    /// How many records lie before that.
    pub(super) records: u64,
}

/// The ending of a segment's name; another form of segment would have another one.
const FORM: &str = ".v1";

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}{FORM}"))
}

/// The numbers of the segments in a directory, the oldest first.
pub(super) fn numbers(folder: &Path) -> Result<Vec<u64>, SpoolError> {
    let failed = |cause| SpoolError::Io { doing: "listing", path: folder.to_owned(), cause };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(FORM)).filter(|it| it.len() == 20);
        numbers.extend(number.and_then(|it| it.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes a segment away. One that is not there is as good.
pub(super) fn remove(folder: &Path, number: u64) -> Result<(), SpoolError> {
    let path = path(folder, number);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(SpoolError::Io { doing: "removing", path, cause })
        }
        _ => Ok(()),
    }
}

/// How many records lie behind a position.
pub(super) fn behind(segments: &VecDeque<Segment>, position: Position) -> u64 {
    let at = |it: &&Segment| it.number >= position.segment;
    segments.iter().filter(at).map(|it| it.records - before(it, position)).sum()
}

/// How many records of a segment lie before a position.
pub(super) fn before(segment: &Segment, position: Position) -> u64 {
    match segment.number.cmp(&position.segment) {
        std::cmp::Ordering::Less => segment.records,
        std::cmp::Ordering::Equal => position.records.min(segment.records),
        std::cmp::Ordering::Greater => 0,
    }
}
