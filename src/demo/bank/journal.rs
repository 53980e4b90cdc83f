use super::store::Request;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use std::{mem, sync::Arc};
use tokio::time::Instant;

/// One request that the bank acted on, or recognised: what an oracle goes by.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its place among all of them.
    pub sequence: u64,
    /// The request's method.
    pub method: Arc<str>,
    /// The request's path.
    pub path: Arc<str>,
    /// The object it concerned, which a `POST` to a collection names only afterwards.
    pub object: Arc<str>,
    /// Its `Idempotency-Key`.
    pub key: Option<Arc<str>>,
    /// Its status.
    pub status: u16,
    /// Whether it was applied or answered from memory.
    pub effect: Effect,
    /// When it happened.
    #[serde(skip)]
    pub at: Instant,
    #[serde(skip)]
    body: Bytes,
}

/// What a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It changed the object.
    Applied,
    /// Its idempotency key had been seen: nothing was changed.
    Duplicate,
}

impl Entry {
    fn new(sequence: u64, request: &Request<'_>, object: &str, status: StatusCode, applied: bool) -> Self {
        Self {
            sequence,
            method: request.method.as_str().into(),
            path: request.path.into(),
            object: object.into(),
            key: request.key.map(Arc::from),
            status: status.as_u16(),
            effect: if applied { Effect::Applied } else { Effect::Duplicate },
            at: Instant::now(),
            body: request.body.clone(),
        }
    }

    /// The request's body; null if it had none.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// The entries nobody took yet.
#[derive(Debug, Default)]
pub struct Journal {
    next: u64,
    entries: Vec<Entry>,
    /// Of all requests, also of those that nothing came of.
    pub spans: Vec<Arc<str>>,
}

impl Journal {
    pub fn push(&mut self, request: &Request<'_>, object: &str, status: StatusCode, applied: bool) {
        self.entries.push(Entry::new(self.next, request, object, status, applied));
        self.next += 1;
    }

    /// The entries from this sequence number on.
    pub fn from(&self, sequence: u64) -> Vec<Entry> {
        let at = self.entries.partition_point(|entry| entry.sequence < sequence);
        self.entries[at..].to_vec()
    }

    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.next
    }

    pub fn take(&mut self) -> Vec<Entry> {
        mem::take(&mut self.entries)
    }
}
