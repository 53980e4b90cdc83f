//! A route or remote for which a person has stopped everything.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// What is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HaltOf {
    /// One route.
    Route,
    /// A remote, and so every route to it.
    Remote,
}

impl HaltOf {
    /// As the state database and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Remote => "remote",
        }
    }
}

/// A pause that a person has ordered: nothing is sent until they, or others, resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Halt {
    /// What is paused.
    pub what: HaltOf,
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
    /// Who ordered it.
    pub who: String,
    /// Why.
    pub reason: Option<String>,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, since, who, reason } = self;
        write!(f, "{} `{name}` is paused since {since:.0} by {who}", what.name())?;
        reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}
