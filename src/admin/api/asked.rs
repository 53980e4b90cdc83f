//! One request, read: nothing in it is longer than it may be, and everything is of its form.

use super::{
    endpoint::Endpoint,
    params::{Given, Param},
};
use crate::admin::{
    guard::{Operator, is_json},
    problem::{BAD_BODY, BAD_TYPE, Problem, TOO_LARGE},
};
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Longer reasons would not be read.
const LONGEST_REASON: usize = 1_000;
/// The largest body.
const LARGEST: usize = 64 << 10;

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub places: Given,
    pub query: Given,
    /// By what name an operator is known.
    pub who: &'static str,
    body: Bytes,
}

/// What a form told: what stands in an endpoint's path, behind its `?`, and in its body.
#[derive(Debug, Default)]
pub(in crate::admin) struct Told {
    pub places: Vec<(&'static str, String)>,
    pub query: Vec<(&'static str, String)>,
    pub body: Value,
}

impl Asked {
    pub(super) async fn read(
        endpoint: &Endpoint,
        operator: Operator,
        parts: &Parts,
        body: Body,
    ) -> Result<Self, Problem> {
        let places = places(endpoint, parts.uri.path())?;
        let query = Given::query(endpoint.query, parts.uri.query())?;
        let body = match endpoint.body {
            Some(_) => read_body(&parts.headers, body).await?,
            None => Bytes::new(),
        };
        Ok(Self { places, query, who: operator.role.name(), body })
    }

    /// What a form told, in place of a request.
    pub(super) fn told_by_form(endpoint: &Endpoint, operator: Operator, told: Told) -> Result<Self, Problem> {
        let (mut places, mut query) = (Given::default(), Given::default());
        told.places.into_iter().try_for_each(|(name, value)| places.take(endpoint.places, name, value))?;
        told.query.into_iter().try_for_each(|(name, value)| query.take(endpoint.query, name, value))?;
        let body = if endpoint.body.is_some() { told.body.to_string().into() } else { Bytes::new() };
        Ok(Self { places, query, who: operator.role.name(), body })
    }

    /// The body; without one, whatever may be left out is.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text: &[u8] = if self.body.trim_ascii().is_empty() { b"{}" } else { &self.body };
        let mut reader = serde_json::Deserializer::from_slice(text);
        let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let path = error.path().to_string();
            let inner = error.into_inner();
            let at = if path == "." { String::new() } else { format!("`{path}`: ") };
            let problem = Problem::new(BAD_BODY, format!("{at}{inner}"));
            if path == "." { problem } else { problem.of(&path) }
        })?;
        reader.end().map_err(|error| Problem::new(BAD_BODY, error.to_string()))?;
        Ok(read)
    }

    /// Why something is done, as a person says it.
    pub(super) fn reason(text: &str) -> Result<&str, Problem> {
        let text = text.trim();
        let wrong = |detail: &str| Err(Problem::new(BAD_BODY, detail).of("reason"));
        match text.len() {
            0 => wrong("`reason` is empty: say why"),
            1..=LONGEST_REASON => Ok(text),
            _ => wrong("`reason` is longer than 1000 bytes"),
        }
    }

    /// All of it, for the list of operations.
    pub(super) fn told(&self) -> Value {
        let given = self.places.all().chain(self.query.all());
        let mut told: Map<String, Value> =
            given.map(|(name, value)| (name.to_owned(), json!(value))).collect();
        if let Ok(Value::Object(body)) = serde_json::from_slice(&self.body) {
            told.extend(body);
        }
        told.into()
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(TOO_LARGE, format!("a body has at most {LARGEST} bytes"));
    let said = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|it| it > LARGEST) {
        return Err(too_large());
    }
    let body = to_bytes(body, LARGEST).await.map_err(|_| too_large())?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if holds_nul(&body) {
        return Err(Problem::new(
            BAD_BODY,
            "a text in it holds the character NUL, which Postgres does not take",
        ));
    }
    if !body.is_empty() && !kind.is_some_and(is_json) {
        return Err(Problem::new(BAD_TYPE, "send a body as `Content-Type: application/json`"));
    }
    Ok(body)
}

/// Whatever is no JSON is said to be none later.
fn holds_nul(body: &[u8]) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(within),
            Value::Object(map) => map.iter().any(|(name, value)| name.contains('\0') || within(value)),
            _ => false,
        }
    }
    serde_json::from_slice(body).is_ok_and(|value| within(&value))
}

/// What stands in the path where the endpoint has a name in braces. The router has matched it already.
fn places(endpoint: &Endpoint, path: &str) -> Result<Given, Problem> {
    let mut given = Given::default();
    let known: &[Param] = endpoint.places;
    for (pattern, segment) in endpoint.path.split('/').zip(path.split('/')) {
        let name = pattern.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        if let Some(name) = name {
            given.take(known, name, decoded(segment))?;
        }
    }
    Ok(given)
}

/// Without `%` and its two digits.
pub(in crate::admin) fn decoded(segment: &str) -> String {
    let escaped = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(escaped.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_path_may_hold_anything_that_is_escaped() {
        for (written, meant) in [
            ("loan-1-16B3748-0-create%231", "loan-1-16B3748-0-create#1"),
            ("a%2Fb", "a/b"),
            ("a+b=c&d", "a+b=c&d"),
        ] {
            assert_eq!(decoded(written), meant);
        }
    }
}
