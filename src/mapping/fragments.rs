//! Named pieces of mapping: written once, used by name wherever expressions stand.
//!
//! A fragment is compiled where it is used, with the names that are in scope there. So one that
//! names a column is fine beside tables that lack it, as long as nothing of theirs uses it. What
//! can be told without a place of use is told at once: what cannot be read, and what goes round in
//! circles.

use super::{
    At, Json, Kind, MappingError, Names, braces,
    expression::{Problem, fragments_in, nearest, shown},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many fragments one may come to, each counted as often as it is used: each of ten that uses
/// the next one ten times would be more than any row could bear.
const MOST: usize = 1_000;
/// How many may stand within each other.
const DEEPEST: usize = 16;

/// The fragments of one place, by name.
#[derive(Clone, Debug, Default)]
pub struct Fragments(BTreeMap<String, Definition>);

#[derive(Clone, Debug)]
struct Definition {
    value: Value,
    at: At,
    uses: Vec<String>,
}

impl Fragments {
    /// Those of every layer; of two with one name, the one of the later layer. On failure says all
    /// that is wrong with them.
    pub fn new<'v>(
        layers: impl IntoIterator<Item = (&'v BTreeMap<String, Value>, At)>,
    ) -> Result<Self, Vec<MappingError>> {
        let mut errors = Vec::new();
        let mut all = BTreeMap::new();
        for (layer, at) in layers {
            for (name, value) in layer {
                let at = at.child(name);
                if !is_name(name) {
                    let message = format!(
                        "{} cannot be the name of a fragment: use letters, digits and `_`, beginning with a letter",
                        shown(name)
                    );
                    errors.push(MappingError::new(Kind::Syntax, message, &at));
                    continue;
                }
                let mut uses = Vec::new();
                if let Err(error) = collect(value, &at, &mut uses) {
                    errors.push(error);
                }
                all.insert(name.clone(), Definition { value: value.clone(), at, uses });
            }
        }
        let fragments = Self(all);
        errors.extend(fragments.judge());
        if errors.is_empty() { Ok(fragments) } else { Err(errors) }
    }

    /// The fragment of this name, compiled for a place where these names are in scope.
    pub(super) fn compile(&self, name: &str, names: &Names) -> Result<Json, (Kind, String)> {
        let Some(Definition { value, at, .. }) = self.0.get(name) else {
            let known = self.0.keys().map(String::as_str);
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.0.is_empty() => "`rules` has no `fragments`".to_owned(),
                None => {
                    format!("there are {}", known.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "))
                }
            };
            return Err((Kind::UnknownName, format!("there is no fragment `{name}`; {hint}")));
        };
        Json::parse(value, at, names).map_err(|error| (error.kind(), inside(&error)))
    }

    /// Circles, and what is too much.
    fn judge(&self) -> Vec<MappingError> {
        let mut errors = Vec::new();
        let mut sizes = BTreeMap::new();
        let mut blamed = BTreeSet::new();
        for name in self.0.keys() {
            let mut way = Vec::new();
            if let Err((name, message)) = self.size(name, &mut way, &mut sizes)
                // What uses the wrong one is not wrong itself.
                && blamed.insert(name)
            {
                errors.push(MappingError::new(Kind::Syntax, message, &self.0[name].at));
            }
        }
        errors
    }

    /// How many fragments this one comes to; or whose fault it is that it cannot be said. `way` is
    /// how it was reached.
    fn size<'s>(
        &'s self,
        name: &'s str,
        way: &mut Vec<&'s str>,
        sizes: &mut BTreeMap<&'s str, Result<(usize, usize), &'s str>>,
    ) -> Result<(usize, usize), (&'s str, String)> {
        // Whoever uses an unknown one hears of it there.
        let Some(definition) = self.0.get(name) else { return Ok((0, 0)) };
        if let Some(start) = way.iter().position(|it| *it == name) {
            let circle: Vec<String> =
                way[start..].iter().chain([&name]).map(|it| format!("`{it}`")).collect();
            let first = way[start..].iter().min().copied().unwrap_or(name);
            return Err((
                first,
                format!("these fragments use each other in a circle: {}", circle.join(" → ")),
            ));
        }
        match sizes.get(name) {
            Some(Ok(known)) => return Ok(*known),
            Some(Err(blamed)) => return Err((blamed, String::new())),
            None => {}
        }
        way.push(name);
        let (mut size, mut depth) = (1_usize, 0_usize);
        for used in &definition.uses {
            let inner = self.size(used, way, sizes);
            let (more, below) = inner.inspect_err(|(blamed, _)| {
                sizes.insert(name, Err(blamed));
            })?;
            size = size.saturating_add(more);
            depth = depth.max(below);
        }
        way.pop();
        let problem = if size > MOST {
            Some(format!("it comes to more than {MOST} fragments, each counted as often as it is used"))
        } else if depth >= DEEPEST {
            Some(format!("more than {DEEPEST} fragments stand within each other"))
        } else {
            None
        };
        if let Some(message) = problem {
            sizes.insert(name, Err(name));
            return Err((name, message));
        }
        sizes.insert(name, Ok((size, depth + 1)));
        Ok((size, depth + 1))
    }
}

/// What a place of use says about an error inside a fragment.
pub(super) fn inside(error: &MappingError) -> String {
    format!("in {}", error.short())
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The fragments that the templates of a value use.
fn collect(value: &Value, at: &At, uses: &mut Vec<String>) -> Result<(), MappingError> {
    match value {
        Value::String(text) => {
            let parts = braces::split(text).map_err(|braces::Unclosed(span)| {
                let message = "this `{{` has no `}}`; a literal one is written `{{ '{{' }}`".to_owned();
                MappingError::within(Problem { kind: Kind::Syntax, message, span }, text, at)
            })?;
            for part in parts {
                if let braces::Part::Expression(inner) = part {
                    let inner = inner.trim();
                    let found = fragments_in(inner);
                    uses.extend(found.map_err(|problem| MappingError::within(problem, inner, at))?);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &at.index(index), uses)?;
            }
        }
        Value::Object(entries) => {
            for (key, value) in entries {
                collect(value, &at.child(key), uses)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
