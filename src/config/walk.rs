//! The tree against the schema: what comes out is the JSON that the settings types read.
//!
//! The schema decides what text means: where only text is allowed, `5432` is text, so that a token
//! made of digits needs no quotes.

use super::{
    interpolate::{Environment, interpolate, is_only_a_reference},
    planned::is_planned,
    report::{Report, did_you_mean, quoted, within},
    resolve::resolve,
    secret,
    shape::{Leaf, Schema, describe},
    tree::{Area, Entry, Kind, Node, Scalar, Segment, Style, display},
};
use serde_json::{Map, Value};
use std::path::Path;

/// Reads the tree by the schema. What does not fit is reported and comes out as nothing, so that
/// the rest can still be read.
pub struct Walk<'a> {
    pub schema: Schema<'a>,
    pub env: Environment<'a>,
    /// What relative `file:` references are relative to.
    pub folder: &'a Path,
    pub report: &'a mut Report,
    pub path: Vec<Segment>,
}

impl<'a> Walk<'a> {
    /// The value of a node; nothing if it is faulty. `key` is where a mapping's own faults are shown.
    pub fn node(&mut self, node: &Node, schema: &'a Value, key: Area) -> Option<Value> {
        let leaves = self.schema.leaves(schema);
        match &node.kind {
            Kind::Scalar(scalar) => self.scalar(node, scalar, &leaves, key),
            Kind::List(items) => self.list(node, items, &leaves),
            Kind::Map(entries) => self.map(entries, &leaves, key),
        }
    }

    fn list(&mut self, node: &Node, items: &[Node], leaves: &[Leaf<'a>]) -> Option<Value> {
        const ANY: &Value = &Value::Bool(true);
        let Some(leaf) = leaves.iter().find(|it| it.takes("array")) else {
            return self.mismatch(node.area, leaves, "a list");
        };
        if leaf.bound("minItems").is_some_and(|min| (items.len() as i128) < min) {
            self.report.say(node.area, format!("`{}` must not be empty", display(&self.path)));
            return None;
        }
        let schema = leaf.schema.get("items").unwrap_or(ANY);
        let read: Vec<Option<Value>> = items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                self.path.push(Segment::Item(at));
                let value = self.node(item, schema, item.area);
                self.path.pop();
                value
            })
            .collect();
        // Without its faulty items a list would count its others wrongly.
        read.into_iter().collect::<Option<_>>().map(Value::Array)
    }

    fn map(&mut self, entries: &[Entry], leaves: &[Leaf<'a>], key: Area) -> Option<Value> {
        let objects: Vec<Leaf<'a>> = leaves.iter().copied().filter(|it| it.takes("object")).collect();
        match &objects[..] {
            [] => self.mismatch(key, leaves, "a mapping"),
            [one] => self.object(entries, *one, key),
            several => self.one_of(entries, several, key),
        }
    }

    fn object(&mut self, entries: &[Entry], leaf: Leaf<'a>, key: Area) -> Option<Value> {
        let mut read = Map::new();
        let (mut given, mut strange) = (Vec::new(), Vec::new());
        for entry in entries {
            match leaf.property(&entry.key) {
                Some(schema) => {
                    given.push(&*entry.key);
                    if let Some(value) = self.entry(entry, schema, leaf.secret) {
                        read.insert(entry.key.clone(), value);
                    }
                }
                None => strange.push(self.unknown(entry, &leaf.keys())),
            }
        }
        for name in leaf.required() {
            // A misspelt key is reported as that, not as missing too.
            let explained = strange.iter().any(|it| *it == Some(name) || leaf.keys().len() == 1);
            if !given.contains(&name) && !explained {
                let owner = if self.path.is_empty() { "the file".to_owned() } else { display(&self.path) };
                self.report.say(key, format!("{owner} needs `{name}`"));
            }
        }
        // Half a part is still worth checking; half of what lies within it is not.
        let usable = self.path.len() <= 2 || leaf.required().iter().all(|it| read.contains_key(*it));
        usable.then_some(Value::Object(read))
    }

    /// A mapping whose one key says what it is.
    fn one_of(&mut self, entries: &[Entry], leaves: &[Leaf<'a>], key: Area) -> Option<Value> {
        let known: Vec<&str> = leaves.iter().flat_map(|it| it.keys()).collect();
        let mut first = None;
        let mut strange = false;
        for entry in entries {
            let Some(schema) = leaves.iter().find_map(|it| it.schema.get("properties")?.get(&entry.key))
            else {
                self.unknown(entry, &known);
                strange = true;
                continue;
            };
            let value = self.entry(entry, schema, false);
            match &first {
                Some((key, _)) => {
                    let message = format!("{} takes one key, and already has `{key}`", display(&self.path));
                    self.report.say(entry.area, message);
                }
                None => first = Some((entry.key.clone(), value)),
            }
        }
        if first.is_none() && !strange {
            self.report.say(key, format!("{} needs one of {}", display(&self.path), quoted(known)));
        }
        let (key, value) = first?;
        Some(Value::Object(Map::from_iter([(key, value?)])))
    }

    fn entry(&mut self, entry: &Entry, schema: &'a Value, secret: bool) -> Option<Value> {
        self.path.push(Segment::Key(entry.key.clone()));
        let value = if secret && let Kind::Scalar(scalar) = &entry.value.kind {
            let leaves: Vec<_> =
                self.schema.leaves(schema).into_iter().map(|it| Leaf { secret: true, ..it }).collect();
            self.scalar(&entry.value, scalar, &leaves, entry.area)
        } else {
            self.node(&entry.value, schema, entry.area)
        };
        self.path.pop();
        value
    }

    /// Reports a key that may not be here; gives the name that was probably meant.
    fn unknown<'k>(&mut self, entry: &Entry, known: &[&'k str]) -> Option<&'k str> {
        let key = &entry.key;
        self.path.push(Segment::Key(key.clone()));
        let planned = is_planned(&self.path);
        self.path.pop();
        if planned {
            let message = format!("`{key}` is part of the design but not in this version; take it out");
            self.report.say(entry.area, message);
            return None;
        }
        let place = within(&self.path);
        let meant = did_you_mean(key, known.iter().copied());
        let message = match meant {
            Some(meant) => format!("unknown key `{key}`{place}; did you mean `{meant}`?"),
            None if known.is_empty() => format!("unknown key `{key}`{place}: a number is expected here"),
            None => {
                format!("unknown key `{key}`{place}; known here: {}", quoted(known.iter().copied()))
            }
        };
        self.report.say(entry.area, message);
        meant
    }

    fn mismatch(&mut self, area: Area, leaves: &[Leaf<'a>], found: &str) -> Option<Value> {
        let owner =
            if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", display(&self.path)) };
        self.report.say(area, format!("{owner} must be {}, not {found}", describe(leaves)));
        None
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, leaves: &[Leaf<'a>], key: Area) -> Option<Value> {
        let named_so = matches!(self.path.last(), Some(Segment::Key(key)) if secret::sounds_so(key));
        let secret = leaves.iter().any(|it| it.secret) || named_so;
        // Text where a mapping belongs may be a secret in the wrong place.
        let may_be_map = leaves.iter().any(|it| it.types().contains(&"object"));
        let has_credentials = scalar.text.contains("://") && scalar.text.contains('@');
        let harmless = !secret && !has_credentials;
        if (harmless && !may_be_map) || is_only_a_reference(&scalar.text) {
            self.report.show(node.area);
        }
        let text = self.text(node, scalar, secret)?;
        let value = match scalar.style {
            Style::Plain => resolve(&text),
            _ => Ok(Value::String(text.clone())),
        };
        // What was put in is text where text may stand, even if it reads `null`.
        let put_in = text != scalar.text && !text.is_empty();
        let may_be_text = put_in && leaves.iter().any(|it| it.takes("string"));
        if value == Ok(Value::Null) && !may_be_text && !leaves.iter().any(|it| it.takes("null")) {
            // A block whose keys are all commented out.
            let written_empty = scalar.text.is_empty() || scalar.text == "~";
            if written_empty && leaves.iter().any(|it| it.takes("object")) {
                return self.map(&[], leaves, key);
            }
            let message = format!("`{}` is empty, but must be {}", display(&self.path), describe(leaves));
            self.report.say(key, message);
            return None;
        }
        for leaf in leaves {
            if let Some(fitting) = fit(*leaf, &text, &value) {
                if harmless {
                    self.report.show(node.area);
                }
                return self.bounded(node.area, *leaf, fitting);
            }
        }
        match &value {
            Err(message) => {
                let hidden = "this may be text or a number: put it in quotes";
                self.report.say(node.area, if secret { hidden } else { message });
                None
            }
            Ok(found) => self.unfit(node, scalar, leaves, found, &text, secret),
        }
    }

    /// The text with variables put in and, for a secret, the file it names read.
    fn text(&mut self, node: &Node, scalar: &Scalar, secret: bool) -> Option<String> {
        let text = match interpolate(&scalar.text, self.env) {
            Ok(text) => text,
            Err((at, message)) => {
                self.report.say(within_scalar(node.area, scalar, at), message);
                return None;
            }
        };
        if text != scalar.text {
            self.report.came_from(node.area, &text, &scalar.text);
        }
        match text.strip_prefix("file:") {
            Some(file) if secret => match secret::read(self.folder, file) {
                Ok(content) => Some(content),
                Err(message) => {
                    self.report.say(node.area, message);
                    None
                }
            },
            _ => Some(text),
        }
    }

    fn bounded(&mut self, area: Area, leaf: Leaf<'a>, value: Value) -> Option<Value> {
        if let Some(number) = value.as_number().and_then(|it| it.to_string().parse::<i128>().ok()) {
            let path = display(&self.path);
            match (leaf.bound("minimum"), leaf.bound("maximum")) {
                (Some(min), _) if number < min => {
                    self.report.say(area, format!("`{path}` must be at least {min}, not `{number}`"));
                    return None;
                }
                (_, Some(max)) if number > max => {
                    self.report.say(area, format!("`{path}` must be at most {max}, not `{number}`"));
                    return None;
                }
                _ => {}
            }
        }
        Some(value)
    }

    fn unfit(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        leaves: &[Leaf<'a>],
        value: &Value,
        text: &str,
        secret: bool,
    ) -> Option<Value> {
        let choices: Vec<&str> = leaves.iter().flat_map(|it| it.choices()).collect();
        let only_choices = leaves.iter().all(|it| !it.choices().is_empty() || it.takes("null"));
        if only_choices && !choices.is_empty() && !secret {
            let path = display(&self.path);
            let mut message = format!("`{path}` is `{text}`, but must be {}", describe(leaves));
            if let Some(meant) = did_you_mean(text, choices) {
                message.push_str(&format!("; did you mean `{meant}`?"));
            }
            self.report.say(node.area, message);
            return None;
        }
        let found = match value {
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            _ if scalar.style == Style::Quoted && !matches!(resolve(text), Ok(Value::String(_)) | Err(_)) => {
                "text; take the quotes away"
            }
            _ => "text",
        };
        self.mismatch(node.area, leaves, found)
    }
}

/// Where the byte `at` of the text stands in the file, as far as the text is as it was written.
fn within_scalar(mut area: Area, scalar: &Scalar, at: usize) -> Area {
    let before = &scalar.text[..at];
    let last_line = before.rsplit('\n').next().unwrap_or(before);
    match scalar.style {
        Style::Block => area.start.line += before.matches('\n').count(),
        _ if area.start.line != area.end.line => return area,
        Style::Quoted => area.start.column += 1,
        Style::Plain => {}
    }
    area.start.column += last_line.chars().count();
    area
}

/// The scalar as this alternative takes it.
fn fit(leaf: Leaf<'_>, text: &str, value: &Result<Value, String>) -> Option<Value> {
    let choices = leaf.choices();
    if !choices.is_empty() {
        return choices.contains(&text).then(|| Value::String(text.to_owned()));
    }
    if leaf.is_any() {
        return value.clone().ok();
    }
    match value {
        Ok(Value::Null) if leaf.takes("null") => Some(Value::Null),
        Ok(Value::Bool(it)) if leaf.takes("boolean") => Some(Value::Bool(*it)),
        Ok(Value::Number(it)) if leaf.takes("number") => Some(Value::Number(it.clone())),
        Ok(Value::Number(it)) if leaf.takes("integer") && it.to_string().parse::<i128>().is_ok() => {
            Some(Value::Number(it.clone()))
        }
        _ => leaf.takes("string").then(|| Value::String(text.to_owned())),
    }
}
