//! What the engine is told to do, and how far it has come, as it is stored.

use crate::{
    capture::{ChunkOf, KeyValues},
    model::{Lsn, RunId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{num::NonZeroU32, sync::Arc};

/// What is said to the engine of runs.
#[derive(Debug)]
pub enum RunOrder {
    /// Carry this one, from its start or from where it was. The one before it is over.
    Begin(Box<Assignment>),
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
