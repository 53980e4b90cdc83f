//! The example file and the schema that are shipped must stay true.

use super::super::*;
use super::wrong;
use crate::synchronize::{Classes, Declaration};
use std::{collections::BTreeSet, fs, path::PathBuf};
use tree::{Entry, Kind};

fn shipped(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn example() -> String {
    shipped("rowcall.example.yaml")
}

/// The example with every setting that is commented out put in.
fn whole() -> String {
    let lines = example();
    let lines = lines.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if is_setting(rest) => rest.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `#    key: value`: indented like a setting, not ` prose`.
fn is_setting(rest: &str) -> bool {
    let Some((key, value)) = rest.split_once(':') else { return false };
    let is_key =
        key.trim_start().bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
    rest.starts_with("  ") && is_key && (value.is_empty() || value.starts_with(' '))
}

#[test]
fn the_shipped_schema_is_up_to_date() {
    let current = format!("{:#}\n", schema());
    assert!(
        shipped("rowcall.schema.json") == current,
        "config/rowcall.schema.json is out of date; run: rowcall config schema > config/rowcall.schema.json"
    );
}

fn load_example() -> Loaded {
    let env = |name: &str| match name {
        "DATABASE_URL" => Some("postgres://app:hunter2@db/bank".to_owned()),
        "BANK_TOKEN" => Some("hunter2".to_owned()),
        _ => None,
    };
    let folder = Path::new("/nowhere");

    load_text("rowcall.example.yaml", &example(), folder, &env).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_example_loads_with_the_variables_it_names() {
    let loaded = load_example();
    assert!(!show(&loaded).contains("hunter2"));
    let first = example();
    assert!(first.starts_with("# yaml-language-server: $schema=rowcall.schema.json\n"), "editors look there");
}

#[test]
fn the_expressions_of_the_example_are_right() {
    let columns: &[(&str, &[&str])] = &[
        ("customer", &["id", "name", "phone"]),
        ("loan", &["id", "customer_id", "amount", "status", "branch"]),
        ("booking", &["id", "loan_id", "amount"]),
    ];
    let loaded = load_example();
    for (name, columns) in columns {
        let entity = &loaded.config.entities[*name];
        let rules = loaded.rules(name, &entity.remotes[0]);
        let declaration = Declaration {
            entity: name,
            sequences: &entity.sequences(),
            settings: &entity.settings,
            when: entity.when.as_deref(),
            validate: &entity.validate,
            rules: &rules,
            always: entity.always,
            at: loaded.locator.at(format!("entities.{name}")),
            columns: Some(columns.iter().map(|it| (*it).into()).collect()),
            batched: entity.batch.is_some(),
            fetched: entity.fetch.is_some(),
            parents: entity.parent_names(),
        };
        if let Err(errors) = Classes::standard().build(None, &declaration) {
            panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
    }
    assert_eq!(loaded.config.entities.len(), columns.len());
}

#[test]
fn the_example_names_every_key_and_no_other() {
    let (tree, _) = parse::parse(&whole()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let schema = settings::generated();
    let mut missing = BTreeSet::new();
    missing.extend(known(&schema));
    visit(&schema, &schema, &tree, &mut |definition, entry| {
        missing.remove(&(definition.to_owned(), entry.key.clone()));
    });
    assert!(missing.is_empty(), "config/rowcall.example.yaml does not show {missing:?}");
    let shown = wrong(&whole());
    assert!(!shown.contains("unknown key"), "{shown}");
}

#[test]
fn keys_that_are_commented_out_show_their_defaults() {
    let whole = whole();
    let commented: Vec<bool> = example().lines().map(|it| it.starts_with('#')).collect();
    let (tree, _) = parse::parse(&whole).unwrap_or_else(|problems| panic!("{problems:?}"));
    let schema = settings::generated();
    let mut compared = 0;
    visit(&schema, &schema, &tree, &mut |definition, entry| {
        let Kind::Scalar(scalar) = &entry.value.kind else { return };
        let pointer = format!("/$defs/{definition}/properties/{}/default", entry.key);
        let Some(default) = schema.pointer(&pointer).filter(|it| !it.is_null()) else { return };
        if commented[entry.area.start.line - 1] {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert_eq!(scalar.text, default, "{definition}.{}", entry.key);
            compared += 1;
        }
    });
    assert!(compared >= 12, "only {compared} defaults are shown");
}

/// Every key there is, with the definition it belongs to. Enumerations of one key each (`auth`)
/// count under their own name.
fn known(schema: &Value) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    let mut take = |name: &str, properties: Option<&Value>| {
        let properties = properties.and_then(Value::as_object).into_iter().flatten();
        keys.extend(properties.map(|(key, _)| (name.to_owned(), key.clone())));
    };
    take("", schema.get("properties"));
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        take(name, definition.get("properties"));
        for branch in definition.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            take(name, branch.get("properties"));
        }
    }
    keys
}

/// Calls back for every entry of the tree with the name of the definition it belongs to.
fn visit(root: &Value, schema: &Value, node: &Node, each: &mut impl FnMut(&str, &Entry)) {
    visit_as("", root, schema, node, each);
}

fn visit_as(name: &str, root: &Value, schema: &Value, node: &Node, each: &mut impl FnMut(&str, &Entry)) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().expect("a name");
        return visit_as(name, root, &root["$defs"][name], node, each);
    }
    for key in ["anyOf", "oneOf"] {
        for branch in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            visit_as(name, root, branch, node, each);
        }
    }
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                let own = schema.get("properties").and_then(|it| it.get(&entry.key));
                if own.is_some() {
                    each(name, entry);
                }
                if let Some(schema) = own.or_else(|| schema.get("additionalProperties")) {
                    visit_as(name, root, schema, &entry.value, each);
                }
            }
        }
        Kind::List(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter().for_each(|it| visit_as(name, root, schema, it, each));
            }
        }
        Kind::Scalar(_) => {}
    }
}
