use crate::mapping::{At, MappingError};

/// What is wrong with an entity's steps, rules or class: one message for a person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BuildError {
    /// An expression or template.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// Anything else.
    #[error("{}: {message}", place(.at))]
    Settings {
        /// Where it stands.
        at: At,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl BuildError {
    /// An error about a place of the configuration.
    pub fn new(at: &At, message: impl Into<String>) -> Self {
        Self::Settings { at: at.clone(), message: message.into() }
    }
}

fn place(at: &At) -> String {
    match &at.place {
        Some(place) => format!("{} ({place})", at.path),
        None => at.path.clone(),
    }
}
