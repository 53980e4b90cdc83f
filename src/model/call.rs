use super::{ChangeId, Headers, MASK};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The HTTP methods that a step may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads; nothing changes at the remote.
    Get,
    /// Mostly creates.
    Post,
    /// Mostly replaces.
    Put,
    /// Mostly changes a part.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// Whether the remote may change by it, so that it needs an idempotency key.
    pub fn mutates(self) -> bool {
        self != Self::Get
    }

    /// As HTTP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// `application/json`.
    Json(Bytes),
    /// `application/x-www-form-urlencoded`, already encoded.
    Form(Bytes),
    /// `text/plain`.
    Text(Bytes),
}

impl Body {
    /// The bytes, if there are any.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Empty => None,
            Self::Json(bytes) | Self::Form(bytes) | Self::Text(bytes) => Some(bytes),
        }
    }
}

/// One request to make: what, not how. Host, auth and retry belong to the remote.
///
/// What is printed to debug shows no header's value: it may be a secret (invariant 7).
#[derive(Clone, PartialEq)]
pub struct Call {
    /// The step's name, made unique within the sequence (`item[3]`, `update#2`): resuming and the
    /// call key go by it.
    pub step: Arc<str>,
    /// The method.
    pub method: Method,
    /// Below the remote's URL, with the query if there is one: `/loans/7?full=true`.
    pub path: String,
    /// Headers beyond the remote's own.
    pub headers: Vec<(Arc<str>, String)>,
    /// What it carries.
    pub body: Body,
    /// Statuses beyond the accepted ones that the synchronizer wants to see instead of having the
    /// engine retry or park: it has a step for them.
    pub handles: Vec<u16>,
    /// The statuses that count as success; empty means any 2xx.
    pub accept: Vec<u16>,
    /// The step that looked whether this call is needed at all. Its answer is forgotten when this
    /// call ends without our knowing whether the remote acted, so that it is asked again.
    pub lookup: Option<Arc<str>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, method, path, headers, body, handles, accept, lookup } = self;
        let headers: Vec<_> = headers.iter().map(|(name, _)| (name, MASK)).collect();
        f.debug_struct("Call")
            .field("step", step)
            .field("method", method)
            .field("path", path)
            .field("headers", &headers)
            .field("body", body)
            .field("handles", handles)
            .field("accept", accept)
            .field("lookup", lookup)
            .finish()
    }
}

impl Call {
    /// Whether this status counts as success.
    pub fn accepts(&self, status: u16) -> bool {
        if self.accept.is_empty() { (200..300).contains(&status) } else { self.accept.contains(&status) }
    }
}

/// What the remote said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Headers,
    /// As it came.
    #[serde(with = "text_or_base64")]
    pub body: Bytes,
}

/// Bodies are kept as text where they are text, so that a person can read what is parked.
mod text_or_base64 {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kept {
        Text(String),
        Base64(String),
    }

    pub fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(body) {
            // Postgres `jsonb` cannot hold NUL.
            Ok(text) if !text.contains('\0') => Kept::Text(text.to_owned()),
            _ => Kept::Base64(BASE64_STANDARD.encode(body)),
        }
        .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        match Kept::deserialize(deserializer)? {
            Kept::Text(text) => Ok(Bytes::from(text)),
            Kept::Base64(text) => BASE64_STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom),
        }
    }
}

/// The idempotency key: derived, never drawn, so a replayed call carries the same one
/// (invariant 3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The route's name.
    pub route: Arc<str>,
    /// Tells databases apart: the same LSN in another cluster is another change.
    pub origin: u32,
    /// The change that causes the call.
    pub change: ChangeId,
    /// A hash of the entity's key, where one change concerns several: a row of a further table
    /// that moves from one to another, a truncate.
    pub key: Option<u64>,
    /// [`Call::step`].
    pub step: Arc<str>,
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChangeId { commit, ordinal } = self.change;
        write!(f, "{}-{:08x}-{:X}-{ordinal}-", self.route, self.origin, commit.raw())?;
        if let Some(key) = self.key {
            write!(f, "{key:016x}-")?;
        }
        f.write_str(&self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_being_stored() {
        for body in [&b"{\"id\":1}"[..], b"\xff\0", b"nul \0 in text", b""] {
            let headers = [("etag", "7")].into();
            let answer = Answer { status: 201, headers, body: Bytes::copy_from_slice(body) };
            let stored = serde_json::to_string(&answer).expect("an answer serialises");
            assert!(!stored.contains("\\u0000"), "jsonb refuses NUL: {stored}");
            assert_eq!(serde_json::from_str::<Answer>(&stored).expect("and back"), answer);
        }
    }
}
