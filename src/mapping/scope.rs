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

    /// With `item`.
    pub fn with_item(self) -> Self {
        Self { item: true, ..self }
    }

    /// With these fragments.
    pub fn with_fragments(self, fragments: Fragments) -> Self {
        Self { fragments: Arc::new(fragments), ..self }
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
}
