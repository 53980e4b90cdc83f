use super::{Fault, Val, arguments, not_in_table};
use crate::mapping::expression::field::shown_value;

/// `x.lookup(table, default)` with a table that is a value.
pub(super) fn lookup<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let mut values = values.into_iter();
    let (value, table) = (values.next().unwrap_or(Val::Null), values.next().unwrap_or(Val::Null));
    let entries =
        table.into_entries().map_err(|it| format!("`lookup` wants an object, but it is {}", it.kind()))?;
    let key = value.text()?;
    let found = entries.into_iter().find(|(name, _)| *name == key).map(|(_, found)| found);
    found.or_else(|| values.next()).ok_or_else(|| not_in_table(&value))
}

pub(super) fn size<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let size = match value {
        Val::Text(text) => text.chars().count(),
        Val::Batch(batch) => batch.len(),
        other => match other.into_items() {
            Ok(items) => items.len(),
            Err(other) => match other.into_entries() {
                Ok(entries) => entries.len(),
                Err(other) => return Err(format!("{} has no size", other.kind()).into()),
            },
        },
    };
    i64::try_from(size).map(Val::Int).map_err(|_| "it is too large".into())
}

/// `string(x)`: the text as it would stand in a template.
pub(super) fn string<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    match value {
        Val::Text(_) => Ok(value),
        other => Ok(other.text()?.into_owned().into()),
    }
}

pub(super) fn bool<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    match &value {
        Val::Bool(_) => return Ok(value),
        Val::Text(text) => match &*text.to_ascii_lowercase() {
            "true" | "t" | "1" => return Ok(Val::Bool(true)),
            "false" | "f" | "0" => return Ok(Val::Bool(false)),
            _ => {}
        },
        _ => {}
    }
    Err(format!("{} is neither true nor false", shown_value(&value)).into())
}

/// `type(x)`, as text: `type(item) == 'string'`.
pub(super) fn type_name<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    Ok(match value {
        Val::Null => "null",
        Val::Bool(_) => "bool",
        Val::Int(_) => "int",
        Val::Float(_) => "double",
        Val::Decimal(_) => "decimal",
        Val::Text(_) => "string",
        Val::Time(_) => "timestamp",
        Val::List(_) | Val::Batch(_) => "list",
        Val::Json(json) if json.is_array() => "list",
        Val::Json(_) | Val::Map(_) | Val::Row(_) | Val::Answers(_) | Val::Answer(_) => "map",
        Val::Optional(_) => "optional",
    }
    .into())
}

fn optional<'a>(function: &str, value: Val<'a>) -> Result<Option<Box<Val<'a>>>, Fault> {
    match value {
        Val::Optional(inner) => Ok(inner),
        other => {
            Err(format!("`{function}` follows `x.?y`, which may be missing; this is {}", other.kind()).into())
        }
    }
}

pub(super) fn has_value<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    Ok(optional("hasValue", value)?.is_some().into())
}

pub(super) fn value<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let inner = optional("value", value)?;
    inner.map(|it| *it).ok_or_else(|| "it is missing here, and `value()` wants it".into())
}

pub(super) fn or<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, other] = arguments(values)?;
    match optional("or", value)? {
        Some(inner) => Ok(Val::Optional(Some(inner))),
        None => Ok(Val::Optional(optional("or", other)?)),
    }
}

pub(super) fn optional_of<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    Ok(Val::some(value))
}
