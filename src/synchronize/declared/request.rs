//! A step and the values in scope, written out as a call.

use super::plan::{Content, Plan, has_gap};
use crate::{
    mapping::{Json, MappingError, Scope},
    model::{Body, Call, one_line},
};
use bytes::Bytes;
use serde_json::Value;
use std::{fmt::Write, sync::Arc};

/// Why a call cannot be written.
#[derive(Debug)]
pub(super) enum Unwritable {
    Mapping(MappingError),
    /// A value in the path is empty.
    Gap {
        path: String,
    },
    /// A query or form parameter that is no plain value.
    Parameter {
        name: String,
        kind: &'static str,
    },
}

impl Unwritable {
    /// For a person.
    pub fn message(self, plan: &Plan) -> String {
        match self {
            Self::Mapping(error) => error.to_string(),
            Self::Gap { path } => format!(
                "{}: a value in the path is empty: `{}` is not what is meant; use `if` to leave the step out",
                plan.at.path,
                one_line(&path, 200)
            ),
            Self::Parameter { name, kind } => format!(
                "step `{}`: parameter `{name}` is {kind}, which a query or form cannot carry",
                plan.name
            ),
        }
    }
}

impl From<MappingError> for Unwritable {
    fn from(error: MappingError) -> Self {
        Self::Mapping(error)
    }
}

/// Writes the call that a step makes under this name.
pub(super) fn write(
    plan: &Plan,
    step: Arc<str>,
    lookup: Option<Arc<str>>,
    scope: &Scope<'_>,
) -> Result<Call, Unwritable> {
    let mut path = String::with_capacity(64);
    plan.path.write(scope, &mut path)?;
    if !plan.gaps && has_gap(&path) {
        return Err(Unwritable::Gap { path });
    }
    if !plan.query.is_empty() {
        let query = parameters(&plan.query, scope)?;
        if !query.is_empty() {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&query);
        }
    }
    let mut headers = Vec::with_capacity(plan.headers.len());
    for (name, text) in &plan.headers {
        let mut value = String::new();
        text.write(scope, &mut value)?;
        headers.push((name.clone(), value));
    }
    let body = match &plan.body {
        Content::Nothing => Body::Empty,
        Content::Json(json) => {
            let mut bytes = Vec::with_capacity(256);
            json.write(scope, &mut bytes)?;
            Body::Json(bytes.into())
        }
        Content::Form(values) => Body::Form(parameters(values, scope)?.into()),
        Content::Text(text) => {
            let mut written = String::new();
            text.write(scope, &mut written)?;
            Body::Text(Bytes::from(written))
        }
    };
    let (handles, accept) = (plan.handles.clone(), plan.accept.statuses().to_vec());
    Ok(Call { step, method: plan.method, path, headers, body, handles, accept, lookup })
}

/// `a=1&b=x%20y`: null and unknown values are left out, a list repeats its name.
fn parameters(values: &[(String, Json)], scope: &Scope<'_>) -> Result<String, Unwritable> {
    let mut out = String::new();
    for (name, json) in values {
        match json.value(scope)? {
            None => {}
            Some(Value::Array(items)) => {
                for item in &items {
                    parameter(name, item, &mut out)?;
                }
            }
            Some(value) => parameter(name, &value, &mut out)?,
        }
    }
    Ok(out)
}

fn parameter(name: &str, value: &Value, out: &mut String) -> Result<(), Unwritable> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Array(_) => {
            return Err(Unwritable::Parameter { name: name.to_owned(), kind: "a list in a list" });
        }
        Value::Object(_) => return Err(Unwritable::Parameter { name: name.to_owned(), kind: "an object" }),
    };
    if !out.is_empty() {
        out.push('&');
    }
    encode(name, out);
    out.push('=');
    encode(&text, out);
    Ok(())
}

/// Percent-encodes all but RFC 3986's unreserved characters: right in a query and in a form.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_encoded_and_only_plain_values_are_allowed() {
        let mut out = String::new();
        for (name, value) in
            [("a b", json!("x&y=é")), ("n", json!(1)), ("none", json!(null)), ("t", json!(true))]
        {
            parameter(name, &value, &mut out).expect("a plain value");
        }
        assert_eq!(out, "a%20b=x%26y%3D%C3%A9&n=1&t=true");
        assert!(parameter("o", &json!({}), &mut out).is_err());
    }
}
