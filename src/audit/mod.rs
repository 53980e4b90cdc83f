//! Whether a remote holds what the rows say: each object is asked for and compared.
//!
//! An [`Auditor`] goes through one entity's rows at one remote, piece by piece, and then through the
//! keys that are linked but have no row. It needs no lease and writes nothing but marks into the log,
//! so it works beside a running service, and it calls under the remote's limits and retries.
//!
//! What does not agree is looked at again before it is said: once the service has settled everything
//! that could be seen when the row was read, and only if the row is the same before and after the
//! object was asked for. Memory is bounded by a few pieces.
//!
//! Every question leaves a record in the log of calls (invariant 6), as every call does.

mod ask;
mod look;
mod report;

pub use look::Auditor;
pub use report::{Place, Report, tally};

use crate::{
    capture::{PostgresChunks, PostgresReader, SourceError},
    engine::{CallLog, Remote, stopped},
    model::{RunId, RunKind},
    postgres::Pool,
    routing::Route,
    synchronize::ObjectRead,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{num::NonZeroU32, time::Duration};
use tokio::sync::watch;

/// Why an audit cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The rows cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What is known of the keys cannot be read.
    #[error("the state database: {0}")]
    State(String),
    /// The remote does not answer, or lets nobody in.
    #[error("remote `{remote}` cannot be asked: {message}")]
    Remote {
        /// Its name.
        remote: String,
        /// What was called, and what came back.
        message: String,
    },
    /// It is to stop.
    #[error("it was stopped")]
    Stopped,
}

/// What is audited.
pub struct Subject {
    /// The entity.
    pub entity: String,
    /// Its route.
    pub route: Route,
    /// How it is asked for.
    pub read: ObjectRead,
    /// Whom to ask.
    pub remote: Remote,
    /// How many calls at once, at most.
    pub at_once: usize,
    /// How much longer than others a question has to wait before it goes first.
    pub behind: Duration,
    /// Where a record of each request goes; `None`: no log is kept.
    pub call_log: CallLog,
    /// The run that it is for.
    pub run: Option<RunId>,
    /// When to stop; `None`: never.
    pub stop: Option<watch::Receiver<bool>>,
    /// The source's name.
    pub source: String,
    /// Reads rows in pieces.
    pub chunks: PostgresChunks,
    /// Reads what the entity fetches.
    pub reader: PostgresReader,
    /// Connections to the state database.
    pub state: Pool,
    /// A service is at work on the source.
    pub served: bool,
    /// How many bytes of rows are read at once.
    pub piece: usize,
}

impl Subject {
    /// How many bytes of rows are held, at most, where no row is larger than a piece.
    pub fn held(piece: usize) -> usize {
        look::HELD * piece
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, AuditError> {
        let Some(stop) = &self.stop else { return Ok(work.await) };
        let mut stop = stop.clone();
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = stopped(&mut stop) => Err(AuditError::Stopped),
        }
    }
}

/// How much is looked at, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// So many rows by chance, and no links, instead of everything.
    pub sample: Option<NonZeroU32>,
    /// Objects a second, at most.
    pub rate: Option<NonZeroU32>,
    /// How long the service may take to come as far as a row that was read.
    pub patience: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { sample: None, rate: None, patience: Duration::from_secs(60) }
    }
}

/// What was found about one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The source.
    pub source: String,
    /// The entity.
    pub entity: String,
    /// Its route.
    pub route: String,
    /// The key.
    pub key: String,
    /// What is wrong.
    pub finding: Kind,
    /// The fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// Why it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Where it is in the object.
    pub field: String,
    /// What the row says.
    pub here: Value,
    /// What the remote holds.
    pub there: Value,
}

/// What can be wrong, in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The service has not come far enough in time.
    Behind,
    /// The object is not what the row says.
    Different,
    /// There is a link and an object, and no row.
    Extra,
    /// There is a row and no object.
    Missing,
    /// A change of the key is parked, so they need not agree.
    Parked,
    /// The object could not be asked for, or the answer not be read.
    Unread,
}

impl Kind {
    /// As people and files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
            Self::Parked => "parked",
            Self::Behind => "behind",
            Self::Unread => "unread",
        }
    }

    /// The run that brings it in step again; what is parked, behind or unread is left alone.
    pub fn repair(self) -> Option<RunKind> {
        match self {
            Self::Missing | Self::Different => Some(RunKind::Snapshot),
            Self::Extra => Some(RunKind::Prune),
            Self::Parked | Self::Behind | Self::Unread => None,
        }
    }
}

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that are not to be at the remote.
    pub skipped: u64,
    /// Rows that changed whenever they were looked at.
    pub changing: u64,
    /// Linked keys that were looked at.
    pub links: u64,
    /// Findings.
    pub findings: u64,
}

impl Summary {
    /// Adds what another one counted.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.skipped += other.skipped;
        self.changing += other.changing;
        self.links += other.links;
        self.findings += other.findings;
    }
}
