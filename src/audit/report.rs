//! What an audit that is a run leaves behind: how far it is, and what it found. Both are stored with the
//! run, so both are small.

use super::{Field, Finding, Kind};
use crate::{
    capture::KeyValues,
    model::{RunId, one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// So many findings are kept, so many fields of each, and so many characters of each value.
const FINDINGS: usize = 50;
const FIELDS: usize = 10;
const CHARACTERS: usize = 120;
/// So many runs that bring things in step again are named.
const REPAIRS: usize = 50;

/// How far the audit of a route has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Nothing is looked at.
    #[default]
    Begin,
    /// The rows up to this key are.
    Rows(Option<KeyValues>),
    /// The rows are, and the linked keys up to this one.
    Links(Option<Arc<str>>),
    /// Everything is.
    Over,
}

/// What an audit has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// How many of each kind.
    pub found: BTreeMap<Kind, u64>,
    /// Rows that changed whenever they were looked at.
    pub changing: u64,
    /// The first of them, long values cut.
    pub first: Vec<Finding>,
    /// The runs that were asked for to bring things in step again, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<RunId>,
}

impl Report {
    /// Counts a finding, and keeps it if it is one of the first.
    pub fn add(&mut self, finding: Finding) {
        *self.found.entry(finding.finding).or_default() += 1;
        if self.first.len() < FINDINGS {
            self.first.push(shortened(finding));
        }
    }

    /// Another run brings things in step again.
    pub fn repaired_by(&mut self, run: RunId) {
        if self.repairs.len() < REPAIRS {
            self.repairs.push(run);
        }
    }

    /// How many findings there are.
    pub fn total(&self) -> u64 {
        self.found.values().sum()
    }
}

/// `2 different, 1 missing`; `all agree` if nothing was found.
pub fn tally(found: &BTreeMap<Kind, u64>) -> String {
    let found: Vec<String> = found.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    if found.is_empty() { "all agree".to_owned() } else { found.join(", ") }
}

fn shortened(finding: Finding) -> Finding {
    let fields = finding.fields.into_iter().take(FIELDS);
    let fields = fields.map(|it| Field { here: short(it.here), there: short(it.there), ..it }).collect();
    let message = finding.message.map(|it| one_line(&it, 3 * CHARACTERS));
    Finding { fields, message, ..finding }
}

/// Texts are cut. What has parts, and numbers that `jsonb` may not take, become texts.
fn short(value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::Number(number)
            if number.as_str().bytes().all(|it| it.is_ascii_digit() || b"-.".contains(&it))
                && number.as_str().len() <= CHARACTERS =>
        {
            Value::Number(number)
        }
        Value::String(text) => Value::String(one_line(&text, CHARACTERS)),
        other => Value::String(one_line(&other.to_string(), CHARACTERS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn finding(key: usize, kind: Kind, here: Value) -> Finding {
        let fields = vec![Field { field: "name".to_owned(), here, there: Value::Null }; 12];
        let text = |it: &str| it.to_owned();
        let (source, entity, route) = (text("main"), text("loan"), text("loan"));
        Finding { source, entity, route, key: key.to_string(), finding: kind, fields, message: None }
    }

    #[test]
    fn everything_is_counted_and_the_first_are_kept_shortened() {
        let mut report = Report::default();
        assert_eq!(tally(&report.found), "all agree");
        for key in 0..60 {
            report.add(finding(key, Kind::Different, json!("é".repeat(200))));
        }
        report.add(finding(60, Kind::Behind, Value::Null));
        assert_eq!((tally(&report.found).as_str(), report.total()), ("1 behind, 60 different", 61));
        assert_eq!((report.first.len(), report.first[0].fields.len()), (FINDINGS, FIELDS));
        assert_eq!(report.first[0].fields[0].here, json!(format!("{}…", "é".repeat(CHARACTERS))));
        let stored = serde_json::to_value(&report).expect("JSON");
        assert_eq!(stored["found"], json!({ "behind": 1, "different": 60 }));
        assert_eq!(serde_json::from_value::<Report>(stored).expect("a report"), report);
    }

    #[test]
    fn what_no_database_takes_becomes_a_text() {
        let huge: Value = serde_json::from_str("1e200000").expect("JSON has no limit");
        let cases = [
            (huge, json!("1e+200000")),
            (json!(12.50), json!(12.50)),
            (json!("a\0b"), json!("a b")),
            (json!({ "a": [1, null] }), json!(r#"{"a":[1,null]}"#)),
            (Value::Null, Value::Null),
        ];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn a_place_is_stored_and_read_again() {
        for place in [
            Place::Begin,
            Place::Rows(None),
            Place::Rows(Some(vec!["7".to_owned()])),
            Place::Links(Some("8".into())),
            Place::Over,
        ] {
            let stored = serde_json::to_value(&place).expect("JSON");
            assert_eq!(serde_json::from_value::<Place>(stored).expect("a place"), place);
        }
    }
}
