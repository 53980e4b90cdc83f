//! What an `upsert` says of a row, and when that cannot be told.

use super::*;
use crate::model::ContentHash;

fn upsert(steps: Value) -> Value {
    json!({ "upsert": steps })
}

/// The row of the tests with other values.
fn with(changed: &[(&str, Cell<'_>)]) -> Row {
    let row = row();
    let mut builder = RowBuilder::default();
    for (column, cell) in row.cells() {
        let other = changed.iter().find(|(name, _)| *name == &*column.name);
        builder.push(other.map_or(cell, |(_, cell)| *cell));
    }
    builder.finish(row.table.clone())
}

fn hash_of(case: &Case, image: Image, fetched: Option<&Value>) -> Option<ContentHash> {
    let change = Change { image, ..case.change.clone() };
    let work = Work {
        change: &change,
        key: "7",
        link: case.link.as_ref(),
        fetched,
        parents: None,
        uncertain: false,
    };
    case.declared.content(&work, &[])
}

fn updated(case: &Case, changed: &[(&str, Cell<'_>)]) -> Option<ContentHash> {
    hash_of(case, Image::Update { old: None, new: with(changed) }, None)
}

/// A link without anything saved.
fn hash_when(linked: bool, steps: Value) -> Option<ContentHash> {
    let mut case = Case::new(upsert(steps), Op::Update);
    case.link = linked.then(Link::default);
    updated(&case, &[])
}

#[test]
fn what_is_created_is_not_what_is_updated_only_where_a_step_is_for_either() {
    let save = json!({ "id": "{{ answer.body.id }}" });
    for (steps, same) in [
        (
            json!([{ "put": "/loans/{{ row.id }}", "body": { "known": "{{ has(link.id) }}" }, "save": save }]),
            true,
        ),
        (
            json!([
                { "if": "{{ !has(link.id) }}", "post": "/loans", "body": { "id": "{{ row.id }}" }, "save": save },
                { "if": "{{ has(link.id) }}", "put": "/loans/{{ row.id }}", "body": { "id": "{{ row.id }}" } },
            ]),
            false,
        ),
    ] {
        let (created, updated) = (hash_when(false, steps.clone()), hash_when(true, steps));
        assert!(created.is_some() && updated.is_some());
        assert_eq!(created == updated, same);
    }
}

#[test]
fn only_what_is_read_counts_wherever_it_is_read() {
    let step = json!({
        "name": "put", "put": "/loans/{{ row.id }}",
        "if": "{{ row.months > 0 }}",
        "query": { "c": "{{ row.customer_id }}" },
        "headers": { "X-A": "{{ row.amount }}" },
        "accept": "{{ answer.body.ok == row.none }}",
        "body": { "list": ["{{ row.items.map(it, it.sku) }}", "x {{ row['empty'] }}"] },
    });
    let case = Case::new(upsert(json!([step])), Op::Update);
    let before = updated(&case, &[]).expect("a hash");
    for column in ["id", "months", "customer_id", "amount", "none", "items", "empty"] {
        assert_ne!(updated(&case, &[(column, Cell::Text("3"))]), Some(before), "{column}");
    }
    let narrow = Case::new(upsert(json!([{ "put": "/loans/{{ row.id }}" }])), Op::Update);
    let before = updated(&narrow, &[]);
    assert!(before.is_some());
    assert_eq!(updated(&narrow, &[("amount", Cell::Text("3"))]), before);
    assert_eq!(updated(&narrow, &[("amount", Cell::Unchanged)]), before);
}

#[test]
fn steps_below_others_count_too() {
    let lookup = json!({ "get": "/by/{{ row.amount }}", "save": { "id": "{{ row.months }}" } });
    let step = json!({
        "name": "put", "put": "/loans", "save": { "id": "{{ answer.body.id }}" }, "lookup": lookup,
        "for_each": "{{ row.items }}",
        "on": { "404": [{ "name": "deep", "post": "/loans/{{ row.customer_id }}" }] },
    });
    let case = Case::new(upsert(json!([step])), Op::Update);
    let before = updated(&case, &[]).expect("a hash");
    for column in ["amount", "months", "items", "customer_id"] {
        assert_ne!(updated(&case, &[(column, Cell::Text("3"))]), Some(before), "{column}");
    }
}

#[test]
fn a_row_used_as_a_whole_is_read_as_a_whole() {
    for body in ["{{ row }}", "{{ row[op] }}", "{{ row.exists(it, it == 'x') }}"] {
        let case = Case::new(upsert(json!([{ "post": "/loans", "body": body }])), Op::Update);
        let before = updated(&case, &[]).expect("a hash");
        assert_ne!(updated(&case, &[("months", Cell::Text("3"))]), Some(before), "{body}");
        assert_eq!(updated(&case, &[("months", Cell::Unchanged)]), None, "{body}");
    }
}

#[test]
fn values_are_not_taken_for_each_other() {
    let body = json!({ "a": "{{ row.amount }}", "b": "{{ row.empty }}" });
    let case = Case::new(upsert(json!([{ "post": "/loans", "body": body }])), Op::Update);
    let pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("n", "\""), ("\"", "n")];
    let mut hashes: Vec<_> = pairs
        .iter()
        .map(|(a, b)| updated(&case, &[("amount", Cell::Text(a)), ("empty", Cell::Text(b))]))
        .collect();
    hashes.push(updated(&case, &[("amount", Cell::Null), ("empty", Cell::Text("abc"))]));
    hashes.push(updated(&case, &[("amount", Cell::Text("abc")), ("empty", Cell::Null)]));
    for (at, hash) in hashes.iter().enumerate() {
        assert!(hash.is_some() && !hashes[..at].contains(hash), "{at}");
    }
}

#[test]
fn the_same_text_in_a_column_of_another_type_says_something_else() {
    let case = Case::new(upsert(json!([{ "post": "/loans", "body": "{{ row.months }}" }])), Op::Update);
    let mut table = Table { id: TableId(1), name: "loans".parse().expect("a name"), columns: vec![] };
    let mut hashes = Vec::new();
    for ty in [Type::Int, Type::Text] {
        table.columns = vec![Column { name: "months".into(), ty, identity: false }];
        let mut builder = RowBuilder::default();
        builder.push(Cell::Text("7"));
        let table = Table { id: table.id, name: table.name.clone(), columns: table.columns.clone() };
        let new = builder.finish(Arc::new(table));
        hashes.push(hash_of(&case, Image::Update { old: None, new }, None).expect("a hash"));
    }
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_value_that_postgres_did_not_send_cannot_be_compared() {
    let case =
        Case::new(upsert(json!([{ "post": "/loans", "body": { "a": "{{ row.amount }}" } }])), Op::Update);
    assert_eq!(updated(&case, &[("amount", Cell::Unchanged)]), None);
    assert!(updated(&case, &[("months", Cell::Unchanged)]).is_some());
}

#[test]
fn the_row_before_and_what_happened_count_where_they_are_read() {
    let plain = Case::new(upsert(json!([{ "post": "/loans", "body": "{{ row.id }}" }])), Op::Update);
    let all = Case::new(
        upsert(json!([{ "post": "/loans", "body": ["{{ op }}", "{{ old.?amount.orValue('') }}"] }])),
        Op::Update,
    );
    let images = [
        Image::Insert { new: row() },
        Image::Read { new: row() },
        Image::Update { old: None, new: row() },
        Image::Update { old: Some(row()), new: row() },
        Image::Update { old: Some(with(&[("amount", Cell::Text("9"))])), new: row() },
    ];
    let mut seen = Vec::new();
    for image in images {
        assert_eq!(hash_of(&plain, image.clone(), None), updated(&plain, &[]));
        let hash = hash_of(&all, image, None);
        assert!(hash.is_some() && !seen.contains(&hash));
        seen.push(hash);
    }
}

#[test]
fn a_change_that_tells_its_id_is_never_the_same() {
    let case = Case::new(upsert(json!([{ "post": "/loans", "body": "{{ change.id }}" }])), Op::Update);
    assert_eq!(updated(&case, &[]), None);
}

#[test]
fn what_was_fetched_counts_as_far_as_it_is_read() {
    let sequences: Sequences = serde_json::from_value(upsert(json!([{
        "post": "/loans", "body": "{{ fetched.total }}"
    }])))
    .expect("well-formed settings");
    let declared = Declared::new(&Declaration {
        entity: "loan",
        sequences: &sequences,
        settings: &Value::Null,
        when: None,
        validate: &[],
        rules: &[],
        always: false,
        at: Locator::default().at("entities.loan"),
        columns: None,
        batched: false,
        fetched: true,
        parents: [].into(),
    })
    .unwrap_or_else(|errors| panic!("{errors:?}"));
    let case = Case { declared, ..Case::new(loan(), Op::Update) };
    let hash = |fetched: Value| hash_of(&case, Image::Read { new: row() }, Some(&fetched));
    let before = hash(json!({ "total": [1, { "a": 2.50 }], "at": "now" }));
    assert!(before.is_some());
    assert_eq!(hash(json!({ "total": [1, { "a": 2.50 }], "at": "then" })), before);
    for other in [json!([1, { "a": 2.51 }]), json!([1, "a"]), json!(null), json!([[1], { "a": 2.50 }])] {
        assert_ne!(hash(json!({ "total": other })), before);
    }
    assert_ne!(hash_of(&case, Image::Read { new: row() }, None), before);
}

#[test]
fn another_configuration_says_something_else() {
    let one = Case::new(upsert(json!([{ "post": "/loans", "body": { "a": "{{ row.id }}" } }])), Op::Update);
    let two = Case::new(upsert(json!([{ "post": "/loans", "body": { "b": "{{ row.id }}" } }])), Op::Update);
    assert_ne!(updated(&one, &[]), updated(&two, &[]));
}

#[test]
fn only_upsert_is_compared() {
    let steps = json!([{ "post": "/loans", "body": "{{ row.id }}" }]);
    let all = json!({ "upsert": steps, "insert": steps, "delete": steps, "truncate": [{ "post": "/x" }] });
    let case = Case::new(all, Op::Update);
    assert!(updated(&case, &[]).is_some());
    assert!(hash_of(&case, Image::Read { new: row() }, None).is_some());
    for image in [Image::Insert { new: row() }, Image::Delete { old: row() }, Image::Truncate] {
        assert_eq!(hash_of(&case, image, None), None);
    }
    let case = Case::new(json!({ "update": steps }), Op::Update);
    assert_eq!(updated(&case, &[]), None);
}

#[test]
fn what_a_lookup_found_may_have_other_values() {
    let case = Case::new(loan(), Op::Update);
    let work =
        Work { change: &case.change, key: "7", link: None, fetched: None, parents: None, uncertain: false };
    let content = |steps: &[&str]| {
        let answers: Vec<_> = steps.iter().map(|step| answered(step, 200, json!({}))).collect();
        case.declared.content(&work, &answers)
    };
    assert!(content(&["create", "update#2", "item[0]"]).is_some());
    for lookup in ["create.lookup", "item[0].lookup#2"] {
        assert_eq!(content(&["update", lookup]), None, "{lookup}");
    }
}
