use super::{
    About, At, Escape, Expression, Kind, MappingError, Names, Reads, Scope, Text, braces,
    expression::{Val, write_string},
};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

/// A JSON body whose strings are templates. The keys of objects are literal.
#[derive(Debug)]
pub struct Json {
    root: Part,
    at: At,
    /// What is written there: the same text gives the same.
    fingerprint: u64,
}

#[derive(Debug)]
enum Part {
    /// JSON text that is the same for every row.
    Constant(Vec<u8>),
    Value(Expression),
    Text(Text),
    List(Vec<(Part, At)>),
    /// Each key as it stands in the JSON text, quoted and with its colon.
    Object(Vec<(Vec<u8>, Part)>),
    /// One item for each row of the batch: `{ each: … }`.
    Each(Box<Part>, At),
}

/// The key under which a batch's body says what is said of each row.
const EACH: &str = "each";

impl Json {
    /// Compiles a body.
    pub fn parse(value: &Value, at: &At, names: &Names) -> Result<Self, MappingError> {
        // A value always serialises.
        let fingerprint = xxh3_64(&serde_json::to_vec(value).unwrap_or_default());
        Ok(Self { root: Part::parse(value, at, names)?, at: at.clone(), fingerprint })
    }

    /// Appends the body's JSON text.
    pub fn write(&self, scope: &Scope<'_>, out: &mut Vec<u8>) -> Result<(), MappingError> {
        let start = out.len();
        match self.root.write(scope, out) {
            Ok(true) => Ok(()),
            Ok(false) => Err(left_out("there is nothing else to send", &self.at)),
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Adds what its expressions read.
    pub fn reads(&self, reads: &mut Reads) {
        self.root.reads(reads);
    }

    /// The value, for an expression that it is part of.
    pub(super) fn val<'a>(&'a self, scope: &Scope<'a>) -> Result<Val<'a>, MappingError> {
        match &self.root {
            Part::Value(expression) => expression.val(scope),
            part => Ok(part.value(scope, &self.at)?.map_or(Val::Optional(None), Val::from)),
        }
    }

    /// The expression, if it is nothing but one.
    pub(super) fn expression(&self) -> Option<&Expression> {
        match &self.root {
            Part::Value(expression) => Some(expression),
            _ => None,
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The body as a value; `None` if it is one expression whose value is not known, or missing as
    /// `x.?y` may be.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Option<Value>, MappingError> {
        self.root.value(scope, &self.at)
    }
}

impl Part {
    fn parse(value: &Value, at: &At, names: &Names) -> Result<Self, MappingError> {
        Ok(match value {
            Value::String(text) => Self::string(text, at, names)?,
            Value::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let at = at.index(index);
                    Ok((Self::parse(item, &at, names)?, at))
                });
                let items: Vec<_> = items.collect::<Result<_, MappingError>>()?;
                if items.iter().all(|(part, _)| part.is_constant()) {
                    constant(value)
                } else {
                    Self::List(items)
                }
            }
            Value::Object(entries) if names.about == About::Batch && is_each(entries) => {
                let (at, names) = (at.child(EACH), names.clone().about(About::Member));
                Self::Each(Box::new(Self::parse(&entries[EACH], &at, &names)?), at)
            }
            Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let mut quoted = Vec::with_capacity(key.len() + 3);
                    write_string(key, &mut quoted);
                    quoted.push(b':');
                    Ok((quoted, Self::parse(value, &at.child(key), names)?))
                });
                let entries: Vec<_> = entries.collect::<Result<_, MappingError>>()?;
                if entries.iter().all(|(_, part)| part.is_constant()) {
                    constant(value)
                } else {
                    Self::Object(entries)
                }
            }
            scalar => constant(scalar),
        })
    }

    fn string(text: &str, at: &At, names: &Names) -> Result<Self, MappingError> {
        if !text.contains("{{") {
            return Ok(constant(&Value::String(text.to_owned())));
        }
        if let Some(inner) = braces::split(text).ok().as_deref().and_then(braces::only) {
            return Expression::compile(inner, at, names).map(Self::Value);
        }
        Text::parse(text, at, names, Escape::None).map(Self::Text)
    }

    fn reads(&self, reads: &mut Reads) {
        match self {
            Self::Constant(_) => {}
            Self::Value(expression) => expression.reads(reads),
            Self::Text(text) => text.reads(reads),
            Self::List(items) => items.iter().for_each(|(item, _)| item.reads(reads)),
            Self::Object(entries) => entries.iter().for_each(|(_, value)| value.reads(reads)),
            Self::Each(part, _) => part.reads(reads),
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// `false` if the value is not known or missing: then nothing is appended.
    fn write(&self, scope: &Scope<'_>, out: &mut Vec<u8>) -> Result<bool, MappingError> {
        match self {
            Self::Constant(json) => out.extend_from_slice(json),
            Self::Value(expression) => return expression.write_json(scope, out),
            Self::Text(text) => {
                let mut plain = String::new();
                text.write(scope, &mut plain)?;
                write_string(&plain, out);
            }
            Self::List(items) => {
                out.push(b'[');
                for (index, (item, at)) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    if !item.write(scope, out)? {
                        return Err(left_out("a list cannot leave an item out", at));
                    }
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                let mut any = false;
                for (key, value) in entries {
                    let before = out.len();
                    if any {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    if value.write(scope, out)? {
                        any = true;
                    } else {
                        out.truncate(before);
                    }
                }
                out.push(b'}');
            }
            Self::Each(part, at) => {
                out.push(b'[');
                let members = scope.members.unwrap_or_default();
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    let within = Scope { members: scope.members, index: Some(index), ..*member };
                    if !part.write(&within, out)? {
                        return Err(left_out("a list cannot leave an item out", at));
                    }
                }
                out.push(b']');
            }
        }
        Ok(true)
    }

    fn value(&self, scope: &Scope<'_>, at: &At) -> Result<Option<Value>, MappingError> {
        if let Self::Value(expression) = self {
            return expression.value_if_any(scope);
        }
        let mut out = Vec::new();
        if !self.write(scope, &mut out)? {
            return Ok(None);
        }
        let parsed = serde_json::from_slice(&out);
        parsed
            .map(Some)
            .map_err(|error| MappingError::new(Kind::Evaluation, format!("it is no JSON: {error}"), at))
    }
}

fn is_each(entries: &serde_json::Map<String, Value>) -> bool {
    entries.len() == 1 && entries.contains_key(EACH)
}

fn constant(value: &Value) -> Part {
    // A value always serialises.
    Part::Constant(serde_json::to_vec(value).unwrap_or_default())
}

fn left_out(why: &str, at: &At) -> MappingError {
    let message = format!(
        "the value is not known, because it is large and this update did not touch it, or it is missing, and {why}. \
         Set `replica identity full` on the table, read it with the entity's `fetch`, or give a default with \
         `.orValue(…)`"
    );
    MappingError::new(Kind::Unchanged, message, at)
}
