//! What the text that Postgres prints for a value means, by the column's type: as a value for
//! expressions, and directly as JSON.
//!
//! Nothing is lost and nothing is guessed: numbers keep their digits, dates keep their years, and a
//! text that is not what Postgres prints for the type is an error, never a panic. A new type is a
//! variant of [`Type`], a line here, and a file if its text has a grammar of its own.

mod array;
mod bytea;
mod composite;
mod element;
mod interval;
mod range;
#[cfg(test)]
mod tests;

use super::{
    expression::{Exact, Fault, Val, shown, write_string},
    moment::{Form, parse},
};
use crate::model::Type;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::borrow::Cow;

/// The text is not what Postgres prints for the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(&'static str);

impl Malformed {
    /// The same with the column's name and the text.
    pub fn in_column(self, column: &str, text: &str) -> Fault {
        format!("column `{column}`: {} is not {}", shown(text), self.0).into()
    }
}

/// The value for an expression.
pub(super) fn read<'a>(ty: &Type, text: &'a str) -> Result<Val<'a>, Malformed> {
    let moment = |form, what| parse::parse(text, form).map(Val::Time).ok_or(Malformed(what));
    Ok(match ty {
        Type::Bool => Val::Bool(truth(text)?),
        Type::Int => Val::Int(text.parse().map_err(|_| Malformed("an integer"))?),
        Type::Float => match text {
            "NaN" | "Infinity" | "-Infinity" => text.into(),
            _ if json_number(text) => Val::Float(text.parse().map_err(|_| Malformed("a number"))?),
            _ => return Err(Malformed("a number")),
        },
        Type::Numeric => match text {
            "NaN" | "Infinity" | "-Infinity" => text.into(),
            _ if json_number(text) => Val::Decimal(Exact::new(Cow::Borrowed(text))),
            _ => return Err(Malformed("a number")),
        },
        Type::Money | Type::Text | Type::Uuid | Type::Enum | Type::Other => text.into(),
        Type::Date => moment(Form::Date, "a date")?,
        Type::Time => moment(Form::Time, "a time")?,
        Type::TimeTz => moment(Form::TimeTz(0), "a time with its offset")?,
        Type::Timestamp => moment(Form::Timestamp, "a timestamp")?,
        Type::TimestampTz => moment(Form::TimestampTz, "a timestamp with its offset")?,
        Type::Json => json(text)?.into(),
        Type::Bytea => base64(text)?.into(),
        Type::Interval => interval(text)?.into(),
        Type::Array { .. } | Type::Composite(_) | Type::Range(_) | Type::Multirange(_) => {
            let mut out = Vec::new();
            write_json(ty, text, &mut out)?;
            serde_json::from_slice::<serde_json::Value>(&out)
                .map_err(|_| Malformed("a value of its type"))?
                .into()
        }
    })
}

/// The value as JSON text.
pub(super) fn write_json(ty: &Type, text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match ty {
        Type::Bool => out.extend_from_slice(if truth(text)? { b"true" } else { b"false" }),
        Type::Int | Type::Float | Type::Numeric if json_number(text) => {
            out.extend_from_slice(text.as_bytes())
        }
        Type::Int => return Err(Malformed("an integer")),
        Type::Float | Type::Numeric => match text {
            "NaN" | "Infinity" | "-Infinity" => write_string(text, out),
            _ => return Err(Malformed("a number")),
        },
        Type::Json => {
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| Malformed("JSON"))?;
            out.extend_from_slice(text.as_bytes());
        }
        Type::Date | Type::Time | Type::TimeTz | Type::Timestamp | Type::TimestampTz => {
            // These have no further parts, so reading them does not come back here.
            if let Val::Time(moment) = read(ty, text)? {
                write_string(&moment.to_string(), out);
            }
        }
        Type::Money | Type::Text | Type::Uuid | Type::Enum | Type::Other => write_string(text, out),
        Type::Bytea => write_string(&base64(text)?, out),
        Type::Interval => write_string(&interval(text)?, out),
        Type::Array { element, delimiter } => array::write(element, *delimiter, text, out)?,
        Type::Composite(fields) => composite::write(fields, text, out)?,
        Type::Range(of) => range::write(of, text, out)?,
        Type::Multirange(of) => range::write_many(of, text, out)?,
    }
    Ok(())
}

fn truth(text: &str) -> Result<bool, Malformed> {
    match text {
        "t" | "true" => Ok(true),
        "f" | "false" => Ok(false),
        _ => Err(Malformed("a boolean")),
    }
}

fn base64(text: &str) -> Result<String, Malformed> {
    bytea::bytes(text).map(|bytes| BASE64_STANDARD.encode(bytes)).ok_or(Malformed("a bytea"))
}

fn interval(text: &str) -> Result<String, Malformed> {
    interval::iso(text).ok_or(Malformed("an interval in style `postgres` or `iso_8601`"))
}

fn json(text: &str) -> Result<serde_json::Value, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed("JSON"))
}

/// Whether the text is a number as JSON writes it.
pub(super) fn json_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.starts_with('0')) {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}
