//! A parked change, with all that helps to decide about it.

use crate::{call_log::CallRecord, state::postgres::Shown};
use schemars::JsonSchema;
use serde::Serialize;

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
