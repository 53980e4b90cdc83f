use crate::model::HiddenValues;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// The sequences of a declared entity, by what happened to the row.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sequences {
    /// For an inserted row; `upsert` serves where it is left out.
    pub insert: Option<Vec<StepSettings>>,
    /// For an updated row; `upsert` serves where it is left out.
    pub update: Option<Vec<StepSettings>>,
    /// For a deleted row.
    pub delete: Option<Vec<StepSettings>>,
    /// For an inserted, updated or re-read row.
    pub upsert: Option<Vec<StepSettings>>,
    /// For each linked key when a person lets a truncate through; `delete` serves where it is
    /// left out.
    pub truncate: Option<Vec<StepSettings>>,
}

/// One step: one call, or one call for each item of a list.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StepSettings {
    /// The step's name, unique within the entity's sequence: `on`, `answers.<name>` and the call
    /// key go by it.
    pub name: String,
    /// `GET` this path.
    pub get: Option<String>,
    /// `POST` to this path.
    pub post: Option<String>,
    /// `PUT` to this path.
    pub put: Option<String>,
    /// `PATCH` this path.
    pub patch: Option<String>,
    /// `DELETE` this path.
    pub delete: Option<String>,
    /// Query parameters; a null value leaves its parameter out.
    pub query: BTreeMap<String, Value>,
    /// Headers beyond the remote's own.
    pub headers: HiddenValues,
    /// A JSON body.
    pub body: Option<Value>,
    /// A form body (`application/x-www-form-urlencoded`).
    pub form: Option<BTreeMap<String, Value>>,
    /// A text body.
    pub text: Option<String>,
    /// The step is left out when this is false.
    #[serde(rename = "if")]
    pub condition: Option<String>,
    /// Which statuses (or an expression over `answer`) count as success; any 2xx by default.
    pub accept: Option<Accept>,
    /// Values to keep from the answer: `saved.<name>` now, `link.<name>` from the next change on.
    pub save: BTreeMap<String, Value>,
    /// What to do on a status that is not accepted.
    pub on: BTreeMap<u16, OnStatus>,
    /// Asks the remote whether the object exists already, before this step creates it again: when
    /// it is found, its `save` is kept and this step is left out.
    pub lookup: Option<Box<StepSettings>>,
    /// A list; the step runs once for each `item` of it.
    pub for_each: Option<String>,
    /// In a batch, asked for each row of an accepted answer: what is true or a text says that this
    /// row failed.
    pub failed: Option<String>,
}

/// `entities.<name>.read`: how an audit asks the remote for one object, and what it should find.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadSettings {
    /// `GET` this path.
    pub get: String,
    /// Query parameters; a null value leaves its parameter out.
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    /// Headers beyond the remote's own.
    #[serde(default)]
    pub headers: HiddenValues,
    /// Which statuses (or an expression over `answer`) mean that the object is there; any 2xx by
    /// default.
    #[serde(default)]
    pub accept: Option<Accept>,
    /// Which statuses (or an expression over `answer`) mean that there is no such object; 404 and 410
    /// by default.
    #[serde(default)]
    pub missing: Option<Accept>,
    /// What the answer's body should hold, written like a step's `body`; whatever else is in it is the
    /// remote's own.
    pub expect: Value,
}

/// `accept`: statuses, or an expression that is true for a good answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Accept {
    /// These statuses and no others.
    Statuses(Vec<u16>),
    /// Any 2xx whose answer makes this true.
    Expression(String),
}

/// `on.<status>`: a step of this sequence to go to, `lookup`, or a sequence of its own.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OnStatus {
    /// The name of a step of the same sequence, or `lookup`.
    Step(String),
    /// Steps to run instead; the sequence then goes on.
    Sequence(Vec<StepSettings>),
}

/// `entities.<name>.validate[]`: what must hold of a row before anything is sent.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateRule {
    /// What it is called where a row is parked for it.
    #[serde(default)]
    pub name: Option<String>,
    /// An expression that must be true.
    pub rule: String,
    /// What to tell the person who finds the row parked.
    #[serde(default)]
    pub message: String,
    /// Rows for which this expression is false are not asked.
    #[serde(default)]
    pub when: Option<String>,
}

/// Reads a text or a list. Serde's own way with such a choice loses what is wrong inside the list,
/// and the numbers among the keys of a nested `on`.
macro_rules! text_or_list {
    ($ty:ident, $text:ident, $list:ident, $expected:literal) => {
        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $ty;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E>(self, text: &str) -> Result<$ty, E> {
                        Ok($ty::$text(text.to_owned()))
                    }
                    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<$ty, A::Error> {
                        Deserialize::deserialize(SeqAccessDeserializer::new(items)).map($ty::$list)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

text_or_list!(Accept, Expression, Statuses, "a list of statuses, or an expression");
text_or_list!(OnStatus, Step, Sequence, "a step's name, `lookup`, or a list of steps");

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 7: a header may hold a secret.
    #[test]
    fn what_is_printed_to_debug_shows_no_header() {
        let step = serde_json::json!({ "name": "put", "put": "/x", "headers": { "X-Key": "hunter2" } });
        let sequences: Sequences =
            serde_json::from_value(serde_json::json!({ "upsert": [step] })).expect("settings");
        let printed = format!("{sequences:?}");
        assert!(printed.contains("X-Key") && !printed.contains("hunter2"), "{printed}");
    }
}
