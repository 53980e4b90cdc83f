use crate::model::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `limits`: what the process may use.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The byte budget for everything in flight; capture waits when it is used up.
    pub memory: ByteSize,
    /// How long calls under way may take to finish after SIGTERM.
    pub drain: Span,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: ByteSize(40 << 20), drain: Span(Duration::from_secs(20)) }
    }
}
