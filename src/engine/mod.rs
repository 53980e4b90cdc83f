//! Carries changes to the remotes, in order per key.

mod settings;

pub use settings::Limits;
