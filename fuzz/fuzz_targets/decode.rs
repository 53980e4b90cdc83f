//! Whatever bytes arrive: a message or an error, never a panic, and a message can be walked
//! through to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowcall::capture::logical::{Message, Old, RawCell, Tuple, decode};

fuzz_target!(|bytes: &[u8]| {
    match decode(bytes) {
        Ok(Message::Insert { new, .. } | Message::Update { old: None, new, .. }) => walk(new, bytes),
        Ok(Message::Update { old: Some(old), new, .. }) => {
            walk(whole(old), bytes);
            walk(new, bytes);
        }
        Ok(Message::Delete { old, .. }) => walk(whole(old), bytes),
        Ok(Message::Truncate { tables, .. }) => assert!(tables.iter().count() * 4 <= bytes.len()),
        Ok(Message::Relation(relation)) => assert!(relation.columns.len() <= bytes.len()),
        Ok(_) | Err(_) => {}
    }
});

fn whole(old: Old<'_>) -> Tuple<'_> {
    match old {
        Old::Key(row) | Old::Full(row) => row,
    }
}

fn walk(row: Tuple<'_>, bytes: &[u8]) {
    let text = row.cells().map(|cell| if let RawCell::Text(text) = cell { text.len() } else { 0 });
    assert_eq!(text.sum::<usize>(), row.text());
    assert_eq!(row.cells().count(), row.columns());
    assert!(row.text() <= bytes.len());
}
