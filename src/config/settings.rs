use crate::{capture, engine, remote, routing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The whole of `rowcall.yaml`. Each block's type belongs to the room that uses it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Postgres databases whose changes are captured, by name.
    pub sources: BTreeMap<String, capture::Settings>,
    /// The APIs to keep in step, by name.
    pub remotes: BTreeMap<String, remote::Settings>,
    /// The business objects, by name.
    pub entities: BTreeMap<String, routing::EntitySettings>,
    /// What the process may use.
    #[serde(default)]
    pub limits: engine::Limits,
    /// What the process says about itself.
    #[serde(default)]
    pub log: Log,
}

/// `log`: what the process says about itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as
    /// `info,rowcall::remote=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person at a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The JSON Schema of `rowcall.yaml`; the loader checks files against it.
pub fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}
