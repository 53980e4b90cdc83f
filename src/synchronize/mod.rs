//! What to say to the remote about a change.
//!
//! A synchronizer decides and the engine acts: it is shown the change, what is known of the key
//! and the answers so far, and says what to do next. It does no I/O, reads no clock and keeps no
//! state, so a crash, a retry, a replay, a dry run and a unit test all look alike to it
//! (invariant 3: the same inputs give the same steps, and so the same call keys).
//!
//! A new class is a new file here, its `mod` line, and one row of [`CLASSES`].

mod settings;

pub use settings::{Accept, OnStatus, Sequences, StepSettings};

use crate::model::{Answered, Call, Change, Link, LinkUpdate, ParkReason};
use serde_json::Value;
use std::sync::Arc;

/// What a synchronizer is shown.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The change to carry over.
    pub change: &'a Change,
    /// The entity's key, as text; the parts of a composite key are joined by commas.
    pub key: &'a str,
    /// What is known of the key at the remote; `None` if it was never sent or is gone.
    pub link: Option<&'a Link>,
    /// The row of the entity's `fetch` query, if it has one.
    pub fetched: Option<&'a Value>,
    /// The change may have been sent before without our knowing the answer: after a crash, or
    /// after a call that broke off. A step that creates should look first.
    pub uncertain: bool,
}

/// What a synchronizer wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make this call, and ask again with its answer.
    Send(Call),
    /// Every call is made; remember this of the key.
    Finish(LinkUpdate),
    /// Nothing to do, and that is fine.
    Skip(Arc<str>),
    /// This change can never be sent as it is: a person must look.
    Reject {
        /// Which kind of trouble it is.
        reason: ParkReason,
        /// What is wrong, where, and what to do.
        message: String,
    },
}

/// Decides, for a change and the answers so far, the next call.
pub trait Synchronizer: Send + Sync {
    /// `answers` has one entry per call already answered for this change, oldest first: with an
    /// accepted status, or with one the call said it handles.
    fn next_step(&self, work: &Work<'_>, answers: &[Answered]) -> Step;
}
