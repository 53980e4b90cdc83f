//! Which routes a table's change concerns, and for which key.

mod settings;

pub use settings::{ChildTable, EntitySettings, Fetch, KeyColumns, Rule};
