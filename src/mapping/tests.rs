//! Text and bodies, from the configuration's strings to the request.

use super::{expression::tests::World, *};
use crate::model::{Cell, Type};
use proptest::prelude::*;
use serde_json::{Value, json};

fn at() -> At {
    Locator::default().at("body")
}

fn text(template: &str, escape: Escape) -> Result<String, String> {
    let world = World::new();
    let mut out = String::new();
    let text = Text::parse(template, &at(), &World::names(), escape).map_err(|error| error.short())?;
    text.write(&world.scope(), &mut out).map_err(|error| error.short())?;
    Ok(out)
}

fn body(template: &Value) -> Result<String, MappingError> {
    let world = World::new();
    let mut out = b"before ".to_vec();
    let written = Json::parse(template, &at(), &World::names())?.write(&world.scope(), &mut out);
    let out = String::from_utf8(out).expect("JSON is UTF-8");
    let rest = out.strip_prefix("before ").expect("what was there stays").to_owned();
    assert!(written.is_ok() || rest.is_empty(), "a failed body leaves nothing behind: {rest}");
    written.map(|()| rest)
}

#[test]
fn text_takes_values_as_they_read() {
    for (template, expected) in [
        ("", ""),
        ("plain }} { text", "plain }} { text"),
        ("{{ row.id }}", "42"),
        ("a{{ row.id }}b{{ row.amount }}c", "a42b1234.505c"),
        ("{{ row.ok }} {{ row.rate }} {{ row.due }}", "true 0.1 2024-05-01"),
        ("{{ row.made }}", "2024-05-01T08:00:00.25Z"),
        ("{{ '{{' }}", "{{"),
        ("{{ row.status.lookup({'active': 'A'}, 'U') }}!", "A!"),
        ("{{ {'a': {'b': 'c'}}['a']['b'] }}", "c"),
        ("{{ row.tags.to_json() }}", "[\"a\",\"b\"]"),
    ] {
        assert_eq!(text(template, Escape::None).as_deref(), Ok(expected), "{template}");
    }
    for (template, expected) in [
        ("{{ row.nothing }}", "it is null"),
        ("{{ row.tags }}", "`to_json()`"),
        ("{{ row.notes }}", "not known"),
        ("{{ link.?other }}", "`.orValue(…)`"),
        ("x {{ row.id", "has no `}}`"),
        ("{{ }}", "empty"),
    ] {
        let error = text(template, Escape::None).expect_err(template);
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn only_values_are_escaped() {
    assert_eq!(text("/a b/{{ 'x/y z' }}?q=1", Escape::Path).as_deref(), Ok("/a b/x%2Fy%20z?q=1"));
    assert_eq!(text("a={{ 'x&y z' }}", Escape::Query).as_deref(), Ok("a=x%26y+z"));
}

#[test]
fn no_value_leads_to_another_path() {
    for path in ["/a/{{ '..' }}/b", "/a/{{ '.' }}", "/a/{{ '' }}.{{ '.' }}?x=1"] {
        let error = text(path, Escape::Path).expect_err(path);
        assert!(error.contains("another path"), "{error}");
    }
    assert_eq!(text("/a/{{ '...' }}?up={{ '..' }}", Escape::Path).as_deref(), Ok("/a/...?up=.."));
    assert_eq!(text("/a/{{ '../b' }}", Escape::Path).as_deref(), Ok("/a/..%2Fb"));
}

#[test]
fn constants_are_known_as_such() {
    let constant =
        |template| Text::parse(template, &at(), &World::names(), Escape::None).expect("text").is_constant();
    assert!(constant("/loans") && constant("") && constant("{{ '{{' }}"));
    assert!(!constant("/loans/{{ row.id }}"));
}

#[test]
fn a_body_keeps_its_shape_and_its_types() {
    let template = json!({
        "customer": "{{ row.id }}",
        "amount": "{{ row.amount.fixed(2) }}",
        "exact": "{{ row.long }}",
        "name": "{{ row.name }}",
        "label": "no. {{ row.id }}",
        "none": "{{ row.nothing }}",
        "tags": "{{ row.tags }}",
        "data": "{{ row.data }}",
        "fixed": { "a": [1, true, null, "x"] },
        "list": ["{{ row.ok }}", { "k\"ey": "{{ key }}" }],
        "maybe": "{{ link.?other }}",
        "notes": "{{ row.notes }}",
        "{{ row.id }}": 1.50,
    });
    let expected = concat!(
        r#"{"customer":42,"amount":1234.51,"exact":123456789012345678901234567890.12345,"#,
        r#""name":" Ann \"A\" ","label":"no. 42","none":null,"tags":["a","b"],"#,
        r#""data":{"a": {"b": 1.10}, "list": [1, "x", null], "big": 18446744073709551616},"#,
        r#""fixed":{"a":[1,true,null,"x"]},"list":[true,{"k\"ey":"42"}],"{{ row.id }}":1.5}"#,
    );
    assert_eq!(body(&template).expect("a body"), expected);
    assert_eq!(body(&json!("{{ row.tags }}")).expect("a body"), r#"["a","b"]"#);
    assert_eq!(body(&json!({ "notes": "{{ row.notes }}" })).expect("a body"), "{}");
    assert_eq!(
        body(&json!({ "notes": "{{ row.notes }}", "id": "{{ row.id }}" })).expect("a body"),
        r#"{"id":42}"#
    );
    assert_eq!(body(&json!([])).expect("a body"), "[]");
}

#[test]
fn an_unknown_value_is_left_out_of_objects_only() {
    for template in [
        json!(["{{ row.notes }}"]),
        json!("{{ row.notes }}"),
        json!({ "a": "{{ row.notes + '' }}" }),
        json!({ "a": "x {{ row.notes }}" }),
    ] {
        let error = body(&template).expect_err("unknown");
        assert_eq!(error.kind(), Kind::Unchanged, "{template}: {error}");
        let told = error.to_string();
        assert!(told.contains("replica identity full") && told.contains("fetch"), "{told}");
    }
}

#[test]
fn a_body_as_a_value_is_what_would_be_sent() {
    let world = World::new();
    let value =
        |template: Value| Json::parse(&template, &at(), &World::names()).expect("fine").value(&world.scope());
    assert_eq!(
        value(json!({ "a": "{{ row.id }}", "b": "{{ row.notes }}" })).ok(),
        Some(Some(json!({ "a": 42 })))
    );
    assert_eq!(value(json!("{{ row.notes }}")).ok(), Some(None));
    assert_eq!(
        value(json!("{{ answer.body.id }}")).ok().flatten().map(|it| it.to_string()).as_deref(),
        Some("12345678901234567890")
    );
    assert_eq!(value(json!("{{ link.?other }}")).ok(), Some(None));
    assert_eq!(value(json!("L{{ row.id }}")).ok(), Some(Some(json!("L42"))));
}

#[test]
fn an_error_names_the_entry_and_its_place_in_the_file() {
    let place = Place { file: "rowcall.yaml".into(), line: 31, column: 20 };
    let locator: Locator = [("entities.loan.body.lines[1].amount".to_owned(), place)].into_iter().collect();
    let template = json!({ "lines": [1, { "amount": "EUR {{ row.amout }}" }] });
    let error =
        Json::parse(&template, &locator.at("entities.loan.body"), &World::names()).expect_err("a typo");
    assert_eq!(
        error.to_string(),
        "entities.loan.body.lines[1].amount (rowcall.yaml:31:20): the table has no column `amout`; did you mean \
         `amount`?\n  | row.amout\n  |     ^^^^^"
    );
    assert!(!error.short().contains('\n'));
}

#[test]
fn a_column_that_vanished_is_named() {
    let mut world = World::new();
    let expression = Expression::parse("row.amount", &at(), &World::names()).expect("fine");
    world.row = Some(expression::tests::row(&[("amounts", Type::Int, Cell::Null)]));
    let error = expression.value(&world.scope()).expect_err("no such column");
    assert_eq!(error.kind(), Kind::UnknownName);
    assert!(
        error.short().contains("table public.loans has no column `amount`; did you mean `amounts`?"),
        "{error}"
    );
}

#[test]
fn a_whole_row_is_an_object_of_what_is_known() {
    let mut world = World::new();
    world.row = Some(expression::tests::row(&[
        ("id", Type::Int, Cell::Text("1")),
        ("x", Type::Text, Cell::Null),
        ("notes", Type::Text, Cell::Unchanged),
        ("tags", Type::Array { element: std::sync::Arc::new(Type::Int), delimiter: ',' }, Cell::Text("{1}")),
    ]));
    let mut out = Vec::new();
    let json = Json::parse(&json!({ "row": "{{ row }}", "n": "{{ size(row) }}" }), &at(), &World::names())
        .expect("fine");
    json.write(&world.scope(), &mut out).expect("a body");
    assert_eq!(String::from_utf8_lossy(&out), r#"{"row":{"id":1,"x":null,"tags":[1]},"n":3}"#);
}

proptest! {
    #[test]
    fn no_template_panics(text in r#"([a-z0-9 .()\[\]'"?:+*,<=!&|\\é-]|\{\{|\}\}|row\.|\{|\}){0,40}"#) {
        let world = World::new();
        if let Ok(text) = Text::parse(&text, &at(), &World::names(), Escape::Path) {
            let _ = text.write(&world.scope(), &mut String::new());
        }
        if let Ok(expression) = Expression::parse(&text, &at(), &World::names()) {
            let _ = expression.value(&world.scope()).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn a_literal_body_is_sent_as_it_is(text in "[^{]{0,20}", number in any::<i64>()) {
        let value = json!({ &text: [&text, number, null], "n": { "b": true } });
        let sent = body(&value).expect("a body");
        prop_assert_eq!(serde_json::from_str::<Value>(&sent).expect("JSON"), value);
    }
}
