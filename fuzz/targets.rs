//! What must hold for any bytes. `tests/fuzz.rs` runs it for a moment on every machine, `cargo fuzz` for as
//! long as one likes.

use jiff::Timestamp;
use rowcall::{
    capture::logical::{self, Message, Old, RawCell, Tuple},
    config,
    mapping::{Expression, Locator, Names, Scope},
    model::{ChangeId, Op},
};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A message or an error, never a panic, and a message can be walked through to its end.
pub fn decode(bytes: &[u8]) {
    match logical::decode(bytes) {
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
}

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

/// What is accepted can be evaluated, over whatever values, and says the same twice.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names = Names { columns: None, ..Names::default() }.with_item().with_saved(["loan_id", "list"]);
    let Ok(expression) = Expression::parse(text, &Locator::default().at("body"), &names) else { return };
    let mut saved = Map::new();
    saved.insert("loan_id".to_owned(), json!("L169"));
    saved.insert("list".to_owned(), json!([1, 2.5, "x", null, true, { "a": [] }]));
    for item in [
        Value::Null,
        json!(-7),
        json!("ünï"),
        json!([[], "a", 9223372036854775807_i64]),
        json!({ "a": 1e300 }),
    ] {
        let scope = Scope {
            row: None,
            old: None,
            op: Op::Insert,
            key: "1,x",
            link: Some(&saved),
            fetched: None,
            parents: None,
            change: ChangeId::default(),
            committed_at: Timestamp::UNIX_EPOCH,
            saved: &saved,
            answers: &[],
            answer: None,
            item: Some(&item),
            outcome: None,
            members: None,
            index: None,
            body: None,
        };
        let told =
            |result: Result<_, rowcall::mapping::MappingError>| result.map_err(|error| error.to_string());
        assert_eq!(told(expression.value(&scope)), told(expression.value(&scope)), "{text}");
        let _ = (expression.truth(&scope), expression.list(&scope));
    }
}

/// A configuration or errors that name a line of it, never a panic.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (!name.ends_with("_UNSET")).then(|| "postgres://me@localhost/x".to_owned());
    if let Err(error) = config::load_text("fuzzed.yaml", text, Path::new("/nonexistent"), &env) {
        assert!(!error.to_string().is_empty(), "an error without words for:\n{text}");
    }
}
