//! Records that wait on disk, in the order they came, until they have been sent.
//!
//! Upholds invariant 6 across crashes: what [`Spool::append`] took is durable, and comes again until it
//! has been sent and that is noted. A record that was sent before a crash may come once more; its id
//! makes that harmless.
//!
//! A directory of segments, files to which records are only ever added. Each is written to until it has
//! its size, read in order, and removed once all of it was sent; so space is given back segment by
//! segment, and `drop_oldest` drops whole ones. An append is one write and one `fdatasync` for all its
//! records, and lies in one segment: it is durable as a whole or not at all. After one that failed the
//! segment is closed at its last whole record, since nobody can say what the system kept of the rest.
//!
//! Behind a damaged record nothing in its segment can be trusted, not even where the next one begins: it
//! goes on with the next segment. At the end of the newest one that is what a crash leaves, and is cut.
//!
//! Everything here blocks: it is not for the threads of the runtime. Nothing here waits or reads a
//! clock.

mod cursor;
mod disk;
mod error;
mod frame;
mod lock;
mod open;
mod segment;
mod settings;
mod walk;

#[cfg(test)]
pub(super) mod tests;

pub use error::SpoolError;
pub use settings::{SpoolSettings, WhenFull};

use super::Line;
use crate::model::ByteSize;
use cursor::Position;
use disk::{Disk, RealDisk, SegmentFile};
use lock::Lock;
use segment::Segment;
use std::{collections::VecDeque, io, mem, path::PathBuf};
use walk::{Next, Walk};

/// How many records are sent before that is noted on disk.
const NOTED_EVERY: u64 = 4096;
/// Into how many segments the space is cut, where that makes neither tiny nor huge ones.
const SEGMENTS: u64 = 16;
/// An append of more than that brings nothing.
const APPEND: u64 = 4 << 20;

/// Whether an append keeps to the size that was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// It does.
    Kept,
    /// It may be passed: there will be no other chance.
    Passed,
}

/// How much may lie there, and what happens then.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max: u64,
    segment: u64,
    when_full: WhenFull,
}

/// The records in a directory.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    disk: Box<dyn Disk>,
    limits: Limits,
    /// The oldest first. None is without records, except for the one that is being written.
    segments: VecDeque<Segment>,
    /// The newest segment, as long as it is written to.
    active: Option<Box<dyn SegmentFile>>,
    /// Up to where everything has been sent.
    sent: Position,
    /// Up to where everything has been read, to be sent.
    read: Position,
    /// The number of the next segment.
    next: u64,
    dropped: u64,
    /// How many were sent since that was noted.
    unnoted: u64,
    buffer: Vec<u8>,
    _lock: Lock,
}

impl Spool {
    /// Takes the directory for itself, and reads and checks all that lies in it.
    pub fn open(settings: &SpoolSettings) -> Result<Self, SpoolError> {
        let max = settings.max.0;
        let segment = (max / SEGMENTS).clamp(16 << 10, 64 << 20);
        let limits = Limits { max, segment, when_full: settings.when_full };
        Self::open_on(Box::new(RealDisk), &settings.path, limits)
    }

    /// What happens when it is full.
    pub fn when_full(&self) -> WhenFull {
        self.limits.when_full
    }

    /// How many bytes of records make a good append.
    pub fn append_size(&self) -> usize {
        usize::try_from(self.limits.segment.min(APPEND)).unwrap_or(usize::MAX)
    }

    /// How many records are not known to be sent.
    pub fn records(&self) -> u64 {
        segment::behind(&self.segments, self.sent)
    }

    /// How many records have not been read yet.
    pub fn unread(&self) -> u64 {
        segment::behind(&self.segments, self.read)
    }

    /// How much lies there, sent or not.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|it| it.end).sum()
    }

    /// How many records were dropped or lost, since it was opened.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds records, the first `read` of which are being sent already: they are not read again by this
    /// process. There may be such only where nothing else is unread. `Ok` means that all are durable,
    /// otherwise none is there.
    pub fn append(&mut self, lines: &[Line], read: usize, cap: Cap) -> Result<(), SpoolError> {
        debug_assert!(read == 0 || self.unread() == 0, "what is older has not been read");
        if lines.is_empty() {
            return Ok(());
        }
        while let Err(error) = self.write(lines, cap) {
            if !(error.is_full() && self.limits.when_full == WhenFull::DropOldest && self.drop_oldest()?) {
                return Err(error);
            }
        }
        if let Some(segment) = self.segments.back().filter(|_| read > 0) {
            let unread: usize = lines[read..].iter().map(frame::length).sum();
            self.read = Position {
                segment: segment.number,
                offset: segment.end - unread as u64,
                records: segment.records - (lines.len() - read) as u64,
            };
        }
        Ok(())
    }

    fn write(&mut self, lines: &[Line], cap: Cap) -> Result<(), SpoolError> {
        let size = lines.iter().map(frame::length).sum::<usize>() as u64;
        let bytes = self.bytes();
        // A record that is larger than all there may be goes alone, rather than never.
        if cap == Cap::Kept && bytes > 0 && bytes + size > self.limits.max {
            let max = ByteSize(self.limits.max);
            return Err(SpoolError::Full { path: self.folder.clone(), max });
        }
        let is_there = self.segments.back().is_some_and(|it| it.end + size <= self.limits.segment);
        if self.active.is_none() || !is_there {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&mut self.active, self.segments.back_mut()) else {
            return Ok(()); // One has just been made.
        };
        let mut buffer = mem::take(&mut self.buffer);
        for line in lines {
            frame::write(&mut buffer, segment.number, segment.end, line);
        }
        let written = file.write_at(&buffer, segment.end).and_then(|()| file.sync());
        buffer.clear();
        buffer.shrink_to(2 * self.append_size());
        self.buffer = buffer;
        if let Err(cause) = written {
            return Err(self.give_up_segment(cause));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.end += size;
            segment.records += lines.len() as u64;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let (number, path) = (self.next, segment::path(&self.folder, self.next));
        self.next += 1;
        self.active = None;
        let made = self.disk.create(&path).map_err(|cause| self.failed("making", path, cause));
        if made.is_err() {
            // It may be there without its name being durable.
            let _ = segment::remove(&self.folder, number);
        }
        self.active = Some(made?);
        self.segments.push_back(Segment { number, end: 0, records: 0 });
        Ok(())
    }

    /// Closes the segment at its last durable record, after a write that failed.
    fn give_up_segment(&mut self, cause: io::Error) -> SpoolError {
        let (Some(mut file), Some(segment)) = (self.active.take(), self.segments.back().copied()) else {
            return self.failed("writing", self.folder.clone(), cause);
        };
        if segment.records == 0 {
            self.segments.pop_back();
            let _ = segment::remove(&self.folder, segment.number);
        } else if let Err(error) = file.cut(segment.end) {
            // Nothing behind the end is read by this process. Another one will find no record there.
            tracing::debug!(%error, "the rest of a failed write stays in the call log's spool");
        }
        self.failed("writing", segment::path(&self.folder, segment.number), cause)
    }

    fn failed(&self, doing: &'static str, path: PathBuf, cause: io::Error) -> SpoolError {
        if disk::is_full(&cause) {
            return SpoolError::DiskFull { path: self.folder.clone(), cause };
        }
        SpoolError::Io { doing, path, cause }
    }

    /// The next records, the oldest first: up to so many, and no more once they have so many bytes.
    /// They count as sent only with [`Self::confirm`].
    pub fn read(&mut self, records: usize, bytes: usize) -> Result<Vec<Line>, SpoolError> {
        let mut lines = Vec::new();
        let mut length = 0;
        while let Some(segment) = self.segments.iter().find(|it| segment::before(it, self.read) < it.records)
        {
            let segment = *segment;
            if segment.number != self.read.segment {
                self.read = Position::start(segment.number);
            }
            let path = segment::path(&self.folder, segment.number);
            let walk = Walk::new(&path, segment.number, self.read.offset, segment.end);
            let mut walk = match walk {
                Ok(walk) => walk,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.skip_damage(segment);
                    continue;
                }
                Err(cause) => return Err(SpoolError::Unreadable { path, cause }),
            };
            loop {
                if lines.len() >= records || length >= bytes {
                    return Ok(lines);
                }
                let next = walk.next().map_err(|cause| SpoolError::Unreadable { path: path.clone(), cause });
                let line = match next {
                    Ok(Next::Record(frame)) => frame::line(&frame),
                    Ok(Next::End) => break,
                    Ok(Next::Damage) => None,
                    // What was read before is not lost; the error comes again.
                    Err(_) if !lines.is_empty() => return Ok(lines),
                    Err(error) => return Err(error),
                };
                let Some(line) = line else {
                    self.skip_damage(segment);
                    break;
                };
                length += frame::length(&line);
                lines.push(line);
                self.read.offset = walk.offset();
                self.read.records += 1;
            }
        }
        Ok(lines)
    }

    /// Goes on behind the segment that is being read.
    fn skip_damage(&mut self, segment: Segment) {
        let lost = segment.records - self.read.records;
        self.dropped += lost;
        tracing::error!(
            lost,
            "{} is damaged at byte {}, or gone: {lost} records of the call log that lay behind that are lost. \
             Look whether the disk is failing",
            segment::path(&self.folder, segment.number).display(),
            self.read.offset
        );
        if self.segments.back().is_some_and(|it| it.number == segment.number) {
            self.active = None;
        }
        if let Some(known) = self.segments.iter_mut().find(|it| it.number == segment.number) {
            (known.records, known.end) = (self.read.records, self.read.offset);
        }
        self.read = Position::start(segment.number + 1);
    }

    /// Everything that was read has been sent.
    pub fn confirm(&mut self) -> Result<(), SpoolError> {
        let before = self.records();
        self.sent = self.read;
        self.unnoted += before - self.records();
        self.remove_sent()?;
        if self.unnoted >= NOTED_EVERY { self.note() } else { Ok(()) }
    }

    fn remove_sent(&mut self) -> Result<(), SpoolError> {
        while let Some(oldest) = self.segments.front().copied() {
            if segment::before(&oldest, self.sent) < oldest.records {
                break;
            }
            segment::remove(&self.folder, oldest.number)?;
            self.forget_oldest();
        }
        Ok(())
    }

    fn forget_oldest(&mut self) {
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.active = None;
        }
    }

    /// Drops the oldest segment, and says whether there was one. What has been read of it is not lost.
    fn drop_oldest(&mut self) -> Result<bool, SpoolError> {
        let Some(oldest) = self.segments.front().copied() else { return Ok(false) };
        segment::remove(&self.folder, oldest.number)?;
        self.dropped += oldest.records - segment::before(&oldest, self.read);
        self.forget_oldest();
        Ok(true)
    }

    fn note(&mut self) -> Result<(), SpoolError> {
        let noted = cursor::note(&self.folder, self.sent);
        noted.map_err(|cause| self.failed("noting what was sent in", self.folder.clone(), cause))?;
        self.unnoted = 0;
        Ok(())
    }

    /// Notes what was sent, and leaves the directory to others.
    pub fn close(mut self) -> Result<(), SpoolError> {
        if self.unnoted > 0 { self.note() } else { Ok(()) }
    }
}
