use super::{Batch, Schedules};
use crate::{
    mapping::ParentNames,
    model::DataRules,
    synchronize::{ReadSettings, Sequences, StepSettings, ValidateRule},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// `entities.<name>`: a business object and the tables whose changes concern it.
//
// The loader fills in what may be left out: behind it `source` is always given and `remotes` names
// every remote, `remote` none.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySettings {
    /// The table whose rows are the entity: `table` or `schema.table`.
    pub table: String,
    /// Further tables whose changes bring the entity's present row up again, each with the
    /// columns that hold the entity's key.
    #[serde(default)]
    pub tables: BTreeMap<String, ChildTable>,
    /// The columns of `table` that name one entity; the primary key unless given.
    #[serde(default)]
    pub key: Option<KeyColumns>,
    /// The source the tables are in; may be left out when there is only one.
    #[serde(default)]
    pub source: Option<String>,
    /// The remote to keep in step; may be left out when there is only one.
    #[serde(default)]
    pub remote: Option<String>,
    /// The remotes to keep in step, when there are several.
    #[serde(default)]
    pub remotes: Vec<String>,
    /// Changes for which this expression is false are skipped.
    #[serde(default)]
    pub when: Option<String>,
    /// Fragments and rules of this entity, nearer than the common ones and its remote's.
    #[serde(default)]
    pub rules: Option<DataRules>,
    /// What must hold of a row before anything is sent; a row that breaks a rule is parked.
    #[serde(default)]
    pub validate: Vec<ValidateRule>,
    /// What must be at the remote before this is: an entity, and the expression for its key. An
    /// entity is sent after what it depends on, and what it depends on is deleted after it.
    #[serde(default)]
    pub depends_on: BTreeMap<String, String>,
    /// `row` reads the whole row again; anything else is a SQL query whose first row is `fetched`
    /// in expressions, with the key's parts as `$1`, `$2`, ….
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// Who goes first when the remote cannot take everything at once: from 1, the first, to 10. A
    /// minute of waiting is worth a step, so that nothing waits for ever.
    #[serde(default = "priority")]
    #[schemars(range(min = 1, max = 10))]
    pub priority: u8,
    /// Whether waiting changes of one key are sent as one, the newest state.
    #[serde(default)]
    pub coalesce: bool,
    /// Whether later changes of a key wait behind one that gave up.
    #[serde(default)]
    pub on_dead: OnDead,
    /// Puts the changes of many rows into one call. Each sequence is then one step, in which `rows`
    /// is what it carries.
    #[serde(default)]
    pub batch: Option<Batch>,
    /// Whether a change is sent even when the remote was told the same before.
    #[serde(default)]
    pub always: bool,
    /// Whether its first start brings the rows that are in the table already, beside those that change.
    #[serde(default)]
    pub initial: bool,
    /// Runs that are asked for again and again.
    #[serde(default)]
    pub schedule: Schedules,
    /// What is written into the row itself when a change of it has ended: by column, a value with
    /// `link`, `outcome` and `error` in scope.
    #[serde(default)]
    pub write_back: BTreeMap<String, Value>,
    /// How `rowcall audit` asks the remote for one object, and what it should find there.
    #[serde(default)]
    pub read: Option<ReadSettings>,
    /// A synchronizer written in Rust, by name, instead of the sequences.
    #[serde(default)]
    pub class: Option<String>,
    /// The settings of that class.
    #[serde(default)]
    pub settings: Value,
    /// The steps for an inserted row; `upsert` serves where it is left out.
    #[serde(default)]
    pub insert: Option<Vec<StepSettings>>,
    /// The steps for an updated row; `upsert` serves where it is left out.
    #[serde(default)]
    pub update: Option<Vec<StepSettings>>,
    /// The steps for a deleted row.
    #[serde(default)]
    pub delete: Option<Vec<StepSettings>>,
    /// The steps for an inserted, updated or re-read row.
    #[serde(default)]
    pub upsert: Option<Vec<StepSettings>>,
    /// The steps for each linked key when a person lets a truncate through; `delete` serves where
    /// it is left out.
    #[serde(default)]
    pub truncate: Option<Vec<StepSettings>>,
}

impl EntitySettings {
    /// The sequences, as the synchronizer takes them.
    pub fn sequences(&self) -> Sequences {
        Sequences {
            insert: self.insert.clone(),
            update: self.update.clone(),
            delete: self.delete.clone(),
            upsert: self.upsert.clone(),
            truncate: self.truncate.clone(),
        }
    }

    /// What it depends on, as long as it is not known what that saves.
    pub fn parent_names(&self) -> Arc<[ParentNames]> {
        let parent = |entity: &String| ParentNames { entity: entity.as_str().into(), saved: None };
        self.depends_on.keys().map(parent).collect()
    }

    /// Whether any sequence is given.
    pub fn has_sequences(&self) -> bool {
        let all = [&self.insert, &self.update, &self.delete, &self.upsert, &self.truncate];
        all.iter().any(|it| it.is_some())
    }
}

fn priority() -> u8 {
    5
}

/// `entities.<name>.on_dead`: what a change that gave up means for its key's later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnDead {
    /// They wait behind it until a person has decided.
    #[default]
    Hold,
    /// They go on, unless it is half done: what it saved would be missing.
    Continue,
}

/// `entities.<name>.tables.<table>`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildTable {
    /// The columns of this table that hold the entity's key, in the order of the entity's `key`.
    pub key: KeyColumns,
}

/// One column or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumns(pub Vec<String>);

impl<'de> Deserialize<'de> for KeyColumns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::One(column) => vec![column],
            Written::Several(columns) => columns,
        }))
    }
}

impl Serialize for KeyColumns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [column] => serializer.serialize_str(column),
            columns => columns.serialize(serializer),
        }
    }
}

impl JsonSchema for KeyColumns {
    fn schema_name() -> Cow<'static, str> {
        "KeyColumns".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One column, or a list of them.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }],
        })
    }
}

/// `entities.<name>.fetch`: what to read again before the steps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum Fetch {
    /// The row itself, whole.
    Row,
    /// A query of the configuration's own.
    Sql(String),
}

impl From<String> for Fetch {
    fn from(text: String) -> Self {
        if text == "row" { Self::Row } else { Self::Sql(text) }
    }
}

impl From<Fetch> for String {
    fn from(fetch: Fetch) -> Self {
        match fetch {
            Fetch::Row => "row".to_owned(),
            Fetch::Sql(sql) => sql,
        }
    }
}

impl JsonSchema for Fetch {
    fn schema_name() -> Cow<'static, str> {
        "Fetch".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}
