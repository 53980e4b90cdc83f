//! The nouns every room shares: data with invariants. No I/O, no clock.

mod call;
mod change;
mod cron;
mod excerpt;
mod halt;
mod lsn;
mod merge;
mod outcome;
mod redact;
mod row;
mod rules;
mod run;
mod secret;
mod types;
mod units;

pub use call::{Answer, Body, Call, CallKey, Method};
pub use change::{Change, ChangeId, Image, Op};
pub use cron::Cron;
pub use excerpt::one_line;
pub use halt::{Halt, HaltOf};
pub use lsn::{BadLsn, Lsn};
pub use outcome::{ContentHash, Link, LinkUpdate, Outcome, ParkReason, Parked, ParkedState, RouteKey};
pub use redact::Redact;
pub use row::{BadTableName, Cell, Column, Row, RowBuilder, Table, TableId, TableName};
pub use rules::{DataRule, DataRules};
pub use run::{RunCounts, RunEnd, RunId, RunKind, RunProgress, RunRequest, RunState, UnknownName};
pub use secret::{HiddenValues, MASK, masked, masked_all, masked_if_given, masked_values};
pub use types::{Field, Type};
pub use units::{ByteSize, Span};

/// One remembered answer: which step it answered, and what the remote said.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Answered {
    /// The step's occurrence name, as in [`Call::step`].
    pub step: std::sync::Arc<str>,
    /// What the remote said.
    #[serde(flatten)]
    pub answer: Answer,
}
