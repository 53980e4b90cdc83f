//! What goes back into an entity's own row once a change of it has ended.

use crate::{
    mapping::{At, Ended, Json, MappingError, Names, Scope},
    model::{Change, Link},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::LazyLock};

/// The columns to write, and what into each.
#[derive(Debug)]
pub struct WriteBack {
    columns: Vec<(String, Json)>,
}

impl WriteBack {
    /// Reads `write_back` of an entity whose key is `key`; `None` if it has none. `names` knows the
    /// table's columns, once they are known, and what is saved.
    pub fn new(
        settings: &BTreeMap<String, Value>,
        key: &[String],
        names: &Names,
        at: &At,
    ) -> Result<Option<Self>, Vec<String>> {
        let names = Names { outcome: true, fetched: false, ..names.clone() };
        let mut errors = Vec::new();
        let mut columns = Vec::new();
        for (column, value) in settings {
            let at = at.child(column);
            let place = at.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            let known = names.columns.as_ref().is_none_or(|known| known.iter().any(|it| **it == **column));
            if key.contains(column) {
                errors.push(format!(
                    "{}{place}: `{column}` is part of the key, which is the application's: write into another column",
                    at.path
                ));
            } else if !known {
                errors.push(format!("{}{place}: the table has no column `{column}`", at.path));
            }
            match Json::parse(value, &at, &names) {
                Ok(json) => columns.push((column.clone(), json)),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok((!columns.is_empty()).then_some(Self { columns }))
    }

    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(column, _)| column.as_str())
    }

    /// What is to be written, by column, and the first thing that could not be told. A value that
    /// cannot be told is left as it is in the row.
    pub fn values(
        &self,
        change: &Change,
        key: &str,
        link: Option<&Link>,
        ended: Ended<'_>,
    ) -> (Map<String, Value>, Option<MappingError>) {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let scope = Scope {
            row: None,
            old: None,
            op: change.op(),
            key,
            link: link.filter(|link| !link.gone).map(|link| &link.saved),
            fetched: None,
            parents: None,
            change: change.id,
            committed_at: change.committed_at,
            saved: &NOTHING,
            answers: &[],
            answer: None,
            item: None,
            members: None,
            index: None,
            body: None,
            outcome: Some(ended),
        };
        let mut values = Map::new();
        let mut failed = None;
        for (column, json) in &self.columns {
            match json.value(&scope) {
                Ok(Some(value)) => drop(values.insert(column.clone(), value)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        (values, failed)
    }
}
