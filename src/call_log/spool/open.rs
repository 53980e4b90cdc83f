use super::{
    Limits, Spool, SpoolError,
    cursor::{self, Position},
    disk::{self, Disk},
    lock::Lock,
    segment::{self, Segment},
    walk::{Next, Walk},
};
use crate::model::ByteSize;
use std::{collections::VecDeque, fs::OpenOptions, io, path::Path};

/// What was found in a segment.
struct Found {
    segment: Segment,
    /// How many bytes behind it are no records.
    damaged: u64,
    /// The noted position lies between two records of it.
    noted: bool,
}

impl Spool {
    /// All that lies in the directory is read and checked.
    pub(super) fn open_on(disk: Box<dyn Disk>, folder: &Path, limits: Limits) -> Result<Self, SpoolError> {
        let io = |doing, path: &Path, cause| SpoolError::Io { doing, path: path.to_owned(), cause };
        disk::make_folder(folder).map_err(|cause| io("making", folder, cause))?;
        let lock = Lock::take(folder)?;
        let noted = cursor::noted(folder);
        let numbers = segment::numbers(folder)?;
        let newest = numbers.last().copied();
        let mut sent = None;
        let mut segments = VecDeque::new();
        for number in numbers {
            // What lies before what was sent has been sent; only the removal was not durable.
            let found = if noted.is_some_and(|it| number < it.segment) {
                None
            } else {
                let path = segment::path(folder, number);
                Some(survey(&path, number, noted).map_err(|cause| io("reading", &path, cause))?)
            };
            if let Some(found) = &found {
                if found.damaged > 0 {
                    tell(&segment::path(folder, number), found, Some(number) == newest);
                }
                if found.damaged > 0 && Some(number) == newest {
                    let path = segment::path(folder, number);
                    cut(&path, found.segment.end).map_err(|cause| io("cutting", &path, cause))?;
                }
                sent = sent.or(noted.filter(|_| found.noted));
            }
            match found {
                Some(found) if found.segment.records > 0 => segments.push_back(found.segment),
                _ => segment::remove(folder, number)?,
            }
        }
        let last = newest.max(noted.map(|it| it.segment)).unwrap_or(0);
        let sent = sent.unwrap_or_else(|| Position::start(segments.front().map_or(last + 1, |it| it.number)));
        let mut spool = Self {
            folder: folder.to_owned(),
            disk,
            limits,
            segments,
            active: None,
            sent,
            read: sent,
            next: last + 1,
            dropped: 0,
            unnoted: 0,
            buffer: Vec::new(),
            _lock: lock,
        };
        spool.remove_sent()?;
        if spool.records() > 0 {
            let (records, bytes) = (spool.records(), ByteSize(spool.bytes()).rounded());
            tracing::info!(records, "{bytes} of the call log wait in {} to be sent", folder.display());
        }
        Ok(spool)
    }
}

/// Reads a segment through, up to where it ends or is damaged.
fn survey(path: &Path, number: u64, noted: Option<Position>) -> io::Result<Found> {
    let length = path.metadata()?.len();
    let noted = noted.filter(|it| it.segment == number);
    let mut segment = Segment { number, end: 0, records: 0 };
    let mut walk = Walk::new(path, number, 0, length)?;
    let mut is_noted = false;
    loop {
        is_noted |= noted.is_some_and(|it| (it.offset, it.records) == (segment.end, segment.records));
        match walk.next()? {
            Next::Record(_) => {
                segment.records += 1;
                segment.end = walk.offset();
            }
            Next::End | Next::Damage => break,
        }
    }
    Ok(Found { segment, damaged: length - segment.end, noted: is_noted })
}

fn cut(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn tell(path: &Path, found: &Found, is_newest: bool) {
    let (path, bytes, at, records) =
        (path.display(), found.damaged, found.segment.end, found.segment.records);
    if is_newest {
        tracing::warn!(
            bytes,
            "the last {bytes} bytes of {path} are no whole record of the call log and are cut off, as after \
             a crash while they were written; the {records} before them are whole"
        );
    } else {
        tracing::error!(
            bytes,
            "{path} is damaged at byte {at}: the records of the call log in the {bytes} bytes behind that are \
             lost; the {records} before it are whole. Look whether the disk is failing"
        );
    }
}
