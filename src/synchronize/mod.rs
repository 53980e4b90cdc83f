//! What to say to the remote about a change.
//!
//! A synchronizer decides and the engine acts: it is shown the change, what is known of the key
//! and the answers so far, and says what to do next. It does no I/O, reads no clock and keeps no
//! state, so a crash, a retry, a replay, a dry run and a unit test all look alike to it
//! (invariant 3: the same inputs give the same steps, and so the same call keys).
//!
//! [`Declared`] carries out the steps that configuration declares; [`Gate`] puts an entity's
//! `when` and `validate` before any class. [`Batching`] is for those that put many changes into one
//! call. What this room does not do: make calls, wait, retry,
//! or decide about statuses nobody named: those are the engine's and the remote's.
//!
//! A new class is a new file here, its `mod` line, and one row of [`CLASSES`]. A program that
//! embeds Rowcall adds its own with [`Classes::with`] and touches nothing here
//! (`examples/loan_class.rs`).

mod batching;
mod classes;
mod compare;
mod declared;
mod error;
mod gate;
mod layers;
mod settings;

pub use batching::{Batching, Rejection, Results};
pub use classes::{Build, CLASSES, Classes, DECLARED, Declaration};
pub use compare::{Difference, compare};
pub use declared::{Declared, Heard, ObjectRead, saved_names};
pub use error::BuildError;
pub use gate::{Gate, Rules};
pub use layers::{Layer, fragments};
pub use settings::{Accept, OnStatus, ReadSettings, Sequences, StepSettings, ValidateRule};

use crate::{
    mapping::Scope,
    model::{Answered, Call, Change, ContentHash, Link, LinkUpdate, ParkReason},
};
use serde_json::{Map, Value};
use std::sync::{Arc, LazyLock};

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
    /// What is saved of what the row depends on, by entity: an object, or a list of objects where
    /// `depends_on` gives a list. Only an insert, update or read has any.
    pub parents: Option<&'a Map<String, Value>>,
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

    /// How changes of several keys share a call; `None`: each has calls of its own. Such a
    /// synchronizer makes one call a change, and [`Synchronizer::next_step`] is that call for a
    /// batch of one.
    fn batching(&self) -> Option<&dyn Batching> {
        None
    }

    /// What can be said of a change before its parents are looked at, if that is not to send it: a
    /// change that nobody wants waits for nobody.
    fn before_parents(&self, _: &Work<'_>) -> Option<Step> {
        None
    }

    /// Whether a deleted row is deleted at the remote, so that its link goes: what it depends on
    /// is then deleted after it.
    fn deletes(&self) -> bool {
        true
    }

    /// Stands for all that the calls for this change say, but for what we know of the key ourselves
    /// (`link`): where the remote was told the same before, they are left out. `None`: they never
    /// are. `answers` is empty before the first call, and has them all behind the last.
    fn content(&self, _work: &Work<'_>, _answers: &[Answered]) -> Option<ContentHash> {
        None
    }

    /// Whether changes are left out because of that ([`Synchronizer::content`]).
    fn leaves_out_what_was_told(&self) -> bool {
        false
    }

    /// Whether a change comes to the same calls whenever it is sent: which ones they are follows from the
    /// change alone, and neither from what is known of the key by then nor from what the remote has.
    fn calls_the_same_again(&self) -> bool {
        false
    }

    /// The names it may save: what `link.<name>` can be in the entity's other expressions.
    fn saves(&self) -> &[Arc<str>] {
        &[]
    }
}

/// What expressions see of a piece of work before anything is answered or saved.
pub fn scope<'a>(work: &Work<'a>) -> Scope<'a> {
    // The same for every change, since it is empty.
    static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    let &Work { change, key, link, fetched, parents, .. } = work;
    Scope {
        row: change.image.row(),
        old: change.image.old(),
        op: change.op(),
        key,
        link: link.map(|link| &link.saved),
        fetched,
        parents,
        change: change.id,
        committed_at: change.committed_at,
        saved: &NOTHING,
        answers: &[],
        answer: None,
        item: None,
        outcome: None,
        members: None,
        index: None,
        body: None,
    }
}
