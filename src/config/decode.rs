//! JSON into the settings types, part by part, for what the schema cannot say.

use super::{
    report::{Faulty, Report},
    tree::{Node, Segment, display},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error as to_error;
use std::collections::BTreeMap;

/// Each value that is wrong is reported, taken out, and the rest tried again, so that one fault
/// hides no other. `whole` says that the walk has taken nothing out before.
pub fn part<T: DeserializeOwned>(
    tree: &Node,
    path: &[Segment],
    mut value: Value,
    mut whole: bool,
    report: &mut Report,
) -> Option<T> {
    loop {
        let error = match to_error::deserialize(&value) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let inner = segments(error.path());
        let full: Vec<Segment> = path.iter().chain(&inner).cloned().collect();
        let message = error.inner().to_string();
        if !whole && message.starts_with("missing field") {
            return None;
        }
        report.say_at(tree, &full, format!("`{}`: {message}", display(&full)));
        whole = false;
        if !remove(&mut value, &inner) {
            return None;
        }
    }
}

/// The parts of a block of named ones.
pub fn parts<T: DeserializeOwned>(
    tree: &Node,
    block: &str,
    value: Option<Value>,
    faulty: &Faulty,
    report: &mut Report,
) -> BTreeMap<String, T> {
    let mut read = BTreeMap::new();
    let Some(Value::Object(named)) = value else { return read };
    for (name, value) in named {
        let path = [Segment::Key(block.to_owned()), Segment::Key(name.clone())];
        if let Some(settings) = part(tree, &path, value, !faulty.has(block, &name), report) {
            read.insert(name, settings);
        }
    }
    read
}

fn segments(path: &to_error::Path) -> Vec<Segment> {
    let known = path.iter().map_while(|it| match it {
        to_error::Segment::Map { key } => Some(Segment::Key(key.clone())),
        to_error::Segment::Enum { variant } => Some(Segment::Key(variant.clone())),
        to_error::Segment::Seq { index } => Some(Segment::Item(*index)),
        to_error::Segment::Unknown => None,
    });
    known.collect()
}

/// Takes the value out; false if there is none.
fn remove(value: &mut Value, path: &[Segment]) -> bool {
    let Some((last, way)) = path.split_last() else { return false };
    let parent = way.iter().try_fold(value, |value, segment| match (segment, value) {
        (Segment::Key(key), Value::Object(map)) => map.get_mut(key),
        (Segment::Item(at), Value::Array(items)) => items.get_mut(*at),
        _ => None,
    });
    match (last, parent) {
        (Segment::Key(key), Some(Value::Object(map))) => Map::remove(map, key).is_some(),
        (Segment::Item(at), Some(Value::Array(items))) if *at < items.len() => {
            items.remove(*at);
            true
        }
        _ => false,
    }
}
