//! A sequence as it is carried out: names resolved, templates parsed.

use crate::{
    mapping::{At, Expression, Json, Text},
    model::{Answer, Method},
};
use std::sync::Arc;

/// One sequence of an entity.
#[derive(Debug)]
pub(super) struct Sequence {
    pub steps: Vec<Plan>,
    /// Whether any step goes to another, so that one may be visited again.
    pub jumps: bool,
}

/// One step.
#[derive(Debug)]
pub(super) struct Plan {
    pub name: Arc<str>,
    pub method: Method,
    pub path: Text,
    /// Whether the path is written with a segment that has nothing in it (`/loans/`). Where it is
    /// not, one that comes out so would be another resource: `DELETE /loans/` for want of an id.
    pub gaps: bool,
    /// Where the path stands in the configuration.
    pub at: At,
    pub query: Vec<(String, Json)>,
    pub headers: Vec<(Arc<str>, Text)>,
    pub body: Content,
    pub condition: Option<Expression>,
    pub accept: Accepts,
    pub save: Vec<(String, Json)>,
    pub on: Vec<(u16, On)>,
    /// The statuses besides the accepted ones that this step wants to see.
    pub handles: Vec<u16>,
    pub lookup: Option<Box<Plan>>,
    pub for_each: Option<Each>,
    /// In a batch: whether the answer says that a row failed.
    pub failed: Option<Expression>,
}

/// What is sent along.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Json(Json),
    Form(Vec<(String, Json)>),
    Text(Text),
}

/// Which answers count as success.
#[derive(Debug)]
pub(super) enum Accepts {
    /// These statuses; any 2xx if there are none.
    Statuses(Vec<u16>),
    /// Any 2xx that makes this true.
    Expression(Expression),
}

/// What to do on a status that is not accepted.
#[derive(Debug)]
pub(super) enum On {
    /// Run the step at this position of the same list, whatever its `if` says.
    Goto(usize),
    /// Ask for what is there already.
    Lookup,
    /// Run these instead.
    Steps(Vec<Plan>),
}

/// A step for each item of a list.
#[derive(Debug)]
pub(super) struct Each {
    pub list: Expression,
    /// Everything the step or a step below it saves: each becomes a list.
    pub saves: Vec<String>,
}

impl Accepts {
    /// For [`crate::model::Call::accept`].
    pub fn statuses(&self) -> &[u16] {
        match self {
            Self::Statuses(statuses) => statuses,
            Self::Expression(_) => &[],
        }
    }

    pub fn accepts(&self, status: u16) -> bool {
        match self.statuses() {
            [] => (200..300).contains(&status),
            statuses => statuses.contains(&status),
        }
    }
}

impl Plan {
    pub fn on(&self, answer: &Answer) -> Option<&On> {
        self.on.iter().find(|(status, _)| *status == answer.status).map(|(_, on)| on)
    }
}

/// Whether a path has a segment with nothing in it.
pub(super) fn has_gap(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path.ends_with('/') || path.contains("//")
}
