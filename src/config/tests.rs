mod shipped;
mod shown;

use super::*;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::json;
use std::fs;

fn env(name: &str) -> Option<String> {
    match name {
        "DATABASE_URL" => Some("postgres://app:hunter2@db/bank".to_owned()),
        "TOKEN" => Some("0123456".to_owned()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("5432".to_owned()),
        _ => None,
    }
}

fn read_text(text: &str) -> Result<Loaded, ConfigError> {
    load_text("rowcall.yaml", text, Path::new("/nowhere"), &env)
}

fn good(text: &str) -> Config {
    read_text(text).unwrap_or_else(|error| panic!("{error}")).config
}

fn wrong(text: &str) -> String {
    read_text(text).expect_err("this file is wrong").to_string()
}

const GOOD: &str = r#"
sources:
  main: { url: "${DATABASE_URL}" }
remotes:
  bank:
    url: https://api.bank.example/v2
    auth: { bearer: { token: "${TOKEN}" } }
    timeout: 10s
entities:
  customer:
    table: customers
    upsert:
      - name: put
        put: /customers/{{ row.id }}
        body: { fullName: "{{ row.name }}", limit: 12.50, zip: "0815" }
        on: { 404: create, 409: [{ name: ask, get: /x, query: { ratio: 1.10 } }] }
"#;

#[test]
fn every_wrong_file_gets_its_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/wrong");
    let mut files: Vec<_> =
        fs::read_dir(&folder).expect("a folder").map(|it| it.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() > 15, "only {} files in {}", files.len(), folder.display());
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("text");
        let shown = wrong(&text);
        assert!(!shown.contains("hunter2"), "{name} shows a secret:\n{shown}");
        insta::with_settings!({ snapshot_path => "tests/messages", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, shown);
        });
    }
}

#[test]
fn numbers_in_bodies_stay_exact() {
    let config = good(GOOD);
    let step = &config.entities["customer"].upsert.as_ref().expect("steps")[0];
    let body = step.body.as_ref().expect("a body");
    assert_eq!(body.to_string(), r#"{"fullName":"{{ row.name }}","limit":12.50,"zip":"0815"}"#);
    let crate::synchronize::OnStatus::Sequence(steps) = &step.on[&409] else {
        panic!("a sequence: {step:?}")
    };
    assert_eq!(steps[0].query["ratio"].to_string(), "1.10");
}

#[test]
fn the_only_source_and_remote_need_not_be_named() {
    let config = good(GOOD);
    let entity = &config.entities["customer"];
    assert_eq!((entity.source.as_deref(), &entity.remotes[..]), (Some("main"), &["bank".to_owned()][..]));
}

#[test]
fn text_made_of_digits_needs_no_quotes_where_only_text_is_allowed() {
    let config = good(&GOOD.replace("\"${TOKEN}\"", "!").replace('!', "007").replace("10s", "1${NONE:-5s}"));
    let crate::remote::Auth::Bearer { token } = &config.remotes["bank"].auth else { panic!("a token") };
    assert_eq!(token.expose_secret(), "007");
    assert_eq!(config.remotes["bank"].timeout.to_string(), "15s");
}

#[test]
fn interpolated_text_is_a_number_unless_it_is_quoted() {
    let text = GOOD.replace("zip: \"0815\"", "plain: ${PORT}, quoted: \"${PORT}\", none: ${NONE:-}");
    let text = text.replace("plain: ${PORT}, quoted: \"${PORT}\", none: ${NONE:-} }", "rest: 1 }\n        form:\n          plain: ${PORT}\n          quoted: \"${PORT}\"\n          none: ${NONE:-}\n          literal: $${PORT}");
    let config = good(&text);
    let step = &config.entities["customer"].upsert.as_ref().expect("steps")[0];
    let form = serde_json::to_value(step.form.as_ref().expect("a form")).expect("JSON");
    assert_eq!(form, json!({ "plain": 5432, "quoted": "5432", "none": null, "literal": "${PORT}" }));
}

#[test]
fn a_secret_is_not_shown_even_where_its_form_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    for secret in ["0077123", "null", ".inf"] {
        fs::write(folder.path().join("secret"), secret).expect("written");
        let load = |text: &str| load_text("rowcall.yaml", text, folder.path(), &env);
        let token = GOOD.replace("\"${TOKEN}\"", "file:secret");
        let loaded = load(&token).unwrap_or_else(|error| panic!("{error}"));
        let crate::remote::Auth::Bearer { token } = &loaded.config.remotes["bank"].auth else {
            panic!("a token")
        };
        assert_eq!(token.expose_secret(), secret);
        if let Err(error) = load(&GOOD.replace("zip: \"0815\"", "api_key: file:secret")) {
            assert!(!error.to_string().contains(secret), "{error}");
        }
    }
}

#[test]
fn a_secret_can_be_read_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("token"), "hunter2\r\n").expect("written");
    let text = GOOD.replace("${TOKEN}", "file:token");
    let loaded =
        load_text("rowcall.yaml", &text, folder.path(), &env).unwrap_or_else(|error| panic!("{error}"));
    let crate::remote::Auth::Bearer { token } = &loaded.config.remotes["bank"].auth else {
        panic!("a token")
    };
    assert_eq!(token.expose_secret(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"), "a debug print shows no secret");

    let long = GOOD.replace("${TOKEN}", "file:/dev/zero");
    let shown = wrong(&long);
    assert!(
        shown.contains("rowcall.yaml:7:30: the secret in /dev/zero is longer than 1048576 bytes"),
        "{shown}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let shown = load(Path::new("/nowhere/rowcall.yaml"), &env).expect_err("no file").to_string();
    assert!(shown.starts_with("cannot read the configuration /nowhere/rowcall.yaml: "), "{shown}");
    let shown = load(Path::new("/dev/zero"), &env).expect_err("no end").to_string();
    assert!(shown.starts_with("cannot read the configuration /dev/zero: it is longer than 8 MiB"), "{shown}");
}

#[test]
fn places_point_at_the_first_character_of_each_value() {
    let loaded = read_text(GOOD).unwrap_or_else(|error| panic!("{error}"));
    let place = |path: &str| loaded.locator.at(path).place.map(|it| it.to_string());
    for (path, line, column) in [
        ("entities.customer.table", 11, 12),
        ("entities.customer.upsert[0].put", 14, 14),
        ("entities.customer.upsert[0].body.fullName", 15, 28),
        ("entities.customer.upsert[0].on.409[0].get", 16, 52),
    ] {
        assert_eq!(place(path), Some(format!("rowcall.yaml:{line}:{column}")), "{path}");
    }
}

#[test]
fn deep_and_long_nonsense_is_refused_at_once() {
    for piece in ["[", "{", "- ", "? ", "{a: ", "&a ", "!a ", "\"", "a: [", "| ", "- - a\n", "${"] {
        assert!(read_text(&piece.repeat(3_000)).is_err(), "{piece}");
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", GOOD.replace('\n', "\r\n"));
    assert_eq!(good(&text).entities["customer"].table, "customers");
}

#[test]
fn every_planned_key_is_refused_and_unknown_to_the_schema() {
    for pattern in planned::PLANNED {
        let parts: Vec<&str> = pattern.split('.').collect();
        let mut text = String::new();
        for (depth, part) in parts.iter().enumerate() {
            let name = if *part == "*" { "it" } else { part };
            text.push_str(&format!("{}{name}:\n", "  ".repeat(depth)));
        }
        let shown = wrong(&text);
        let last = parts.last().expect("a key");
        let message = format!("`{last}` is part of the design but not in this version; take it out");
        assert!(shown.contains(&message), "{pattern}: {shown}");
    }
}

/// What `walk` and `shape` understand of JSON Schema; a settings type that needs more must teach
/// them first.
#[test]
fn the_schema_uses_only_what_the_walk_understands() {
    const KNOWN: &[&str] = &[
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "anyOf",
        "const",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "required",
        "title",
        "type",
        "writeOnly",
    ];
    fn visit(schema: &Value, path: &str) {
        let Value::Object(map) = schema else { return };
        for (key, value) in map {
            assert!(KNOWN.contains(&key.as_str()), "`{key}` at {path}");
            match (key.as_str(), value) {
                ("properties" | "$defs", Value::Object(named)) => {
                    named.iter().for_each(|(name, it)| visit(it, &format!("{path}.{name}")));
                }
                ("patternProperties", Value::Object(named)) => {
                    assert!(named.keys().all(|it| it == shape::DIGITS), "patterns at {path}: {named:?}");
                    named.values().for_each(|it| visit(it, path));
                }
                ("anyOf" | "oneOf", Value::Array(all)) => all.iter().for_each(|it| visit(it, path)),
                ("items" | "additionalProperties", it) => visit(it, path),
                _ => {}
            }
        }
    }
    visit(&settings::generated(), "");
}

#[test]
fn secrets_are_marked_in_the_schema() {
    let text = schema().to_string();
    assert!(text.matches("\"writeOnly\":true").count() >= 5, "{text}");
}

proptest! {
    /// Lines that look like a configuration, put together without sense.
    #[test]
    fn the_loader_never_panics(lines in prop::collection::vec((0..6usize, word(), prop::option::of(word())), 0..25)) {
        let mut text = String::new();
        for (indent, key, value) in lines {
            text.push_str(&"  ".repeat(indent));
            text.push_str(&key);
            if let Some(value) = value {
                text.push_str(": ");
                text.push_str(&value);
            }
            text.push('\n');
        }
        if let Err(error) = read_text(&text) {
            prop_assert!(!error.to_string().contains("hunter2"));
        }
    }

    /// A good file with a piece of it replaced by anything.
    #[test]
    fn a_damaged_file_never_panics_nor_shows_secrets(at in 0..GOOD.len(), length in 0..40usize, text in ".{0,20}") {
        let mut damaged = GOOD.to_owned();
        damaged.replace_range(at..(at + length).min(GOOD.len()), &text);
        if let Err(error) = read_text(&damaged) {
            prop_assert!(!error.to_string().contains("hunter2"), "{}", error);
        }
    }

    #[test]
    fn problems_come_in_line_order(text in "[a-c: \n-]{0,80}") {
        if let Err(ConfigError::Wrong(problems)) = read_text(&text) {
            let spots: Vec<_> = problems.messages().map(|it| it.0).collect();
            prop_assert!(spots.is_sorted());
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "sources",
            "remotes",
            "entities",
            "main",
            "url",
            "auth",
            "bearer",
            "token",
            "capture",
            "logical",
            "table",
            "tables",
            "upsert",
            "- name",
            "- put",
            "body",
            "on",
            "404",
            "retry",
            "timeout",
            "10s",
            "-",
            "{",
            "}",
            "[",
            "]",
            "{ a: b }",
            "[1, 2]",
            "${PORT}",
            "${DATABASE_URL}",
            "${",
            "\"",
            "'",
            "|",
            ">",
            "&a",
            "*a",
            "<<",
            "!x",
            "---",
            "...",
            "# no",
            "null",
            "~",
            "1e400",
            "0x",
            "{{ row.id }}",
            "?",
            "\t",
            "file:/nowhere",
            "limits",
            "memory",
            "log",
            "é\u{1F600}",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ]
}
