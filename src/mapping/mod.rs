//! Expressions and templates: from a row to a request, from an answer to saved values.

mod at;
mod braces;
mod error;
mod escape;
mod expression;
mod json;
mod moment;
mod pg_value;
mod scope;
#[cfg(test)]
mod tests;
mod text;

pub use at::{At, Locator, Place};
pub use error::{Kind, MappingError};
pub use escape::Escape;
pub use expression::{Evaluated, Expression};
pub use json::Json;
pub use scope::{Names, Scope};
pub use text::Text;
