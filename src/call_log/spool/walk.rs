use super::frame::{self, Frame};
use bytes::{Bytes, BytesMut};
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// So much is read at once.
const CHUNK: usize = 1 << 20;

/// Reads the records of a segment, one after the other.
pub(super) struct Walk {
    file: File,
    segment: u64,
    /// Where the next record begins.
    offset: u64,
    /// Where the last one ends.
    end: u64,
    /// What has been read from `offset` on.
    ahead: Bytes,
}

/// What comes next in a segment.
pub(super) enum Next {
    Record(Bytes),
    /// The segment's end.
    End,
    /// No record, though there should be one.
    Damage,
}

impl Walk {
    pub(super) fn new(path: &Path, segment: u64, offset: u64, end: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, segment, offset, end, ahead: Bytes::new() })
    }

    /// Where the next record begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        if self.offset >= self.end {
            return Ok(Next::End);
        }
        loop {
            match frame::look(&self.ahead, self.segment, self.offset) {
                Frame::Whole(length) => {
                    self.offset += length as u64;
                    return Ok(Next::Record(self.ahead.split_to(length)));
                }
                Frame::Bad => return Ok(Next::Damage),
                // A length that is damaged may ask for anything; no more is read than there is.
                Frame::Short(needs) if needs as u64 > self.end - self.offset => return Ok(Next::Damage),
                Frame::Short(needs) => {
                    let there = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
                    let mut chunk = BytesMut::zeroed(needs.max(CHUNK).min(there));
                    match self.file.read_exact_at(&mut chunk, self.offset) {
                        Ok(()) => self.ahead = chunk.freeze(),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            return Ok(Next::Damage);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}
