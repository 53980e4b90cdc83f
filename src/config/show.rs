//! The configuration in effect, as YAML: defaults filled in, secrets masked.

use super::{
    Loaded,
    resolve::resolve,
    secret, settings,
    shape::{Leaf, Schema},
};
use crate::model::MASK;
use serde_json::Value;
use std::fmt::Write;

/// The configuration with everything that was left out filled in. Optional keys that were not
/// given are left out; secrets are masked (invariant 7).
pub fn show(loaded: &Loaded) -> String {
    let mut text = format!("# {} as it is in effect; secrets are masked\n", loaded.file);
    block(&shown(loaded), 0, &mut text);
    text
}

/// The same as data.
pub fn shown(loaded: &Loaded) -> Value {
    // The settings types serialise: their maps have text for keys, and nothing in them can fail.
    let mut value = serde_json::to_value(&loaded.config).unwrap_or_default();
    let schema = settings::generated();
    prune(Schema(&schema), &schema, &mut value);
    mask(&mut value);
    value
}

/// Masks what sounds like a secret where no settings type says so. An expression is none.
fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if secret::sounds_so(key) && !text.contains("{{") => {
                        *text = MASK.to_owned();
                    }
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Takes out what only says that something was not given; free values stay as they are.
fn prune(root: Schema<'_>, schema: &Value, value: &mut Value) {
    let leaves = root.leaves(schema);
    match value {
        Value::Object(map) => {
            let Some(leaf) = leaves.iter().find(|it| fits(**it, map)) else { return };
            map.retain(|key, value| {
                let Some(property) = leaf.property(key) else { return true };
                prune(root, property, value);
                let empty = value.is_null()
                    || value.as_object().is_some_and(|it| it.is_empty())
                    || value.as_array().is_some_and(|it| it.is_empty());
                !(empty && property.get("default") == Some(value))
            });
        }
        Value::Array(items) => {
            let Some(schema) = leaves.iter().find_map(|it| it.schema.get("items")) else { return };
            items.iter_mut().for_each(|it| prune(root, schema, it));
        }
        _ => {}
    }
}

fn fits(leaf: Leaf<'_>, map: &serde_json::Map<String, Value>) -> bool {
    !leaf.is_any() && leaf.takes("object") && map.keys().all(|it| leaf.property(it).is_some())
}

/// A mapping or list with each entry on its own line.
pub fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "{indent}{}:", scalar(key, true));
                nested(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{indent}-");
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        // The first key goes on the dash's line.
                        let mut inner = String::new();
                        block(item, depth + 1, &mut inner);
                        let _ = write!(out, " {}", inner.trim_start());
                    }
                    _ => nested(item, depth + 1, out),
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{indent}{}", inline(value));
        }
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let deep = |it: &Value| it.is_object() || it.is_array();
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, depth, out);
        }
        Value::Array(items) if items.iter().any(deep) => {
            out.push('\n');
            block(value, depth, out);
        }
        _ => {
            let _ = writeln!(out, " {}", inline(value));
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text, false),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        // Null, booleans, numbers and `{}` look the same in JSON and YAML.
        other => other.to_string(),
    }
}

/// Text without quotes where YAML reads it back as the same text; a key is never interpolated.
fn scalar(text: &str, is_key: bool) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let inner = |c: char| safe(c) || c == '@' || c == ' ';
    let plain = text.starts_with(|c: char| safe(c) && c != '-' && c != '.')
        && !text.ends_with(' ')
        && text.chars().all(inner)
        && (is_key || resolve(text) == Ok(Value::String(text.to_owned())));
    let written = if plain { text.to_owned() } else { Value::String(text.to_owned()).to_string() };
    if is_key { written } else { written.replace("${", "$${") }
}
