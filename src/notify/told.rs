use crate::health::State;
use jiff::Timestamp;

/// What a target was told last of a check: it was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whom.
    pub target: String,
    /// Of which check.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when it is in it.
    pub since: Timestamp,
    /// When that was told.
    pub at: Timestamp,
}
