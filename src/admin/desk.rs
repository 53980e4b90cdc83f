//! The port: what an operator can ask and do. Both the command line and the admin address go through
//! what `app` does for it.

use super::view::{Finding, Status};
use async_trait::async_trait;

/// Why something was not answered or done: one message for a person.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// What was asked for makes no sense as it was said.
    #[error("{0}")]
    Wrong(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// A server could not be reached or broke off; another try may do.
    #[error("{0}")]
    Unreachable(String),
}

/// What an operator can ask and do.
#[async_trait]
pub trait Desk: Send + Sync {
    /// How everything stands.
    async fn status(&self) -> Result<Status, DeskError>;

    /// Looks at everything that must be right, as before a start.
    async fn check(&self) -> Result<Vec<Finding>, DeskError>;

    /// The configuration in effect as YAML, secrets masked.
    fn configuration(&self) -> String;
}
