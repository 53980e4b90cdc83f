//! Expressions and templates: from a row to a request, from an answer to what is kept of it. Pure.
//!
//! Terms. An [`Expression`] is one piece of CEL. A [`Text`] is text with expressions in `{{ }}`: a
//! path, a header. A [`Json`] is a body whose strings are templates. [`Names`] says what may be
//! named where they stand and is asked once, when the configuration is read; [`Scope`] holds the
//! values and is asked for each change. [`At`] is where they stand in the file.
//!
//! Invariants upheld here:
//! - 1 and 8: nothing is guessed. A value that Postgres did not send is never taken for null; a
//!   name that does not exist, values of kinds that do not go together and a decimal that would
//!   have to be rounded are errors, and each says what, where and what to do.
//! - 3: the same scope gives the same bytes. There is no clock, no randomness and no state here.
//!
//! How. The `cel` crate reads the text; `expression::lower` turns its tree into nodes whose names
//! are checked and whose places are known; `expression::eval` walks those. We do not use the
//! crate's own interpreter because three of its answers would be silently wrong for us: equality
//! cannot fail (`1234 == decimal` is false), `x.?y` swallows every error (an unknown value becomes
//! a missing one), and errors have no place. A column that stands alone is written from Postgres'
//! text to JSON without becoming a value in between.
//!
//! What this room does not do: read rows, make calls, or know what a step is.
//!
//! A new function is its code in a file of `expression/functions` and one row of its table, plus
//! one in `docs/expressions.md`. A new Postgres type is a variant of [`crate::model::Type`] and a
//! line in `pg_value`.

mod at;
mod braces;
mod error;
mod escape;
mod expression;
mod fragments;
mod json;
#[cfg(test)]
mod manual;
mod moment;
mod pg_value;
mod reads;
mod scope;
#[cfg(test)]
mod tests;
mod text;

pub use at::{At, Locator, Place};
pub use error::{Kind, MappingError};
pub use escape::Escape;
pub use expression::{Evaluated, Expression, Named};
pub use fragments::Fragments;
pub use json::Json;
pub use reads::Reads;
pub use scope::{About, Ended, Names, ParentNames, Scope};
pub use text::Text;
