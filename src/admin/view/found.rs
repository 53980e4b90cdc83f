//! What a look at something found.

use crate::state::postgres::Mark;
use schemars::JsonSchema;
use serde::Serialize;

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but a person should know.
    Warning,
    /// It cannot work.
    Bad,
}

/// One line of the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What it is about, such as `source.main` or `call_log`.
    pub about: String,
    /// How it weighs.
    pub verdict: Verdict,
    /// What was looked at and what was found.
    pub what: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// One named checkpoint, and how its slot stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CheckpointLine {
    /// What is remembered of it.
    #[serde(flatten)]
    pub mark: Mark,
    /// How long ago it was made.
    pub age_seconds: f64,
    /// How much log the server keeps for it; `None` if there is no slot, or it cannot be asked.
    pub retained_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`; `gone` if there is no slot any more, `unknown`
    /// if the source cannot be asked.
    pub wal_status: String,
    /// What is wrong with it, and what to do about it.
    pub problem: Option<String>,
}

/// The configuration in effect: defaults filled in, secrets masked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Configuration {
    /// The file, as it was named.
    pub file: String,
    /// As YAML.
    pub yaml: String,
    /// The same as data.
    pub settings: serde_json::Value,
}
