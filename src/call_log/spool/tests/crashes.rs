//! Whatever is left of the directory, what comes back was once put in, in order; and what was durable
//! comes back unless the disk lost it.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// So many records of such a size.
    Append(u64, usize),
    /// So many, and whether they count as sent.
    Read(usize, bool),
    /// The process dies while it writes a record; the cut says how much of that arrived.
    Die(u16),
    Stop,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1_u64..6, 0_usize..400).prop_map(|(count, size)| Act::Append(count, size)),
        3 => (0_usize..8, any::<bool>()).prop_map(|(count, sent)| Act::Read(count, sent)),
        1 => any::<u16>().prop_map(Act::Die),
        1 => Just(Act::Stop),
    ];
    prop::collection::vec(act, 1..40)
}

fn open(folder: &Path) -> Spool {
    Spool::open_on(Box::new(RealDisk), folder, limits(1 << 30, 1000, WhenFull::Block)).expect("a spool")
}

fn copy(from: &Path) -> TempDir {
    let to = folder();
    for entry in fs::read_dir(from).expect("a listing") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.path().join(path.file_name().expect("a name"))).expect("a copy");
    }
    to
}

fn newest(folder: &Path) -> Option<PathBuf> {
    segments(folder).last().map(|number| segment::path(folder, *number))
}

fn is_in_order(of: &[Line], all: &[Line]) -> bool {
    let mut rest = all.iter();
    of.iter().all(|line| rest.any(|it| it == line))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_durable_comes_back_in_order_after_any_crash(acts in acts()) {
        let mut folder = folder();
        let mut spool = open(folder.path());
        let mut put = Vec::new();
        let (mut sent, mut read) = (0, 0);
        for act in acts {
            match act {
                Act::Append(count, size) => {
                    let number = put.len() as u64;
                    let new: Vec<_> = (number..number + count).map(|number| line(number, size)).collect();
                    spool.append(&new, 0, Cap::Kept).expect("room");
                    put.extend(new);
                }
                Act::Read(count, is_sent) => {
                    let lines = spool.read(count, usize::MAX).expect("records");
                    prop_assert_eq!(&lines[..], &put[read..(read + count).min(put.len())]);
                    read += lines.len();
                    if is_sent {
                        spool.confirm().expect("a confirmation");
                        sent = read;
                    }
                }
                Act::Die(cut) => {
                    let copied = copy(folder.path());
                    let before = newest(folder.path()).map_or(0, |it| it.metadata().expect("it").len());
                    let newest_before = newest(folder.path());
                    spool.append(&[line(put.len() as u64, 300)], 0, Cap::Kept).expect("room");
                    let path = newest(folder.path()).expect("a segment");
                    let bytes = fs::read(&path).expect("a segment");
                    let from = if newest_before.as_ref() == Some(&path) { before as usize } else { 0 };
                    // Short of the whole record, which was not durable.
                    let until = from + usize::from(cut) % (bytes.len() - from);
                    let torn = copied.path().join(path.file_name().expect("a name"));
                    fs::write(torn, &bytes[..until]).expect("a torn segment");
                    drop(spool);
                    folder = copied;
                    spool = open(folder.path());
                    let left = usize::try_from(spool.records()).expect("a number");
                    prop_assert!(left <= put.len() && put.len() - left <= sent, "{left} of {}", put.len());
                    sent = put.len() - left;
                    read = sent;
                }
                Act::Stop => {
                    spool.close().expect("a note");
                    spool = open(folder.path());
                    read = sent;
                }
            }
            prop_assert_eq!(spool.records(), (put.len() - sent) as u64);
            prop_assert_eq!(spool.unread(), (put.len() - read) as u64);
        }
        prop_assert_eq!(&spool.read(usize::MAX, usize::MAX).expect("records")[..], &put[read..]);
    }

    #[test]
    fn a_newest_segment_that_is_cut_anywhere_ends_with_its_last_whole_record(
        sizes in prop::collection::vec(0_usize..300, 1..12), cut in any::<u16>(),
    ) {
        let folder = folder();
        let mut spool = open(folder.path());
        let put: Vec<_> = (0..).zip(&sizes).map(|(number, size)| line(number, *size)).collect();
        for line in &put {
            spool.append(std::slice::from_ref(line), 0, Cap::Kept).expect("room");
        }
        let copied = copy(folder.path());
        let path = newest(copied.path()).expect("a segment");
        let bytes = fs::read(&path).expect("a segment");
        let until = usize::from(cut) % (bytes.len() + 1);
        fs::write(&path, &bytes[..until]).expect("a cut segment");
        let newest = spool.segments.back().expect("a segment");
        let older = put.len() - usize::try_from(newest.records).expect("a number");
        let mut end = 0;
        let whole = put[older..].iter().take_while(|line| {
            end += frame::length(line);
            end <= until
        });
        let expected = older + whole.count();
        let mut spool = open(copied.path());
        prop_assert_eq!(&spool.read(usize::MAX, usize::MAX).expect("records")[..], &put[..expected]);
        // What comes after it is found behind it, by the next process too.
        spool.append(&[line(99, 5)], 0, Cap::Kept).expect("room");
        drop(spool);
        let left = open(copied.path()).read(usize::MAX, usize::MAX).expect("records");
        prop_assert_eq!(left.len(), expected + 1);
        prop_assert_eq!(left.last(), Some(&line(99, 5)));
    }

    #[test]
    fn damaged_bytes_invent_nothing_and_cost_only_their_segment(
        sizes in prop::collection::vec(0_usize..300, 1..16),
        read in 0_usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), 1_u8..), 1..5),
        // Before the directory is opened, or under the hands of the one who has it.
        reopened in any::<bool>(),
    ) {
        let folder = folder();
        let mut spool = open(folder.path());
        let put: Vec<_> = (0..).zip(&sizes).map(|(number, size)| line(number, *size)).collect();
        for line in &put {
            spool.append(std::slice::from_ref(line), 0, Cap::Kept).expect("room");
        }
        let known = spool.segments.clone();
        let read = spool.read(read, usize::MAX).expect("records").len();
        spool.confirm().expect("a confirmation");
        spool.note().expect("a note");
        let copied = copy(folder.path());
        let hit = if reopened { copied.path() } else { folder.path() };
        let mut damaged = Vec::new();
        for (file, at, bits) in damage {
            let mut files: Vec<_> = fs::read_dir(hit).expect("a listing").map(|it| it.expect("it").path()).collect();
            files.sort();
            let path = file.get(&files);
            let mut bytes = fs::read(path).expect("a file");
            if bytes.is_empty() {
                continue;
            }
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= bits;
            fs::write(path, bytes).expect("a damaged file");
            damaged.push(path.clone());
        }
        let mut spool = if reopened { open(copied.path()) } else { spool };
        let came = spool.read(usize::MAX, usize::MAX).expect("records");
        prop_assert!(is_in_order(&came, &put), "{:?}", ids(&came));
        let mut before = 0;
        for it in known {
            let range = before..before + usize::try_from(it.records).expect("a number");
            before = range.end;
            if !damaged.contains(&segment::path(hit, it.number)) {
                let whole = &put[range.start.max(read).min(range.end)..range.end];
                prop_assert!(is_in_order(whole, &came), "{:?} of segment {}", ids(&came), it.number);
            }
        }
        spool.append(&[line(99, 5)], 0, Cap::Kept).expect("room");
        prop_assert_eq!(spool.read(usize::MAX, usize::MAX).expect("records"), [line(99, 5)]);
    }
}
