use super::*;
use crate::model::{Cell, Column, Op, Type};

/// Writes the stream the way the server does.
#[derive(Default)]
struct Stream {
    assembler: Option<Assembler>,
    batch: Batch,
}

const T: u32 = 10;
const UNROUTED: u32 = 11;

fn tuple(cells: &[&str]) -> Vec<u8> {
    let mut bytes = (cells.len() as u16).to_be_bytes().to_vec();
    for cell in cells {
        match *cell {
            "null" => bytes.push(b'n'),
            "unchanged" => bytes.push(b'u'),
            text => {
                bytes.push(b't');
                bytes.extend((text.len() as i32).to_be_bytes());
                bytes.extend(text.as_bytes());
            }
        }
    }
    bytes
}

impl Stream {
    /// With a table of three columns: `id`, which identifies, `a` and `b`.
    fn new() -> Self {
        let routed = |name: &TableName| &*name.name != "unrouted";
        let mut assembler = Assembler::new(Box::new(routed), "rowcall_s".to_owned());
        let column = |name: &str, identity| Column { name: name.into(), ty: Type::Text, identity };
        let columns = vec![column("id", true), column("a", false), column("b", false)];
        assembler.know(Table { id: TableId(T), name: "t".parse().expect("a name"), columns });
        let mut stream = Self { assembler: Some(assembler), batch: Batch::default() };
        let mut relation = vec![b'R'];
        relation.extend(UNROUTED.to_be_bytes());
        relation.extend(b"public\0unrouted\0d\0\0");
        assert!(stream.send(&relation).expect("a description").is_none());
        stream
    }

    fn send(&mut self, frame: &[u8]) -> Result<Option<Described>, DecodeError> {
        self.assembler.as_mut().expect("an assembler").apply(frame, &mut self.batch)
    }

    fn begin(&mut self, lsn: u64) {
        let mut frame = vec![b'B'];
        frame.extend(lsn.to_be_bytes());
        frame.extend([0; 12]);
        self.send(&frame).expect("a begin");
    }

    fn commit(&mut self, lsn: u64) {
        let mut frame = vec![b'C', 0];
        frame.extend(lsn.to_be_bytes());
        frame.extend((lsn + 1).to_be_bytes());
        frame.extend([0; 8]);
        self.send(&frame).expect("a commit");
    }

    fn row(&mut self, kind: u8, table: u32, parts: &[(u8, &[&str])]) -> Result<(), DecodeError> {
        let mut frame = vec![kind];
        frame.extend(table.to_be_bytes());
        for (marker, cells) in parts {
            frame.push(*marker);
            frame.extend(tuple(cells));
        }
        self.send(&frame).map(|described| assert!(described.is_none()))
    }

    fn insert(&mut self, table: u32) {
        self.row(b'I', table, &[(b'N', &["1", "x", "y"])]).expect("an insert");
    }

    fn changes(&mut self) -> Vec<Change> {
        let change = |item| if let Captured::Change(change) = item { Some(change) } else { None };
        std::mem::take(&mut self.batch.items).into_iter().filter_map(change).collect()
    }
}

fn cells(row: &Row) -> Vec<Cell<'_>> {
    row.cells().map(|(_, cell)| cell).collect()
}

#[test]
fn ordinals_count_every_row_routed_or_not() {
    let mut stream = Stream::new();
    stream.begin(100);
    stream.insert(T);
    stream.insert(UNROUTED);
    stream.insert(T);
    stream.row(b'D', T, &[(b'K', &["1", "null", "null"])]).expect("a delete");
    let mut truncate = b"T\0\0\0\x02\0".to_vec();
    truncate.extend(UNROUTED.to_be_bytes());
    truncate.extend(T.to_be_bytes());
    stream.send(&truncate).expect("a truncate");
    stream.commit(100);
    let ids: Vec<_> = stream.changes().iter().map(|it| (it.id.to_string(), it.op())).collect();
    let expected =
        [("0/64.0", Op::Insert), ("0/64.4", Op::Insert), ("0/64.6", Op::Delete), ("0/64.10", Op::Truncate)];
    assert_eq!(ids, expected.map(|(id, op)| (id.to_owned(), op)));
}

#[test]
fn a_batch_knows_what_its_changes_cost() {
    let mut stream = Stream::new();
    stream.begin(1);
    stream.insert(T);
    stream.insert(T);
    let bytes = stream.batch.bytes;
    assert_eq!(bytes, stream.changes().iter().map(Change::bytes).sum::<usize>());
}

#[test]
fn a_key_change_is_a_delete_and_an_insert_that_knows_what_the_old_row_knew() {
    let mut stream = Stream::new();
    stream.begin(7);
    let parts: [(u8, &[&str]); 2] = [(b'O', &["1", "large", "null"]), (b'N', &["2", "unchanged", "new"])];
    stream.row(b'U', T, &parts).expect("an update");
    let changes = stream.changes();
    let [
        Change { image: Image::Delete { old }, id: first, .. },
        Change { image: Image::Insert { new }, id: second, .. },
    ] = &changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!((first.ordinal, second.ordinal), (0, 1));
    assert_eq!(cells(old), [Cell::Text("1"), Cell::Text("large"), Cell::Null]);
    assert_eq!(cells(new), [Cell::Text("2"), Cell::Text("large"), Cell::Text("new")]);
}

#[test]
fn what_a_key_tuple_leaves_out_is_unknown_not_null() {
    let mut stream = Stream::new();
    stream.begin(7);
    let parts: [(u8, &[&str]); 2] = [(b'K', &["1", "null", "null"]), (b'N', &["2", "unchanged", "b"])];
    stream.row(b'U', T, &parts).expect("an update");
    stream.row(b'D', T, &[(b'K', &["2", "null", "null"])]).expect("a delete");
    let changes = stream.changes();
    assert_eq!(changes.len(), 3);
    let old = |at: usize| cells(changes[at].image.old().expect("an old row"));
    assert_eq!(old(0), [Cell::Text("1"), Cell::Unchanged, Cell::Unchanged]);
    assert_eq!(old(2), [Cell::Text("2"), Cell::Unchanged, Cell::Unchanged]);
    let new = changes[1].image.row().expect("a row");
    assert_eq!(cells(new), [Cell::Text("2"), Cell::Unchanged, Cell::Text("b")]);
}

#[test]
fn a_large_key_sent_along_without_having_changed_is_a_plain_update() {
    let mut stream = Stream::new();
    stream.begin(7);
    let parts: [(u8, &[&str]); 2] = [(b'K', &["long key", "null", "null"]), (b'N', &["unchanged", "x", "y"])];
    stream.row(b'U', T, &parts).expect("an update");
    let changes = stream.changes();
    let [Change { image: Image::Update { old: None, new }, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(cells(new), [Cell::Text("long key"), Cell::Text("x"), Cell::Text("y")]);
}

#[test]
fn under_full_identity_an_update_carries_its_whole_old_row() {
    let mut stream = Stream::new();
    stream.begin(7);
    let parts: [(u8, &[&str]); 2] = [(b'O', &["1", "a", "null"]), (b'N', &["1", "unchanged", "b"])];
    stream.row(b'U', T, &parts).expect("an update");
    let changes = stream.changes();
    let [Change { image: Image::Update { old: Some(old), new }, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(cells(old), [Cell::Text("1"), Cell::Text("a"), Cell::Null]);
    assert_eq!(cells(new), [Cell::Text("1"), Cell::Text("a"), Cell::Text("b")]);
}

#[test]
fn our_own_transactions_are_left_out_and_others_origins_kept() {
    let mut stream = Stream::new();
    for (lsn, origin) in [(1, "rowcall_s"), (2, "elsewhere")] {
        stream.begin(lsn);
        stream.send(&[&b"O\0\0\0\0\0\0\0\0"[..], origin.as_bytes(), b"\0"].concat()).expect("an origin");
        stream.insert(T);
        stream.commit(lsn);
    }
    let changes = stream.changes();
    assert_eq!(changes.iter().map(|it| it.id.commit.raw()).collect::<Vec<_>>(), [2]);
}

#[test]
fn transactions_without_routed_changes_collapse_to_one_idle_position() {
    let mut stream = Stream::new();
    for lsn in [10, 20, 30] {
        stream.begin(lsn);
        stream.insert(UNROUTED);
        stream.commit(lsn);
    }
    let assembler = stream.assembler.as_mut().expect("an assembler");
    assembler.pass(Lsn::new(25));
    assert!(stream.batch.items.is_empty());
    assert_eq!(assembler.take_idle(), Some(Lsn::new(31)));
    assert_eq!(assembler.take_idle(), None);
}

#[test]
fn no_idle_position_is_given_within_a_transaction_or_for_what_lies_before_a_commit() {
    let mut stream = Stream::new();
    stream.assembler.as_mut().expect("an assembler").pass(Lsn::new(5));
    stream.begin(10);
    stream.insert(T);
    let assembler = stream.assembler.as_mut().expect("an assembler");
    assembler.pass(Lsn::new(9));
    assert!(!assembler.is_idle() && assembler.take_idle().is_none());
    stream.commit(10);
    assert!(!stream.assembler.as_ref().expect("an assembler").is_idle(), "the commit covers it");
    assert!(matches!(stream.batch.items.last(), Some(Captured::Commit(commit)) if commit.end.raw() == 11));
}

fn message(flags: u8, prefix: &[u8], text: &[u8]) -> Vec<u8> {
    let length = (text.len() as u32).to_be_bytes();
    [&[b'M', flags][..], &[0; 8], prefix, &[0], &length, text].concat()
}

#[test]
fn a_mark_arrives_with_its_transactions_position_and_its_commit_follows() {
    let mut stream = Stream::new();
    for (lsn, origin) in [(10, false), (20, true)] {
        stream.begin(lsn);
        if origin {
            stream.send(b"O\0\0\0\0\0\0\0\0rowcall_s\0").expect("an origin");
        }
        stream.send(&message(1, b"rowcall", "é".as_bytes())).expect("a mark");
        stream.commit(lsn);
    }
    let told = |item: &Captured| match item {
        Captured::Mark(mark) => format!("{} at {}", mark.text, mark.commit),
        Captured::Commit(commit) => format!("commit {} to {}", commit.lsn, commit.end),
        other => format!("{other:?}"),
    };
    let told: Vec<_> = stream.batch.items.iter().map(told).collect();
    assert_eq!(told, ["é at 0/A", "commit 0/A to 0/B", "é at 0/14", "commit 0/14 to 0/15"]);
    assert_eq!(stream.batch.bytes, 0, "marks are not charged");
}

#[test]
fn messages_of_others_are_passed_over_whatever_they_hold() {
    let mut stream = Stream::new();
    let transactional = 1;
    stream.send(&message(0, b"rowcall", b"outside")).expect("not transactional");
    stream.begin(10);
    for prefix in ["rowcal", "rowcalls", "", "other"] {
        stream.send(&message(transactional, prefix.as_bytes(), b"x")).expect("another prefix");
    }
    stream.send(&message(transactional, b"\xff", b"\xff")).expect("not even text");
    stream.send(&message(transactional, b"rowcall", b"\xff")).expect("not a text of ours");
    stream.send(&message(0, b"rowcall", b"within, but not part of it")).expect("not transactional");
    stream.commit(10);
    assert!(stream.batch.items.is_empty());
    assert_eq!(stream.assembler.as_mut().expect("an assembler").take_idle(), Some(Lsn::new(11)));
    stream.send(&message(transactional, b"rowcall", b"x")).expect_err("a mark without its transaction");
}

#[test]
fn whatever_is_out_of_place_is_an_error() {
    let error = |prepare: fn(&mut Stream) -> Result<(), DecodeError>| {
        prepare(&mut Stream::new()).expect_err("out of place")
    };
    error(|it| it.row(b'I', T, &[(b'N', &["1", "2", "3"])]));
    error(|it| {
        it.begin(1);
        it.row(b'I', 99, &[(b'N', &["1", "2", "3"])])
    });
    error(|it| {
        it.begin(1);
        it.row(b'I', T, &[(b'N', &["1", "2"])])
    });
    error(|it| it.send(&[&b"C\0"[..], &[0; 24]].concat()).map(drop));
    error(|it| {
        it.begin(1);
        it.send(&[&b"B"[..], &[0; 20]].concat()).map(drop)
    });
    error(|it| {
        it.begin(1);
        it.send(b"I\0\0\0\x0aN\0\x03t\0\0\0\x01\xffnn").map(drop)
    });
}
