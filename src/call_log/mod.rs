//! The log of every call: what was sent, what came back, and where that is kept.
//!
//! Upholds invariant 6 (one record per attempt, with a stable id; stored twice it is there once) and 7
//! (nothing leaves the process before [`Redaction`] has seen it).
//!
//! A [`CallRecord`] is made by whoever makes the attempt and given to a [`CallLogSink`]. Where it goes
//! from there is an [`Outlet`]'s; where it is found again, a [`CallLogStore`]'s. A new place to keep
//! records implements [`CallLogStore`] and runs the conformance suite of the stores.

mod direct;
mod json;
mod line;
pub mod lineage;
mod memory;
pub mod mongodb;
mod pauses;
mod pipeline;
mod query;
pub mod rabbitmq;
mod record;
mod redact;
mod seal;
mod settings;
mod spool;
mod sqlite;
mod text;
mod trace;

pub use direct::Direct;
pub use line::Line;
pub use lineage::{Passage, Spot, Trail};
pub use memory::MemoryCallLog;
pub use pauses::Pauses;
pub use pipeline::{Failing, Pipeline, PipelineGauges, PipelineOptions, Prepare};
pub use query::{CallQuery, Found, moment, status_range};
pub use record::{CallRecord, Content, Exchange, RECORD_VERSION, Record, RecordId};
pub use redact::{RedactError, Redaction};
pub use seal::Seal;
pub use settings::{Encrypt, Settings, Sqlite};
pub use spool::{Cap, Spool, SpoolError, SpoolSettings, WhenFull};
pub use sqlite::SqliteCallLog;
pub use text::Text;
pub use trace::{SpanId, Trace};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::sync::Arc;

/// Why records could not be stored, sent or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct CallLogError {
    /// What was under way.
    pub doing: &'static str,
    /// What happened.
    pub message: String,
    /// A person has to mend something; otherwise time may.
    pub lasting: bool,
}

/// A record that a store will never take, however often it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place among those that were brought.
    pub at: usize,
    /// Why, for a person.
    pub reason: String,
}

/// Takes over the records of a process.
pub trait CallLogSink: Send + Sync {
    /// Takes a record. Where that cannot be done at once, since everything is full and nothing may be dropped,
    /// or the record has to be safe first, it is done once this future ends.
    fn write(&self, record: Record<'_>) -> Option<BoxFuture<'_, ()>>;
}

/// The way out of the process.
#[async_trait]
pub trait Outlet: Send {
    /// Sends these, in order. `Ok` only once the other end has them durably, but for those that it will
    /// never take; those of a failed batch come again, all of them.
    async fn send(&mut self, lines: &Arc<[Line]>) -> Result<Vec<Refused>, CallLogError>;
}

/// Where records are kept and found again.
#[async_trait]
pub trait CallLogStore: Send + Sync {
    /// Stores records durably. One that is stored already stays as it is. One that is never taken holds
    /// up no other: it is named, with the reason, and all others are stored.
    async fn store(&self, records: &[CallRecord]) -> Result<Vec<Refused>, CallLogError>;

    /// The same for records as text.
    async fn store_lines(&self, lines: &Arc<[Line]>) -> Result<Vec<Refused>, CallLogError> {
        let (mut records, mut places, mut refused) =
            (Vec::with_capacity(lines.len()), Vec::new(), Vec::new());
        for (at, line) in lines.iter().enumerate() {
            match serde_json::from_slice::<CallRecord>(line.json()) {
                Ok(record) => {
                    records.push(record);
                    places.push(at);
                }
                Err(error) => refused.push(Refused { at, reason: format!("it cannot be read: {error}") }),
            }
        }
        let by_store = self.store(&records).await?;
        let placed = |it: Refused| places.get(it.at).map(|at| Refused { at: *at, ..it });
        refused.extend(by_store.into_iter().filter_map(placed));
        Ok(refused)
    }

    /// What is asked for, the newest first (by time, then by id). Where the look is bounded, going on
    /// behind where it ended finds all of it.
    async fn search(&self, query: &CallQuery) -> Result<Found, CallLogError>;

    /// The same without where to go on.
    async fn find(&self, query: &CallQuery) -> Result<Vec<CallRecord>, CallLogError> {
        Ok(self.search(query).await?.calls)
    }

    /// One record.
    async fn get(&self, id: &RecordId) -> Result<Option<CallRecord>, CallLogError>;

    /// Forgets what began before this, and says how much that was, where that is known.
    async fn expire(&self, before: Timestamp) -> Result<u64, CallLogError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// One that says something everywhere.
    pub(super) fn record(id: &str) -> CallRecord {
        CallRecord {
            v: RECORD_VERSION,
            id: RecordId(id.into()),
            at: Timestamp::UNIX_EPOCH,
            took_us: 1_500,
            route: "loan.bank".into(),
            entity: "loan".into(),
            keys: ["42".into()].into(),
            changes: ["0/12C.0".into()].into(),
            run: Some(3),
            step: "create".into(),
            attempt: 1,
            call_key: "a".into(),
            remote: "bank".into(),
            method: "POST".into(),
            url: "https://bank.example/loans?full=true".into(),
            request: Content::new(
                [("content-type", "application/json")].into(),
                &Bytes::from_static(b"\"asked\""),
            ),
            response: Some(Exchange {
                status: 422,
                content: Content::new([("etag", "7")].into(), &Bytes::from_static(b"\"answered so\"")),
            }),
            class: Some("refused".into()),
            error: Some("it was refused".into()),
            outcome: "rejected".into(),
            trace: Trace::of("x"),
            span: SpanId::of("x"),
        }
    }
}
