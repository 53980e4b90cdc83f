use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `rules`, `remotes.<name>.rules`, `entities.<name>.rules`: what is said once about the data of
/// many, from the common to the particular.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataRules {
    /// Named pieces of mapping, used as `fragment.<name>` in expressions. A nearer one of the same
    /// name takes the place of a more common one.
    pub fragments: BTreeMap<String, Value>,
    /// What must hold of a row before anything is sent; the common ones are asked first.
    pub validate: Vec<DataRule>,
}

/// One of `rules.validate`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataRule {
    /// What it is called where a row is parked for it.
    pub name: String,
    /// An expression that must be true.
    pub rule: String,
    /// What to tell the person who finds the row parked.
    #[serde(default)]
    pub message: String,
    /// Rows for which this expression is false are not asked.
    #[serde(default)]
    pub when: Option<String>,
    /// The entities it is about; all unless given. Each of their tables must have the columns it
    /// names.
    #[serde(default)]
    #[schemars(extend("minItems" = 1))]
    pub entities: Option<Vec<String>>,
}
