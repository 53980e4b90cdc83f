use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use xxhash_rust::xxh3::xxh3_64;

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// In which segment.
    pub(super) segment: u64,
    /// At which byte.
    pub(super) offset: u64,
    /// How many of the segment's records lie before it.
    pub(super) records: u64,
}

impl Position {
    /// The beginning of a segment.
    pub(super) fn start(segment: u64) -> Self {
        Self { segment, offset: 0, records: 0 }
    }
}

const FILE: &str = "sent";
const NEW_FILE: &str = "sent.new";

/// Notes durably up to where everything has been sent. Where the note is old or gone, records are sent
/// once more, which their ids allow.
pub(super) fn note(folder: &Path, sent: Position) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(32);
    for number in [sent.segment, sent.offset, sent.records] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    let new = folder.join(NEW_FILE);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::rename(new, folder.join(FILE))
}

/// What was noted; nothing if that cannot be told.
pub(super) fn noted(folder: &Path) -> Option<Position> {
    let bytes: [u8; 32] = fs::read(folder.join(FILE)).ok()?.try_into().ok()?;
    let number = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_le_bytes);
    (number(24)? == xxh3_64(&bytes[..24])).then_some(())?;
    Some(Position { segment: number(0)?, offset: number(8)?, records: number(16)? })
}
