//! How a record lies in a segment: length, checksum, and then the lengths of id and route, id, route
//! and JSON. All numbers are little-endian.
//!
//! The checksum is seeded with the place, so that bytes which belong elsewhere, such as those of a file
//! that was there before, are no record.

use crate::call_log::Line;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Length (4) and checksum (8) of what follows.
const HEAD: usize = 12;
/// The lengths of id (4) and route (4).
const PARTS: usize = 8;

/// What is found at a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record that takes so many bytes.
    Whole(usize),
    /// So many bytes are needed to tell.
    Short(usize),
    /// No record.
    Bad,
}

/// How many bytes a record takes.
pub(super) fn length(line: &Line) -> usize {
    HEAD + PARTS + line.text().len()
}

/// Writes a record behind the others; `into` will lie at `base` of its segment.
pub(super) fn write(into: &mut Vec<u8>, segment: u64, base: u64, line: &Line) {
    let start = into.len();
    let offset = base + start as u64;
    into.extend_from_slice(&[0; HEAD]);
    for part in [line.id().len(), line.route().len()] {
        into.extend_from_slice(&short(part).to_le_bytes());
    }
    into.extend_from_slice(line.text());
    let content = &into[start + HEAD..];
    let (length, sum) = (short(content.len()), sum(content, segment, offset));
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
    into[start + 4..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// What these bytes, which lie at this place, begin with.
pub(super) fn look(bytes: &[u8], segment: u64, offset: u64) -> Frame {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Frame::Short(HEAD) };
    let Some((expected, rest)) = rest.split_first_chunk::<8>() else { return Frame::Short(HEAD) };
    let length = u32::from_le_bytes(*length) as usize;
    if length < PARTS {
        return Frame::Bad;
    }
    let Some(content) = rest.get(..length) else { return Frame::Short(HEAD + length) };
    if sum(content, segment, offset) == u64::from_le_bytes(*expected) {
        Frame::Whole(HEAD + length)
    } else {
        Frame::Bad
    }
}

/// The record of a whole frame. It shares its bytes.
pub(super) fn line(frame: &Bytes) -> Option<Line> {
    let (id, rest) = frame.get(HEAD..)?.split_first_chunk::<4>()?;
    let (route, _) = rest.split_first_chunk::<4>()?;
    let [id, route] = [*id, *route].map(|it| u32::from_le_bytes(it) as usize);
    Line::within(frame.slice(HEAD + PARTS..), id, route)
}

/// A record is far shorter than what four bytes can say; were it not, its checksum would not match.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn sum(content: &[u8], segment: u64, offset: u64) -> u64 {
    xxh3_64_with_seed(content, segment.rotate_left(40) ^ offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Line {
        Line::new("a#1", "loans", br#"{"id":"a#1"}"#)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut bytes = vec![7; 5];
        write(&mut bytes, 3, 100, &example());
        let frame = Bytes::from(bytes).slice(5..);
        assert_eq!(look(&frame, 3, 105), Frame::Whole(length(&example())));
        assert_eq!(line(&frame), Some(example()));
    }

    #[test]
    fn a_record_at_another_place_is_none() {
        let mut bytes = Vec::new();
        write(&mut bytes, 3, 100, &example());
        for (segment, offset) in [(3, 101), (4, 100), (0, 0)] {
            assert_eq!(look(&bytes, segment, offset), Frame::Bad);
        }
    }

    #[test]
    fn a_cut_record_is_short_and_zeros_are_none() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, 0, &example());
        for cut in 0..bytes.len() {
            assert!(matches!(look(&bytes[..cut], 1, 0), Frame::Short(needs) if needs > cut), "cut at {cut}");
        }
        assert_eq!(look(&[0; 64], 1, 0), Frame::Bad);
    }
}
