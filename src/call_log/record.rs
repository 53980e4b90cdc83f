use super::{SpanId, Text, Trace};
use crate::model::{Headers, shared};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, sync::Arc};

/// The version of the record's schema, which `docs/call-log.md` describes.
pub const RECORD_VERSION: u32 = 1;

/// Names one attempt: the call key, what makes the same call once more, and which request for it this was.
/// A record that is stored again has the same name; no other request has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RecordId(pub Arc<str>);

impl RecordId {
    /// The name of the `attempt`th request for a call, the first being 1. `scope` is what makes the same
    /// call once more: a run, or a restart.
    pub fn new(call_key: &str, scope: Option<&str>, attempt: u32) -> Self {
        Self(match scope {
            Some(scope) => shared(format_args!("{call_key}#{scope}.{attempt}")),
            None => shared(format_args!("{call_key}#{attempt}")),
        })
    }

    /// What is told to the remote of it.
    pub fn span(&self) -> SpanId {
        SpanId::of(&self.0)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A [`Record`] that shares nothing with whoever made it.
pub type CallRecord = Record<'static>;

/// One attempt of one call. The names in it may be those of the configuration, which all threads have in hand: each
/// count of who shares them would go from core to core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallRecord")]
pub struct Record<'a> {
    /// [`RECORD_VERSION`] at the time.
    pub v: u32,
    /// Names the attempt.
    pub id: RecordId,
    /// When the request began.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The route's name.
    pub route: Cow<'a, str>,
    /// The entity's name.
    pub entity: Cow<'a, str>,
    /// The keys of the rows it carried: one, or those of a batch.
    pub keys: Arc<[Arc<str>]>,
    /// The changes it carried, in the order of the keys; none where an audit asks.
    pub changes: Arc<[Arc<str>]>,
    /// The bounded run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// The step of the sequence.
    pub step: Cow<'a, str>,
    /// Which request for this call it was.
    pub attempt: u32,
    /// The call key, which mutating calls carry as `Idempotency-Key`.
    pub call_key: Cow<'a, str>,
    /// The remote's name.
    pub remote: Cow<'a, str>,
    /// The HTTP method.
    pub method: Cow<'static, str>,
    /// The whole URL, without credentials.
    pub url: String,
    /// What was sent.
    pub request: Content,
    /// What came back, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Exchange>,
    /// What kind of failure it was: `transport`, `timeout`, `refused`, …; `None` if it was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Cow<'static, str>>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What followed from it: `answered`, `retry`, `held`, `parked`, `interrupted`.
    pub outcome: Cow<'static, str>,
    /// The trace that all calls of the change share.
    pub trace: Trace,
    /// The span that the remote was told.
    pub span: SpanId,
}

impl Record<'_> {
    /// The same, with all that is in it.
    pub fn into_owned(self) -> CallRecord {
        let owned = |it: Cow<'_, str>| Cow::Owned(it.into_owned());
        Record {
            v: self.v,
            id: self.id,
            at: self.at,
            took_us: self.took_us,
            route: owned(self.route),
            entity: owned(self.entity),
            keys: self.keys,
            changes: self.changes,
            run: self.run,
            step: owned(self.step),
            attempt: self.attempt,
            call_key: owned(self.call_key),
            remote: owned(self.remote),
            method: self.method,
            url: self.url,
            request: self.request,
            response: self.response,
            class: self.class,
            error: self.error,
            outcome: self.outcome,
            trace: self.trace,
            span: self.span,
        }
    }

    /// The same without headers and bodies.
    pub fn bare(&self) -> Self {
        Self {
            v: self.v,
            id: self.id.clone(),
            at: self.at,
            took_us: self.took_us,
            route: self.route.clone(),
            entity: self.entity.clone(),
            keys: Arc::clone(&self.keys),
            changes: Arc::clone(&self.changes),
            run: self.run,
            step: self.step.clone(),
            attempt: self.attempt,
            call_key: self.call_key.clone(),
            remote: self.remote.clone(),
            method: self.method.clone(),
            url: self.url.clone(),
            request: Content::default(),
            response: self
                .response
                .as_ref()
                .map(|it| Exchange { status: it.status, content: Content::default() }),
            class: self.class.clone(),
            error: self.error.clone(),
            outcome: self.outcome.clone(),
            trace: self.trace,
            span: self.span,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exchange {
    /// The HTTP status.
    pub status: u16,
    /// Its headers and body.
    #[serde(flatten)]
    pub content: Content,
}

/// Headers and a body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    /// Names and values, credentials masked.
    pub headers: Headers,
    /// The body as text, cut at the configured size; or sealed, then it begins with `sealed:`.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub body: Text,
    /// How long the whole body was, in bytes.
    pub size: u64,
    /// The body is not UTF-8 and is written in Base64.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub base64: bool,
}

impl Content {
    /// These headers and this body, as they are.
    pub fn new(headers: Headers, body: &Bytes) -> Self {
        let size = body.len() as u64;
        match Text::of(body) {
            Some(body) => Self { headers, body, size, base64: false },
            None => Self { headers, body: STANDARD.encode(body).into(), size, base64: true },
        }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body was longer than what is kept of it.
    pub fn is_cut(&self) -> bool {
        !self.base64 && !self.body.starts_with(super::seal::SEALED) && (self.body.len() as u64) < self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_named_by_its_call_and_its_number() {
        let ids = [("a-1", None, 1), ("a-1", None, 2), ("a-1", Some("7"), 1), ("a-2", None, 1)]
            .map(|(key, run, attempt)| RecordId::new(key, run, attempt));
        assert_eq!(ids.each_ref().map(ToString::to_string), ["a-1#1", "a-1#2", "a-1#7.1", "a-2#1"]);
        let spans: std::collections::BTreeSet<SpanId> = ids.iter().map(RecordId::span).collect();
        assert_eq!(spans.len(), ids.len());
    }
}
