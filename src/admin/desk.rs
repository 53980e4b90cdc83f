//! The port: what an operator can ask and do. Both the command line and the admin address go through
//! what `app` does for it.

use super::view::{
    CheckpointLine, Configuration, Finding, Lineage, LineageOf, ParkedDetail, ParkedPage, Status,
};
use crate::{
    call_log::{CallQuery, CallRecord, Found},
    model::{Halt, HaltOf, RunId},
    state::{
        Run, RunCommand,
        postgres::{Filter, Mark, NewOperation, Operation, OperationEnd, Page, RunFilter, Total},
    },
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::num::NonZeroU32;

/// Why something was not answered or done: one message for a person.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// What was asked for makes no sense as it was said.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// A server could not be reached or broke off; another try may do.
    #[error("{0}")]
    Unreachable(String),
    /// It went wrong, and another try will not help.
    #[error("{0}")]
    Failed(String),
}

/// A run that is asked for. Without entities it is for all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum RunWanted {
    /// Sends rows.
    Snapshot {
        /// Whose.
        entities: Vec<String>,
        /// Only these keys, as links have them.
        keys: Vec<String>,
        /// Also what the remote was told before.
        force: bool,
        /// Rows a second, at most.
        rate: Option<NonZeroU32>,
    },
    /// Counts what is linked and has no row any more.
    Prune {
        /// Whose.
        entities: Vec<String>,
        /// Deletes it too.
        delete: bool,
        /// Keys a second, at most.
        rate: Option<NonZeroU32>,
    },
    /// Compares what the remotes hold with the rows.
    Audit {
        /// Whose.
        entities: Vec<String>,
        /// Only so many rows of each.
        sample: Option<NonZeroU32>,
        /// Asks for runs that bring things in step.
        repair: bool,
        /// Objects a second, at most.
        rate: Option<NonZeroU32>,
    },
    /// What a schedule asks for when its time comes.
    Scheduled {
        /// Its name.
        schedule: String,
        /// Of which source.
        source: Option<String>,
    },
    /// Sends changes again.
    Replay {
        /// The first one: a checkpoint, a position, a time, or how long ago.
        from: String,
        /// Where it ends, likewise.
        to: Option<String>,
        /// Of which source.
        source: Option<String>,
        /// Only these entities.
        entities: Vec<String>,
        /// Only these keys of theirs.
        keys: Vec<String>,
        /// Under call keys of its own.
        new_keys: bool,
    },
}

/// What an operator can ask and do. Numbers and ids count from 1 in each state database: where several
/// have one, `source` says which is meant.
#[async_trait]
pub trait Desk: Send + Sync {
    /// The time, for what is said relative to it.
    fn now(&self) -> Timestamp;

    /// How everything stands.
    async fn status(&self) -> Result<Status, DeskError>;

    /// Looks at everything that must be right, as before a start.
    async fn check(&self) -> Result<Vec<Finding>, DeskError>;

    /// The configuration in effect, secrets masked.
    fn configuration(&self) -> Configuration;

    /// Runs, the newest first.
    async fn runs(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, DeskError>;

    /// One run.
    async fn run(&self, id: RunId, source: Option<&str>) -> Result<Run, DeskError>;

    /// Has a run wait, go on or end, and says how it stands then.
    async fn command_run(
        &self,
        id: RunId,
        source: Option<&str>,
        command: RunCommand,
    ) -> Result<Run, DeskError>;

    /// Asks for runs, one for each entity or source that is meant.
    async fn start(&self, wanted: RunWanted) -> Result<Vec<Run>, DeskError>;

    /// Parked changes, in order within each key.
    async fn parked(&self, filter: &Filter, page: &Page, limit: i64) -> Result<ParkedPage, DeskError>;

    /// How many of them there are.
    async fn parked_count(&self, filter: &Filter) -> Result<i64, DeskError>;

    /// How many are parked, by route, state and reason.
    async fn parked_totals(&self, filter: &Filter) -> Result<Vec<Total>, DeskError>;

    /// Everything about one parked change.
    async fn parked_change(&self, id: i64, source: Option<&str>) -> Result<ParkedDetail, DeskError>;

    /// Tries them again now; how many that are.
    async fn retry(&self, filter: &Filter) -> Result<u64, DeskError>;

    /// Gives them up for good; how many that are.
    async fn discard(&self, filter: &Filter) -> Result<u64, DeskError>;

    /// Calls, the newest first.
    async fn calls(&self, query: &CallQuery) -> Result<Found, DeskError>;

    /// One attempt.
    async fn call(&self, id: &str) -> Result<CallRecord, DeskError>;

    /// From a change to what the remote made of it, or back.
    async fn lineage(&self, of: LineageOf) -> Result<Lineage, DeskError>;

    /// Named checkpoints, of this source or of each.
    async fn checkpoints(&self, source: Option<&str>) -> Result<Vec<CheckpointLine>, DeskError>;

    /// Makes a checkpoint where the source's slot stands.
    async fn create_checkpoint(&self, name: &str, source: Option<&str>) -> Result<Mark, DeskError>;

    /// Drops a checkpoint and its slot, and says of which source it was.
    async fn drop_checkpoint(&self, name: &str, source: Option<&str>) -> Result<String, DeskError>;

    /// Pauses a route or remote, and says how it is paused.
    async fn pause(
        &self,
        what: HaltOf,
        name: &str,
        who: &str,
        reason: Option<&str>,
    ) -> Result<Halt, DeskError>;

    /// Lets it go on, and says how it was paused.
    async fn resume(&self, what: HaltOf, name: &str) -> Result<Halt, DeskError>;

    /// An operator is about to do something; its number.
    async fn begin_operation(&self, operation: &NewOperation) -> Result<i64, DeskError>;

    /// It has ended.
    async fn end_operation(&self, id: i64, end: &OperationEnd) -> Result<(), DeskError>;

    /// What operators did, the newest first.
    async fn operations(
        &self,
        action: Option<&str>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Operation>, DeskError>;
}
