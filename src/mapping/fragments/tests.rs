use super::*;
use crate::mapping::{Escape, Evaluated, Expression, Locator, Names, Reads, Text, expression::tests::World};
use proptest::prelude::*;
use serde_json::json;

fn fragments(layers: &[Value]) -> Result<Fragments, Vec<String>> {
    let layers: Vec<BTreeMap<String, Value>> =
        layers.iter().map(|it| serde_json::from_value(it.clone()).expect("an object")).collect();
    let at = |index: usize| Locator::default().at(format!("rules{index}"));
    Fragments::new(layers.iter().enumerate().map(|(index, layer)| (layer, at(index))))
        .map_err(|errors| errors.iter().map(MappingError::short).collect())
}

fn names(all: Value) -> Names {
    World::names().with_fragments(fragments(&[all]).unwrap_or_else(|errors| panic!("{errors:#?}")))
}

fn at() -> At {
    Locator::default().at("here")
}

/// What an expression comes to among these fragments.
fn value(all: Value, text: &str) -> Result<String, String> {
    let expression =
        Expression::parse(text, &at(), &names(all)).map_err(|error| format!("load: {}", error.short()))?;
    match expression.value(&World::new().scope()) {
        Ok(Evaluated::Value(value)) => Ok(value.to_string()),
        Ok(Evaluated::Unchanged) => Ok("unchanged".to_owned()),
        Err(error) => Err(error.short()),
    }
}

fn body(all: Value, template: &Value) -> Result<String, String> {
    let json =
        Json::parse(template, &at(), &names(all)).map_err(|error| format!("load: {}", error.short()))?;
    let mut out = Vec::new();
    json.write(&World::new().scope(), &mut out).map_err(|error| error.short())?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

fn shared() -> Value {
    // Written with a last zero, which is kept.
    let exact = |text: &str| serde_json::from_str::<Value>(text).expect("a number");
    json!({
        "amount": "{{ row.amount }}",
        "twice": "{{ fragment.amount + fragment.amount }}",
        "phone": "{{ row.phone.phone() }}",
        "address": { "phone": "{{ fragment.phone }}", "tags": ["{{ row.tags[0] }}", exact("1.50")], "notes": "{{ row.notes }}" },
        "label": "no. {{ row.id }} ({{ row.status }})",
        "notes": "{{ row.notes }}",
        "maybe": "{{ row.data.?nothing }}",
        "fixed": { "a": [1, null] },
        "number": exact("12.50"),
        "item": "{{ item.n }}",
        "foreign": "{{ row.no_such_column }}",
        "broken": "{{ row.bad }}",
        "outer": "{{ fragment.broken }}",
    })
}

#[test]
fn a_fragment_has_the_type_of_what_it_stands_for() {
    for (text, expected) in [
        ("fragment.amount", "1234.505"),
        ("fragment.twice", "2469.010"),
        ("fragment.amount.fixed(2)", "1234.51"),
        ("fragment['phone']", "\"+49301234567\""),
        ("fragment.address", r#"{"phone":"+49301234567","tags":["a",1.50]}"#),
        ("fragment.address.tags[1]", "1.50"),
        ("fragment.label", "\"no. 42 (active)\""),
        ("fragment.fixed.a", "[1,null]"),
        ("fragment.number", "12.50"),
        ("fragment.notes", "unchanged"),
        ("fragment.maybe.orValue('none')", "\"none\""),
        ("fragment.item", "1"),
        ("row.tags.map(t, t + fragment.label)", r#"["ano. 42 (active)","bno. 42 (active)"]"#),
        // A loop's own name hides it, and what a fragment says does not see the loop's.
        ("row.data.list.map(fragment, 1)", "[1,1,1]"),
    ] {
        assert_eq!(value(shared(), text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn in_a_body_a_fragment_is_written_as_if_it_stood_there() {
    let template = json!({ "a": "{{ fragment.address }}", "n": "{{ fragment.notes }}", "m": "{{ fragment.maybe }}", "x": "{{ fragment.number }}" });
    let expected = r#"{"a":{"phone":"+49301234567","tags":["a",1.50]},"x":12.50}"#;
    assert_eq!(body(shared(), &template).as_deref(), Ok(expected));
    let text = Text::parse("/x/{{ fragment.label }}", &at(), &names(shared()), Escape::Path).expect("a path");
    let mut out = String::new();
    text.write(&World::new().scope(), &mut out).expect("text");
    assert_eq!(out, "/x/no.%2042%20%28active%29");
}

#[test]
fn only_what_is_used_must_fit_where_it_is_used() {
    assert_eq!(value(shared(), "fragment.number").as_deref(), Ok("12.50"), "`foreign` is nobody's here");
    let error = value(shared(), "fragment.foreign").expect_err("no such column");
    assert!(
        error.starts_with("load: here: in rules0.foreign: the table has no column `no_such_column`"),
        "{error}"
    );
    // Known where it is used, and nowhere else.
    let names = Names { item: false, ..names(shared()) };
    let error = Expression::parse("fragment.item", &at(), &names).expect_err("no item here").short();
    assert!(error.contains("rules0.item") && error.contains("for_each"), "{error}");
}

#[test]
fn an_error_says_which_fragment_and_where_it_was_used() {
    let error = value(shared(), "fragment.outer").expect_err("no number");
    assert!(error.starts_with("here: in rules0.outer: in rules0.broken: "), "{error}");
    for (text, part) in [
        ("fragment.adress", "there is no fragment `adress`; did you mean `address`?"),
        ("fragment.zzz", "there are `address`, `amount`"),
        ("fragment", "say which fragment: `fragment.<name>`"),
        ("fragment + 1", "say which fragment"),
        ("has(fragment.amount)", "never missing"),
        ("fragment.?amount", "never missing"),
        ("fragmnt.amount", "did you mean `fragment`?"),
    ] {
        let error = value(shared(), text).expect_err(text);
        assert!(error.starts_with("load: ") && error.contains(part), "{text}: {error}");
    }
    let error = value(json!({}), "fragment.x").expect_err("there is none");
    assert!(error.contains("`rules` has no `fragments`"), "{error}");
}

#[test]
fn the_nearer_of_two_with_one_name_counts_for_those_that_use_it_too() {
    let common = json!({ "country": "{{ 'DE' }}", "phone": "{{ fragment.country + row.phone.phone() }}" });
    let nearer = json!({ "country": "{{ 'FR' }}" });
    let all = fragments(&[common, nearer]).expect("good ones");
    let names = World::names().with_fragments(all);
    let phone = Expression::parse("fragment.phone", &at(), &names).expect("it fits");
    assert_eq!(
        phone.value(&World::new().scope()).expect("a value"),
        Evaluated::Value(json!("FR+49301234567"))
    );
}

#[test]
fn what_cannot_be_used_anywhere_is_said_at_once() {
    let deep: BTreeMap<String, Value> =
        (0..20).map(|n| (format!("f{n:02}"), json!(format!("{{{{ fragment.f{:02} }}}}", n + 1)))).collect();
    let wide: BTreeMap<String, Value> = (0..4)
        .map(|n| (format!("w{n}"), json!(vec![format!("{{{{ fragment.w{} }}}}", n + 1); 10])))
        .chain([("w4".to_owned(), json!(1))])
        .collect();
    for (all, expected) in [
        (json!({ "a": "{{ 1 + }}", "b": "{{ x" }), &["rules0.a: ", "rules0.b: this `{{` has no `}}`"][..]),
        (
            json!({ "a-b": 1, "1a": 2, "": 3 }),
            &["rules0.: `` cannot be", "rules0.1a: `1a` cannot be", "rules0.a-b: `a-b` cannot be"],
        ),
        (
            json!({ "a": "{{ fragment.a }}" }),
            &["rules0.a: these fragments use each other in a circle: `a` → `a`"],
        ),
        (
            json!({ "a": "{{ fragment.b }}", "b": { "x": ["{{ 1 + fragment['c'] }}"] }, "c": "x{{ has(row.id) ? fragment.b : 1 }}" }),
            &["rules0.b: these fragments use each other in a circle: `b` → `c` → `b`"],
        ),
        (json!(deep), &["rules0.f03: more than 16 fragments stand within each other"]),
        (
            json!(wide),
            &["rules0.w1: it comes to more than 1000 fragments, each counted as often as it is used"],
        ),
    ] {
        let errors = fragments(std::slice::from_ref(&all)).expect_err("something is wrong");
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        assert!(errors.iter().zip(expected).all(|(error, start)| error.starts_with(start)), "{errors:#?}");
    }
}

#[test]
fn what_a_fragment_reads_and_says_counts_for_what_uses_it() {
    let reads = |all: Value| {
        let mut reads = Reads::default();
        Expression::parse("fragment.outer", &at(), &names(all)).expect("it fits").reads(&mut reads);
        reads.hash(&World::new().scope(), 7).expect("all is known")
    };
    let with = |inner: &str| json!({ "outer": { "x": "{{ fragment.inner }}" }, "inner": inner });
    assert_eq!(reads(with("{{ row.id }}")), reads(with("{{ row.id }}")));
    assert_ne!(reads(with("{{ row.id }}")), reads(with("{{ row.id + 1 }}")), "it says something else now");
    assert_ne!(reads(with("{{ row.id }}")), reads(with("{{ row.amount }}")), "it reads something else");
}

/// Fragments `f0…` of which each is a sum of some of the others.
fn graph(edges: &[Vec<usize>]) -> Value {
    let sum = |uses: &Vec<usize>| {
        let terms: Vec<String> = uses.iter().map(|to| format!("fragment.f{to}")).collect();
        json!(format!("{{{{ {} }}}}", [vec!["1".to_owned()], terms].concat().join(" + ")))
    };
    edges.iter().enumerate().map(|(from, uses)| (format!("f{from}"), sum(uses))).collect()
}

/// How often `1` is added up from here; none if it goes round, or is too much.
fn count(edges: &[Vec<usize>], from: usize, way: &mut Vec<usize>) -> Option<usize> {
    if way.contains(&from) {
        return None;
    }
    way.push(from);
    let mut sum = 1;
    for to in &edges[from] {
        sum += count(edges, *to, way)?;
    }
    way.pop();
    Some(sum)
}

proptest! {
    #[test]
    fn fragments_are_refused_if_and_only_if_they_go_round_in_a_circle(
        edges in prop::collection::vec(prop::collection::vec(0..6_usize, 0..3), 6),
    ) {
        let counts: Option<Vec<usize>> = (0..6).map(|from| count(&edges, from, &mut Vec::new())).collect();
        match (fragments(&[graph(&edges)]), counts) {
            (Ok(_), Some(counts)) => {
                for (from, expected) in counts.iter().enumerate() {
                    let found = value(graph(&edges), &format!("fragment.f{from}"));
                    prop_assert_eq!(found, Ok(expected.to_string()));
                }
            }
            (Err(errors), None) => prop_assert!(errors.iter().all(|it| it.contains("in a circle")), "{:?}", errors),
            (found, counts) => prop_assert!(false, "{:?} for {:?}", found.err(), counts),
        }
    }
}

#[test]
fn in_a_batch_a_fragment_is_about_the_row_where_each_is_said_of_it() {
    let all = json!({ "one": { "id": "{{ row.id }}" }, "items": { "each": "{{ fragment.one }}" } });
    let names = names(all).about(crate::mapping::About::Batch);
    for fits in [json!({ "a": { "each": "{{ fragment.one }}" } }), json!({ "a": "{{ fragment.items }}" })] {
        assert!(Json::parse(&fits, &at(), &names).is_ok(), "{fits}");
    }
    let error = Json::parse(&json!({ "a": "{{ fragment.one }}" }), &at(), &names).expect_err("which row?");
    assert!(error.short().starts_with("here.a: in rules0.one.id: "), "{error}");
}
