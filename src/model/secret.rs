use secrecy::SecretString;
use serde::Serializer;

/// What stands in a secret's place wherever a person may read (invariant 7).
pub const MASK: &str = "***";

/// Serialises a secret field as [`MASK`]: `#[serde(serialize_with = "crate::model::masked")]`.
///
/// Such a field's schema says `writeOnly`, by which the loader knows not to print what is written
/// there and to read `file:` references.
pub fn masked<S: Serializer>(_: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(MASK)
}
