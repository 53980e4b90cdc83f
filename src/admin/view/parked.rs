//! Parked changes: a part of the list, and one with all that helps to decide about it.

use crate::{
    call_log::CallRecord,
    state::postgres::{Listed, Shown},
};
use schemars::JsonSchema;
use serde::Serialize;

/// A part of the list.
#[derive(Clone, Debug, Default)]
pub struct ParkedPage {
    /// In order within each key.
    pub listed: Vec<Listed>,
    /// How many there are in all.
    pub total: i64,
    /// Whether there are some before these.
    pub earlier: bool,
    /// Whether there are some behind these.
    pub later: bool,
}

/// Everything about one parked change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ParkedDetail {
    /// The change, why it is parked, and the answers so far.
    #[serde(flatten)]
    pub shown: Shown,
    /// Its last attempts as the log of calls has them, the newest first.
    pub last_attempts: Vec<CallRecord>,
    /// Why attempts may be missing.
    pub note: Option<String>,
}
