//! What the engine is told to do, and how far it has come, as it is stored.

use crate::{
    capture::{Budget, Captured, ChunkOf, KeyValues, SourceError},
    model::{Lsn, RunId},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::HashSet, num::NonZeroU32, sync::Arc};
use tokio::sync::mpsc;

/// What is said to the engine of runs.
#[derive(Debug)]
pub enum RunOrder {
    /// Carry this one, from its start or from where it was. The one before it is over.
    Begin(Box<Assignment>),
    /// Send these changes again, from the first or from where it was.
    Replay(Box<Replay>),
    /// Read nothing further for now.
    Pause(RunId),
    /// Read on.
    Resume(RunId),
    /// Forget it.
    Cancel(RunId),
}

/// A run to be carried.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Which.
    pub run: RunId,
    /// Where the log was when it began: its call keys are made of this.
    pub base: Lsn,
    /// The names of the routes it is for.
    pub routes: Vec<Arc<str>>,
    /// What is to be done.
    pub work: RunWork,
    /// Where it goes on, as [`crate::model::RunProgress`] had it.
    pub cursor: Option<Value>,
    /// Rows a second, at most.
    pub rate: Option<NonZeroU32>,
    /// A person has it wait.
    pub paused: bool,
}

/// Changes to be sent again.
#[derive(Debug)]
pub struct Replay {
    /// Which run.
    pub run: RunId,
    /// The names of the routes it is for.
    pub routes: Vec<Arc<str>>,
    /// Only these keys; all, if there are none.
    pub keys: HashSet<Arc<str>>,
    /// Which changes.
    pub window: Window,
    /// All have call keys of their own, as if they were new, and not only those of routes that may have left
    /// some out ([`crate::routing::Route::sends_each_change`]).
    pub anew: bool,
    /// Where it goes on: everything before has its outcome.
    pub at: Lsn,
    /// How many it has sent before.
    pub read: u64,
    /// A person has it wait.
    pub paused: bool,
    /// What the log says, from `at` on.
    pub feed: mpsc::Receiver<ReplayFeed>,
    /// What that is charged to.
    pub budget: Budget,
}

/// Which part of the log is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From the first transaction whose commit is here or later.
    pub start: Lsn,
    /// Only what was committed from then on.
    pub since: Option<Timestamp>,
    /// Up to the last one whose commit is before this.
    pub to: Lsn,
}

/// What is read of the log for a replay.
#[derive(Debug)]
pub enum ReplayFeed {
    /// What the log says next.
    Batch(Vec<Captured>),
    /// What it says behind the window: of rows that were deleted there nothing is sent again.
    Look(Vec<Captured>),
    /// That was all of it, and the window ends here.
    Looked(Lsn),
    /// It cannot be read any further.
    Broken(SourceError),
}

/// What a run does.
#[derive(Clone, Debug)]
pub enum RunWork {
    /// Sends these rows.
    Rows {
        /// Which.
        of: ChunkOf,
        /// Also those that would say what was said before.
        force: bool,
    },
    /// Deletes linked keys that have no row.
    Prune {
        /// Where their rows would be.
        of: ChunkOf,
        /// Only counts them.
        dry_run: bool,
    },
}

impl RunWork {
    pub(super) fn of(&self) -> &ChunkOf {
        match self {
            Self::Rows { of, .. } | Self::Prune { of, .. } => of,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// Everything up to this key has its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<KeyValues>,
    /// Nothing behind this key was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ahead: Option<KeyValues>,
    /// What the table looked like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shape: Option<Arc<str>>,
    /// Which of its routes it has come to; of a prune, which looks at one after the other.
    #[serde(skip_serializing_if = "is_first")]
    pub(super) route: usize,
}

fn is_first(route: &usize) -> bool {
    *route == 0
}
