//! What became of a change, and where an object at a remote comes from.

use crate::{
    call_log::Trail,
    state::postgres::{LinkLine, ParkedLine},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineageOf {
    /// What became of this change.
    Change(String),
    /// Where what a remote calls like this comes from.
    RemoteId {
        /// What the remote calls it.
        id: String,
        /// The entity it is one of.
        entity: Option<String>,
        /// Where no link knows it, only calls since then are looked at.
        since: Timestamp,
    },
}

/// All that is known.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lineage {
    /// What was asked for.
    pub of: LineageOf,
    /// Key by key.
    pub objects: Vec<LineageObject>,
    /// Why something may be missing.
    pub notes: Vec<String>,
}

/// One key of a route.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LineageObject {
    /// Its changes and their calls.
    #[serde(flatten)]
    pub trail: Trail,
    /// What the remote's answers left: its ids there.
    pub link: Option<LinkLine>,
    /// Its changes that are parked.
    pub parked: Vec<ParkedLine>,
    /// How its key was found: `change`, `link` or `log`.
    pub found_by: &'static str,
}
