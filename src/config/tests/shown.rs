//! What `config show` prints.

use super::{super::*, GOOD, read_text};
use proptest::prelude::*;

#[test]
fn the_configuration_in_effect_shows_defaults_and_no_secrets() {
    let text = GOOD
        .replace("timeout: 10s", "headers: { X-Key: hunter2 }")
        .replace("zip: \"0815\"", "api_key: hunter2, token: \"{{ row.token }}\"");
    let loaded = read_text(&text).unwrap_or_else(|error| panic!("{error}"));
    let shown = show(&loaded);
    assert!(!shown.contains("hunter2") && !shown.contains("0123456"), "{shown}");
    insta::with_settings!({ snapshot_path => "messages", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("show", shown);
    });
    // What is shown is a configuration again, but for its secrets.
    let again = shown.replace("url: \"***\"", "url: postgres://app@db/bank");
    let again = read_text(&again).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(show(&again), shown);
}

/// The value of a tree without a schema.
fn free(node: &Node) -> Value {
    match &node.kind {
        tree::Kind::Scalar(it) if it.style == tree::Style::Plain => {
            resolve::resolve(&it.text).expect("a value")
        }
        tree::Kind::Scalar(it) => it.text.replace("$${", "${").into(),
        tree::Kind::List(items) => items.iter().map(free).collect(),
        tree::Kind::Map(entries) => entries.iter().map(|it| (it.key.clone(), free(&it.value))).collect(),
    }
}

fn json() -> impl Strategy<Value = Value> {
    let text = || {
        prop_oneof![
            any::<String>(),
            "[ -~]{0,9}",
            prop::sample::select(vec!["null", "007", "1e3", "- a", "a: b", "${A}", "", "yes", "#"])
                .prop_map(str::to_owned)
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_as_yaml_reads_back_the_same(value in json()) {
        let mut text = String::new();
        show::block(&value, 0, &mut text);
        let (tree, _) = parse::parse(&text).map_err(|it| TestCaseError::fail(format!("{it:?}\n{text}")))?;
        prop_assert_eq!(free(&tree), value, "{}", text);
    }
}
