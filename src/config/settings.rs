use crate::{admin, call_log, capture, engine, model::DataRules, notify, remote, routing, telemetry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
    /// What is said once about the data of every entity.
    #[serde(default)]
    pub rules: Option<DataRules>,
    /// What the process may use.
    #[serde(default)]
    pub limits: engine::Limits,
    /// What is kept of every call, and where.
    #[serde(default)]
    pub call_log: call_log::Settings,
    /// Where an operator looks and does things.
    #[serde(default)]
    pub admin: admin::Settings,
    /// Who is told when something is not well, and when it is again.
    #[serde(default)]
    pub notify: notify::Settings,
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
    /// `info,rowcall::outcome=warn`.
    pub level: String,
    /// A collector that spans of the calls, and the lines of the log, are sent to.
    pub otlp: Option<telemetry::Settings>,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned(), otlp: None }
    }
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text where a person reads it at a terminal, else JSON.
    #[default]
    Auto,
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// The schema as the settings types generate it: what the loader checks files against.
pub fn generated() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The JSON Schema of `rowcall.yaml` for editors: where a number or the like is expected, a
/// reference to an environment variable is allowed too.
pub fn schema() -> Value {
    let mut schema = generated();
    polish(&mut schema);
    schema["title"] = "rowcall.yaml".into();
    schema
}

const REFERENCE: &str = r"\$\{";

fn polish(schema: &mut Value) {
    let reference = || json!({ "type": "string", "pattern": REFERENCE });
    match schema {
        Value::Array(branches) => branches.iter_mut().for_each(polish),
        Value::Object(map) => {
            if map.get("default") == Some(&Value::Null) {
                map.shift_remove("default");
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                let paragraphs = text.split("\n\n").map(|it| it.replace('\n', " "));
                *text = paragraphs.collect::<Vec<_>>().join("\n\n");
            }
            match map.get("type") {
                Some(Value::String(ty)) if ty == "integer" || ty == "boolean" => {
                    map.insert("type".to_owned(), json!([ty, "string"]));
                    map.insert("pattern".to_owned(), REFERENCE.into());
                }
                Some(Value::Array(_)) => {
                    if let Some(Value::String(pattern)) = map.get_mut("pattern") {
                        *pattern = format!("{pattern}|{REFERENCE}");
                    }
                }
                _ => {}
            }
            for key in ["properties", "$defs", "patternProperties"] {
                if let Some(Value::Object(named)) = map.get_mut(key) {
                    named.values_mut().for_each(polish);
                }
            }
            for key in ["items", "additionalProperties", "anyOf", "oneOf"] {
                map.get_mut(key).into_iter().for_each(polish);
            }
            if let Some(Value::Array(branches)) = map.get_mut("oneOf")
                && branches.iter().all(|it| it.get("const").is_some())
            {
                branches.push(reference());
            }
        }
        _ => {}
    }
}
