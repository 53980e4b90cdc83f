use super::{Fault, exact::Exact};
use crate::mapping::moment::Moment;
use crate::model::{Answer, Answered, Row};
use serde_json::{Map, Number, Value};
use std::{borrow::Cow, fmt::Write};

/// A value while an expression is evaluated. It borrows from the scope where it can.
#[derive(Clone, Debug)]
pub(in crate::mapping) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(Exact<'a>),
    Text(Cow<'a, str>),
    Time(Moment),
    /// An array or an object; scalars become values of their own at once.
    Json(Cow<'a, Value>),
    List(Vec<Val<'a>>),
    /// In the order written or received; keys are unique.
    Map(Vec<(Cow<'a, str>, Val<'a>)>),
    Row(&'a Row),
    /// A list with one item for each row of a batch.
    Batch(super::batch::Batch<'a>),
    Answers(&'a [Answered]),
    Answer(&'a Answer),
    /// `x.?y`: a value that may be missing.
    Optional(Option<Box<Val<'a>>>),
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Val<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

fn number<'a>(number: &Number) -> Val<'a> {
    match number.as_i64() {
        Some(int) => Val::Int(int),
        // With `arbitrary_precision` this is the text that was parsed.
        None => Val::Decimal(Exact::new(Cow::Owned(number.to_string()))),
    }
}

impl<'a> From<&'a Value> for Val<'a> {
    fn from(json: &'a Value) -> Self {
        match json {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(it) => number(it),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Self::Json(Cow::Borrowed(json)),
        }
    }
}

impl From<Value> for Val<'_> {
    fn from(json: Value) -> Self {
        match json {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(truth),
            Value::Number(it) => number(&it),
            Value::String(text) => Self::Text(Cow::Owned(text)),
            Value::Array(_) | Value::Object(_) => Self::Json(Cow::Owned(json)),
        }
    }
}

impl<'a> Val<'a> {
    pub fn some(value: Val<'a>) -> Self {
        Self::Optional(Some(Box::new(value)))
    }

    /// What messages call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Decimal(_) => "a decimal",
            Self::Text(_) => "text",
            Self::Time(moment) => moment.kind(),
            Self::List(_) | Self::Batch(_) => "a list",
            Self::Json(json) if json.is_array() => "a list",
            Self::Json(_) | Self::Map(_) => "an object",
            Self::Row(_) => "a row",
            Self::Answers(_) => "the answers",
            Self::Answer(_) => "an answer",
            Self::Optional(_) => "an optional value",
        }
    }

    /// The items of a list.
    pub fn into_items(self) -> Result<Vec<Val<'a>>, Val<'a>> {
        match self {
            Self::List(items) => Ok(items),
            Self::Batch(batch) => Ok(batch.items().collect()),
            Self::Json(Cow::Borrowed(Value::Array(items))) => Ok(items.iter().map(Val::from).collect()),
            Self::Json(Cow::Owned(Value::Array(items))) => Ok(items.into_iter().map(Val::from).collect()),
            other => Err(other),
        }
    }

    /// The entries of an object.
    pub fn into_entries(self) -> Result<Vec<(Cow<'a, str>, Val<'a>)>, Val<'a>> {
        match self {
            Self::Map(entries) => Ok(entries),
            Self::Row(row) => super::row::entries(row).map_err(|_| Self::Row(row)),
            Self::Json(Cow::Borrowed(Value::Object(entries))) => {
                Ok(entries.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), value.into())).collect())
            }
            Self::Json(Cow::Owned(Value::Object(entries))) => {
                Ok(entries.into_iter().map(|(key, value)| (Cow::Owned(key), value.into())).collect())
            }
            other => Err(other),
        }
    }

    /// The value as it stands in text.
    pub fn write_text(&self, out: &mut String) -> Result<(), Fault> {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Self::Int(int) => out.push_str(itoa::Buffer::new().format(*int)),
            Self::Float(float) => out.push_str(&float_text(*float)),
            Self::Decimal(exact) => out.push_str(exact.text()),
            // Writing to a string cannot fail.
            Self::Time(moment) => drop(write!(out, "{moment}")),
            Self::Null => {
                return Err("it is null, which has no text; use `x == null ? '' : x`, or `if` to leave the \
                            step out"
                    .into());
            }
            Self::Optional(Some(value)) => return value.write_text(out),
            Self::Optional(None) => return Err(missing()),
            other => return Err(format!("{} is no text; `to_json()` makes one of it", other.kind()).into()),
        }
        Ok(())
    }

    /// The value as text of its own.
    pub fn text(&self) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            other => {
                let mut text = String::new();
                other.write_text(&mut text)?;
                Ok(Cow::Owned(text))
            }
        }
    }

    /// The value as JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(int) => out.extend_from_slice(itoa::Buffer::new().format(*int).as_bytes()),
            Self::Float(float) if float.is_finite() => out.extend_from_slice(float_text(*float).as_bytes()),
            Self::Float(float) => write_string(&float_text(*float), out),
            Self::Decimal(exact) => out.extend_from_slice(exact.text().as_bytes()),
            Self::Text(text) => write_string(text, out),
            Self::Time(moment) => write_string(&moment.to_string(), out),
            Self::Json(json) => write_value(json, out)?,
            Self::List(items) => write_list(items.iter().map(Cow::Borrowed), out)?,
            Self::Batch(batch) => write_list(batch.items().map(Cow::Owned), out)?,
            Self::Map(entries) => {
                out.push(b'{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_string(key, out);
                    out.push(b':');
                    value.write_json(out)?;
                }
                out.push(b'}');
            }
            Self::Optional(Some(value)) => return value.write_json(out),
            Self::Optional(None) => return Err(missing()),
            Self::Row(row) => return super::row::write_json(row, out),
            Self::Answers(_) | Self::Answer(_) => {
                return Err(format!(
                    "{} as a whole is no value; name a part of it, such as `.body`",
                    self.kind()
                )
                .into());
            }
        }
        Ok(())
    }

    /// The value as JSON, for what is kept.
    pub fn into_json(self) -> Result<Value, Fault> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Int(int) => int.into(),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Time(moment) => Value::String(moment.to_string()),
            Self::Json(json) => json.into_owned(),
            Self::List(items) => {
                Value::Array(items.into_iter().map(Val::into_json).collect::<Result<_, _>>()?)
            }
            Self::Map(entries) => {
                let mut object = Map::with_capacity(entries.len());
                for (key, value) in entries {
                    object.insert(key.into_owned(), value.into_json()?);
                }
                Value::Object(object)
            }
            Self::Optional(Some(value)) => value.into_json()?,
            // Numbers keep their digits by way of their text.
            other => {
                let mut text = Vec::new();
                other.write_json(&mut text)?;
                serde_json::from_slice(&text)
                    .map_err(|error| Fault::from(format!("it is no JSON: {error}")))?
            }
        })
    }
}

fn write_list<'v, 'a: 'v>(
    items: impl Iterator<Item = Cow<'v, Val<'a>>>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item.write_json(out)?;
    }
    out.push(b']');
    Ok(())
}

fn missing() -> Fault {
    "it is missing here; say what stands in for it with `.orValue(…)`".into()
}

/// A float as JSON and Postgres write it, or `NaN`, `Infinity`, `-Infinity`.
fn float_text(float: f64) -> String {
    match Number::from_f64(float) {
        Some(number) => number.to_string(),
        None if float.is_nan() => "NaN".to_owned(),
        None if float > 0.0 => "Infinity".to_owned(),
        None => "-Infinity".to_owned(),
    }
}

/// A JSON string, quoted and escaped.
pub(in crate::mapping) fn write_string(text: &str, out: &mut Vec<u8>) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A string into memory always serialises.
        let _ = serde_json::to_writer(out, text);
    }
}

fn write_value(json: &Value, out: &mut Vec<u8>) -> Result<(), Fault> {
    serde_json::to_writer(out, json).map_err(|error| format!("it cannot be written as JSON: {error}").into())
}
