//! How everything stands.

use super::CallLogStatus;
use crate::state::{
    Run,
    postgres::{RemoteStatus, RouteStatus, SourceStatus},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Everything `rowcall status` shows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Source by source.
    pub sources: Vec<SourceLine>,
    /// Remote by remote, for each source that is at work.
    pub remotes: Vec<RemoteStatus>,
    /// The log of calls of each service that is at work.
    pub call_logs: Vec<CallLogLine>,
    /// Route by route.
    pub routes: Vec<RouteStatus>,
    /// The runs that are not over, in the order of their numbers.
    pub runs: Vec<Run>,
    /// Schedule by schedule, of each source.
    pub schedules: Vec<ScheduleLine>,
    /// When all this was read, by the clock of the state database.
    pub read_at: Option<Timestamp>,
}

/// The log of calls of the service that is at work on a source.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CallLogLine {
    /// The source.
    pub source: String,
    /// As it last reported.
    #[serde(flatten)]
    pub status: CallLogStatus,
}

/// One source: what the state database knows, and what the server says of its slot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceLine {
    /// The source's name.
    pub source: String,
    /// `None` before the first start.
    #[serde(flatten)]
    pub state: Option<SourceStatus>,
    /// How much log there is behind the slot's position; `None` if it cannot be told.
    pub lag_bytes: Option<i64>,
    /// How much log the slot keeps from being removed.
    pub kept_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// How much more may be written before the slot is lost; `None` without limit.
    pub safe_bytes: Option<i64>,
    /// What threatens the slot, and what to do about it.
    pub danger: Option<String>,
    /// Why the source could not be asked.
    pub problem: Option<String>,
}

/// A schedule as `rowcall status` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScheduleLine {
    /// The source.
    pub source: String,
    /// The entity.
    pub entity: String,
    /// What is run: `snapshot`, `prune`, `query` or `audit`.
    pub run: &'static str,
    /// When it comes, as configured.
    pub cron: String,
    /// By the clocks of which time zone.
    pub zone: String,
    /// When it asked last, or began; `None` if the service has not seen it yet.
    pub last: Option<Timestamp>,
    /// When it asks next; in the past while its last run is not over.
    pub next: Option<Timestamp>,
}
