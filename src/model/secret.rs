use secrecy::SecretString;
use serde::Serializer;
use std::collections::BTreeMap;

/// What stands in a secret's place wherever a person may read (invariant 7).
pub const MASK: &str = "***";

/// Serialises a secret field as [`MASK`]: `#[serde(serialize_with = "crate::model::masked")]`.
///
/// Such a field's schema says `writeOnly`, by which the loader knows not to print what is written
/// there and to read `file:` references.
pub fn masked<S: Serializer>(_: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(MASK)
}

/// The same for a secret that may be left out.
pub fn masked_if_given<S: Serializer>(
    secret: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some(MASK),
        None => serializer.serialize_none(),
    }
}

/// The same for a list of secrets.
pub fn masked_all<S: Serializer>(secrets: &[SecretString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(secrets.iter().map(|_| MASK))
}

/// The same for named values any of which may be a secret.
pub fn masked_values<S: Serializer>(
    values: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.keys().map(|name| (name, MASK)))
}
