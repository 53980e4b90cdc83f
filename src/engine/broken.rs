//! Bugs that are there on purpose: the tests show by them that they would notice. They exist only in builds
//! with debug assertions: a release has neither them nor the variable.
//!
//! `ROWCALL_BREAK=checkpoint-ahead` has the process run with that bug; docs/faults.md has the list.

use std::sync::LazyLock;

static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ROWCALL_BREAK").ok());

/// Whether the process is to have this bug.
pub(crate) fn broken(what: &str) -> bool {
    WANTED.as_deref() == Some(what)
}
