//! The synchronizer that configuration declares: sequences of steps, in templates.
//!
//! [`names`] and [`build`] read the settings into a [`plan`] and say everything that is wrong
//! with them; [`replay`] goes through a plan with the answers there are; [`request`] writes the
//! call it comes to. [`read`] asks for one object. [`batch`] does the same for calls that carry many rows.

mod batch;
mod build;
mod content;
mod names;
mod plan;
mod read;
mod replay;
mod request;

use self::{
    content::Content,
    plan::Sequence,
    replay::{Replay, Stop},
};
use super::{Batching, BuildError, Declaration, Rejection, Results, Step, Synchronizer, Work};
use crate::{
    mapping::{About, Names},
    model::{Answer, Answered, Call, ContentHash, LinkUpdate, Op, ParkReason},
};
use std::sync::Arc;

/// The statuses by which a lookup says that there is nothing.
const NOT_FOUND: &[u16] = &[404, 410];

pub use names::saved as saved_names;
pub use read::{Heard, ObjectRead};

/// An entity whose calls are declared in configuration.
#[derive(Debug)]
pub struct Declared {
    insert: Option<Sequence>,
    update: Option<Sequence>,
    upsert: Option<Sequence>,
    delete: Option<Sequence>,
    truncate: Option<Sequence>,
    saved: Arc<[Arc<str>]>,
    /// Its calls carry many rows.
    batched: bool,
    /// Of `upsert`, which alone says the same of a new row and of a changed one.
    content: Option<Content>,
    /// None of its sequences goes by what is known of the key, or by what the remote has.
    steady: bool,
    skips: Skips,
}

/// Why nothing is done, made once: every change of a table may be skipped for the same reason.
#[derive(Debug)]
struct Skips {
    insert: Arc<str>,
    update: Arc<str>,
    upsert: Arc<str>,
    delete: Arc<str>,
    truncate: Arc<str>,
    idle: Arc<str>,
}

impl Default for Skips {
    fn default() -> Self {
        Self {
            insert: "no `insert` or `upsert` sequence".into(),
            update: "no `update` or `upsert` sequence".into(),
            upsert: "no sequence for a row that is read again".into(),
            delete: "no `delete` sequence".into(),
            truncate: "no `truncate` or `delete` sequence".into(),
            idle: "no step applies".into(),
        }
    }
}

impl Declared {
    /// Reads an entity's sequences; on failure says all that is wrong with them.
    pub fn new(declaration: &Declaration<'_>) -> Result<Self, Vec<BuildError>> {
        let Declaration { sequences, settings, at, columns, fetched, batched, parents, .. } = declaration;
        let mut errors = Vec::new();
        if !settings.is_null() {
            let message = "the entity's sequences are declared, which takes no `settings`: name a `class`, or leave them out";
            errors.push(BuildError::new(&at.child("settings"), message));
        }
        let names = Names {
            columns: columns.clone(),
            saved: names::saved(sequences),
            fetched: *fetched,
            fragments: declaration.fragments()?,
            about: if *batched { About::Batch } else { About::Row },
            parents: Arc::clone(parents),
            ..Names::default()
        };
        let mut read = Vec::new();
        for (key, steps) in names::sequences(sequences) {
            let at = at.child(key);
            read.push(steps.as_ref().map(|steps| build::sequence(steps, &at, &names, &mut errors)));
        }
        if read.iter().all(Option::is_none) {
            let message = "nothing says what to call: give it `upsert` and `delete` (or `insert`, `update`, `truncate`), or a `class`";
            errors.push(BuildError::new(at, message));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut read = read.into_iter().map(Option::into_iter).map(|mut it| it.next());
        let mut next = || read.next().flatten();
        let [insert, update, upsert, delete, truncate] = std::array::from_fn(|_| next());
        let all = [&insert, &update, &upsert, &delete, &truncate];
        let steady = all.into_iter().flatten().all(content::is_steady);
        let (saved, batched, skips) = (names.saved, *batched, Skips::default());
        let steps = sequences.upsert.as_deref();
        let content = steps.zip(upsert.as_ref()).map(|(steps, upsert)| Content::new(steps, upsert));
        Ok(Self { insert, update, upsert, delete, truncate, saved, batched, content, steady, skips })
    }

    fn sequence(&self, work: &Work<'_>) -> Result<&Sequence, &Arc<str>> {
        let Self { insert, update, upsert, delete, truncate, skips, .. } = self;
        let (first, second, skip) = match work.change.op() {
            Op::Insert => (insert, upsert, &skips.insert),
            Op::Update => (update, upsert, &skips.update),
            Op::Read if work.link.is_some() => (upsert, update, &skips.upsert),
            Op::Read => (upsert, insert, &skips.upsert),
            Op::Delete => (delete, &None, &skips.delete),
            Op::Truncate => (truncate, delete, &skips.truncate),
        };
        first.as_ref().or(second.as_ref()).ok_or(skip)
    }
}

impl Declared {
    /// The sequence of a batch; the members are all of one kind.
    fn shared(&self, members: &[Work<'_>]) -> Result<&Sequence, Rejection> {
        let sequence = members.first().and_then(|first| self.sequence(first).ok());
        sequence.ok_or_else(|| Rejection {
            reason: ParkReason::Template,
            message: "there is no sequence for these changes (any more)".to_owned(),
        })
    }
}

impl Synchronizer for Declared {
    fn next_step(&self, work: &Work<'_>, answers: &[Answered]) -> Step {
        let sequence = match self.sequence(work) {
            Ok(sequence) => sequence,
            Err(reason) => return Step::Skip(reason.clone()),
        };
        if self.batched {
            return batch::next_step(sequence, work, answers);
        }
        let removes = matches!(work.change.op(), Op::Delete | Op::Truncate);
        match Replay::run(sequence, work, answers) {
            Err(Stop::Send(call)) => Step::Send(*call),
            Err(Stop::Reject { reason, message }) => Step::Reject { reason, message },
            Ok(done) if removes && (done.called || work.link.is_some()) => Step::Finish(LinkUpdate::Remove),
            Ok(done) if done.called => Step::Finish(LinkUpdate::Save(done.saved)),
            Ok(_) => Step::Skip(self.skips.idle.clone()),
        }
    }

    fn batching(&self) -> Option<&dyn Batching> {
        self.batched.then_some(self)
    }

    fn deletes(&self) -> bool {
        self.delete.is_some()
    }

    fn saves(&self) -> &[Arc<str>] {
        &self.saved
    }

    fn content(&self, work: &Work<'_>, answers: &[Answered]) -> Option<ContentHash> {
        let upsert = self.upsert.as_ref()?;
        let used = self.sequence(work).is_ok_and(|sequence| std::ptr::eq(sequence, upsert));
        if used { self.content.as_ref()?.hash(work, answers) } else { None }
    }

    fn leaves_out_what_was_told(&self) -> bool {
        self.upsert.is_some() && self.content.is_some()
    }

    fn calls_the_same_again(&self) -> bool {
        self.steady
    }
}

impl Batching for Declared {
    fn kind(&self, work: &Work<'_>) -> usize {
        let all = [&self.insert, &self.update, &self.upsert, &self.delete, &self.truncate];
        let of = self.sequence(work).ok();
        let is = |it: &&Option<Sequence>| it.as_ref().zip(of).is_some_and(|(it, of)| std::ptr::eq(it, of));
        all.iter().position(is).unwrap_or(all.len())
    }

    fn call(&self, members: &[Work<'_>]) -> Result<Call, Rejection> {
        batch::call(self.shared(members)?, members)
    }

    fn results(&self, members: &[Work<'_>], answer: &Answer) -> Results {
        match self.shared(members) {
            Ok(sequence) => batch::results(sequence, members, answer),
            Err(rejection) => Results::Refused(rejection),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
