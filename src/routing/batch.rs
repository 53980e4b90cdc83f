use crate::model::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `entities.<name>.batch`: how many changes share a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Rows in a call, at most.
    pub size: u32,
    /// How long the first row of a call waits for others.
    pub within: Span,
    /// What the bodies of its rows may come to, at most; a longer one goes by itself.
    pub bytes: ByteSize,
}

impl Batch {
    /// What is wrong with it: the key, and why.
    pub fn complaint(&self) -> Option<(&'static str, String)> {
        let Self { size, within, bytes } = self;
        if !(1..=10_000).contains(size) {
            return Some(("size", format!("a batch has 1 to 10000 rows, not {size}")));
        }
        if within.0.is_zero() || within.0 > LONGEST_WAIT {
            let message = format!(
                "`{within}` is how long a row waits for others: longer than nothing, and at most {}, since the slot \
                 waits with it",
                Span(LONGEST_WAIT)
            );
            return Some(("within", message));
        }
        if bytes.0 < 1 << 10 {
            return Some(("bytes", "a batch has room for at least 1KiB".to_owned()));
        }
        None
    }
}

/// The longest `within`.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Default for Batch {
    fn default() -> Self {
        Self { size: 100, within: Span(Duration::from_millis(200)), bytes: ByteSize(1 << 20) }
    }
}
