use super::Fragments;
use crate::model::{Answer, Answered, ChangeId, Op, Row};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What an expression may name where it stands. `row`, `old`, `op`, `key`, `link`, `saved`,
/// `answers` and `change` are known everywhere.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The columns of `row` and `old`; `None` while they are not known yet.
    pub columns: Option<Arc<[Arc<str>]>>,
    /// Whether `answer` is in scope.
    pub answer: bool,
    /// Whether `item` is in scope.
    pub item: bool,
    /// The steps of the sequence: `answers.<step>`.
    pub steps: Arc<[Arc<str>]>,
    /// The names any step saves: `saved.<name>`, `link.<name>`.
    pub saved: Arc<[Arc<str>]>,
    /// Whether the entity has a `fetch` query, so that `fetched` is in scope.
    pub fetched: bool,
    /// What `fragment.<name>` stands for.
    pub fragments: Arc<Fragments>,
    /// Whether `outcome` and `error` are in scope, and `saved` and `answers` are not.
    pub outcome: bool,
    /// How many rows the call is about.
    pub about: About,
    /// What the entity depends on: `parent.<entity>.<name>`.
    pub parents: Arc<[ParentNames]>,
}

/// How many rows an expression is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    /// One, in a call of its own.
    #[default]
    Row,
    /// All rows of a batch: `rows`, `keys` and `links` are in scope.
    Batch,
    /// One row of a batch: `index` is in scope too.
    Member,
}

/// An entity that another one depends on, as expressions of the other one name it.
#[derive(Clone, Debug)]
pub struct ParentNames {
    /// Its name: `parent.<entity>`.
    pub entity: Arc<str>,
    /// The names it saves; `None` where they are not known.
    pub saved: Option<Arc<[Arc<str>]>>,
}

fn shared<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Arc<[Arc<str>]> {
    names.into_iter().map(|name| name.as_ref().into()).collect()
}

impl Names {
    /// With these columns in `row` and `old`.
    pub fn with_columns<S: AsRef<str>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        Self { columns: Some(shared(columns)), ..self }
    }

    /// With these steps in `answers`.
    pub fn with_steps<S: AsRef<str>>(self, steps: impl IntoIterator<Item = S>) -> Self {
        Self { steps: shared(steps), ..self }
    }

    /// With these names in `saved` and `link`.
    pub fn with_saved<S: AsRef<str>>(self, saved: impl IntoIterator<Item = S>) -> Self {
        Self { saved: shared(saved), ..self }
    }

    /// With `answer`.
    pub fn with_answer(self) -> Self {
        Self { answer: true, ..self }
    }

    /// With `parent.<entity>`, which saves these names.
    pub fn with_parent<S: AsRef<str>>(self, entity: &str, saved: impl IntoIterator<Item = S>) -> Self {
        let more = ParentNames { entity: entity.into(), saved: Some(shared(saved)) };
        Self { parents: self.parents.iter().cloned().chain([more]).collect(), ..self }
    }

    /// With `item`.
    pub fn with_item(self) -> Self {
        Self { item: true, ..self }
    }

    /// With these fragments.
    pub fn with_fragments(self, fragments: Fragments) -> Self {
        Self { fragments: Arc::new(fragments), ..self }
    }

    /// With what is in scope for so many rows.
    pub fn about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// With `fetched`.
    pub fn with_fetched(self) -> Self {
        Self { fetched: true, ..self }
    }
}

/// The values in scope.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The row after the change, before it for a delete; none for a truncate.
    pub row: Option<&'a Row>,
    /// The row before the change, where it is known.
    pub old: Option<&'a Row>,
    /// What happened.
    pub op: Op,
    /// The entity's key as text.
    pub key: &'a str,
    /// What is saved of the key at this remote; empty in expressions where it is `None`.
    pub link: Option<&'a Map<String, Value>>,
    /// The row of the entity's `fetch` query.
    pub fetched: Option<&'a Value>,
    /// What is saved of what the row depends on, by entity; empty in expressions where it is `None`.
    pub parents: Option<&'a Map<String, Value>>,
    /// The change's id.
    pub change: ChangeId,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// What this sequence has saved so far.
    pub saved: &'a Map<String, Value>,
    /// The answers of this sequence so far.
    pub answers: &'a [Answered],
    /// The answer that is looked at, in `save`, `accept` and the like.
    pub answer: Option<&'a Answer>,
    /// The item of a `for_each`.
    pub item: Option<&'a Value>,
    /// How the change ended, in `write_back`.
    pub outcome: Option<Ended<'a>>,
    /// The rows of the batch, each with its own scope, where the call carries several.
    pub members: Option<&'a [Scope<'a>]>,
    /// The place of the row in its batch.
    pub index: Option<usize>,
    /// The body of `answer`, where it is read once for many expressions.
    pub body: Option<&'a Value>,
}

/// How a change ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// `outcome`.
    pub name: &'a str,
    /// `error`.
    pub error: Option<&'a str>,
}
