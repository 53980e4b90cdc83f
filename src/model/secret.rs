use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, fmt, ops::Deref};

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
pub fn masked_values<S: Serializer>(values: &HiddenValues, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(values.keys().map(|name| (name, MASK)))
}

/// Named values any of which may be a secret: what is printed to debug shows their names only.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct HiddenValues(BTreeMap<String, String>);

impl fmt::Debug for HiddenValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, MASK))).finish()
    }
}

impl Deref for HiddenValues {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<const N: usize> From<[(String, String); N]> for HiddenValues {
    fn from(values: [(String, String); N]) -> Self {
        Self(values.into())
    }
}
