//! Parameters: what may stand in a path or behind the `?`, and what is said where it does not.

use crate::{
    admin::problem::{BAD_PARAMETER, Problem},
    call_log::{moment, status_range},
    model::{ParkReason, ParkedState, RunKind, RunState, Span},
    state::postgres::Place,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::str::FromStr;

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) enum Form {
    /// Text of at most so many bytes.
    Text(usize),
    /// A whole number in these bounds.
    Number(i64, i64),
    /// Whole numbers, separated by commas.
    Numbers,
    /// `true` or `false`.
    Flag,
    /// A length of time.
    Span,
    /// A time, or how long ago that was.
    Moment,
    /// An HTTP status, a class or a range.
    Status,
    ParkedState,
    ParkReason,
    RunKind,
    RunState,
    /// A place in the list of parked changes.
    Place,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct Param {
    pub name: &'static str,
    pub form: Form,
    pub about: &'static str,
}

pub(in crate::admin) const fn param(name: &'static str, form: Form, about: &'static str) -> Param {
    Param { name, form, about }
}

/// Names, keys and ids are no longer.
pub(in crate::admin) const NAME: Form = Form::Text(1_024);

/// Numbers named at once, at most.
const NUMBERS: usize = 1_000;

impl Form {
    /// The values, where they can be listed.
    fn values(self) -> Option<Vec<&'static str>> {
        match self {
            Self::Flag => Some(vec!["true", "false"]),
            Self::ParkedState => Some(ParkedState::ALL.iter().map(|it| it.name()).collect()),
            Self::ParkReason => Some(ParkReason::ALL.iter().map(|it| it.name()).collect()),
            Self::RunKind => Some(RunKind::ALL.map(RunKind::name).to_vec()),
            Self::RunState => Some(RunState::ALL.map(RunState::name).to_vec()),
            _ => None,
        }
    }

    /// What is accepted, in words.
    fn words(self) -> String {
        match self {
            Self::Text(most) => format!("text of at most {most} bytes"),
            Self::Number(least, i64::MAX) => format!("a whole number from {least} on"),
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::Numbers => format!("at most {NUMBERS} whole numbers, separated by commas"),
            Self::Span => "a length of time such as `90s`, `15m` or `2h`".to_owned(),
            Self::Moment => {
                "a time such as `2026-01-31T12:00:00Z`, or how long ago, such as `15m` or `7d`".to_owned()
            }
            Self::Status => "a status such as `404`, `4xx` or `500-504`".to_owned(),
            Self::Place => "a place as the header `Link` of a page names it".to_owned(),
            _ => {
                let values: Vec<String> =
                    self.values().unwrap_or_default().iter().map(|it| format!("`{it}`")).collect();
                format!("one of {}", values.join(", "))
            }
        }
    }

    fn takes(self, text: &str) -> bool {
        match self {
            Self::Text(most) => !text.is_empty() && text.len() <= most && !text.contains('\0'),
            Self::Number(least, most) => text.parse().is_ok_and(|it| (least..=most).contains(&it)),
            Self::Numbers => {
                let mut numbers = text.split(',');
                numbers.clone().count() <= NUMBERS && numbers.all(|it| it.parse::<i64>().is_ok())
            }
            Self::Span => text.parse::<Span>().is_ok(),
            // Any time will do to see whether it is one.
            Self::Moment => moment(text, Timestamp::UNIX_EPOCH).is_ok(),
            Self::Status => status_range(text).is_ok(),
            Self::Place => text.parse::<Place>().is_ok(),
            _ => self.values().is_some_and(|it| it.contains(&text)),
        }
    }

    /// As the document says it.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
            Self::Number(least, i64::MAX) => json!({ "type": "integer", "minimum": least }),
            Self::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Self::Numbers => json!({ "type": "string", "pattern": "^-?[0-9]+(,-?[0-9]+)*$" }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Span => json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" }),
            Self::Moment => json!({ "type": "string", "examples": ["2026-01-31T12:00:00Z", "15m", "7d"] }),
            Self::Status => json!({ "type": "string", "examples": ["404", "4xx", "500-504"] }),
            Self::Place => json!({ "type": "string", "minLength": 1 }),
            _ => json!({ "type": "string", "enum": self.values() }),
        }
    }
}

/// Parameters that were given, each of which its form takes.
#[derive(Clone, Debug, Default)]
pub(in crate::admin) struct Given(Vec<(&'static str, String)>);

impl Given {
    /// Reads what stands behind the `?`.
    pub(in crate::admin) fn query(known: &[Param], query: Option<&str>) -> Result<Self, Problem> {
        let mut given = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            given.take(known, &name, value.into_owned())?;
        }
        Ok(given)
    }

    /// Takes one.
    pub(in crate::admin) fn take(
        &mut self,
        known: &[Param],
        name: &str,
        value: String,
    ) -> Result<(), Problem> {
        let Some(param) = known.iter().find(|it| it.name == name) else {
            let names = known.iter().map(|it| it.name);
            let short: String = name.chars().take(100).collect();
            let detail = match known {
                [] => format!("there is no parameter `{short}` here, nor any other"),
                _ => format!(
                    "there is no parameter `{short}` here: known are {}",
                    names.clone().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            return Err(Problem::new(BAD_PARAMETER, detail).of(&short).accepting(names));
        };
        if self.text(param.name).is_some() {
            return Err(Problem::new(BAD_PARAMETER, format!("`{name}` is given twice")).of(name));
        }
        if !param.form.takes(&value) {
            let short: String = value.chars().take(100).collect();
            let detail = format!("`{name}` cannot be `{short}`: expected {}", param.form.words());
            let accepted = param.form.values().unwrap_or_default();
            return Err(Problem::new(BAD_PARAMETER, detail).of(name).accepting(accepted));
        }
        self.0.push((param.name, value));
        Ok(())
    }

    pub(in crate::admin) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }

    pub(in crate::admin) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(in crate::admin) fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    pub(in crate::admin) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    pub(in crate::admin) fn numbers(&self, name: &str) -> Vec<i64> {
        self.text(name).iter().flat_map(|it| it.split(',')).filter_map(|it| it.parse().ok()).collect()
    }

    pub(in crate::admin) fn moment(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        moment(self.text(name)?, now).ok()
    }

    /// As a query, without these, and with this instead.
    pub(in crate::admin) fn but(&self, names: &[&str], name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(self.without(names));
        query.append_pair(name, value).finish()
    }

    /// As a query, without these.
    pub(in crate::admin) fn without(&self, names: &[&str]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.all().filter(|(it, _)| !names.contains(it))).finish()
    }

    /// All of them, for the list of operations.
    pub(in crate::admin) fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Param] = &[
        param("state", Form::ParkedState, ""),
        param("limit", Form::Number(1, 1_000), ""),
        param("ids", Form::Numbers, ""),
        param("since", Form::Moment, ""),
        param("key", NAME, ""),
    ];

    fn wrong(query: &str) -> (String, Value) {
        let problem = Given::query(KNOWN, Some(query)).expect_err(query);
        let json = serde_json::to_value(&problem).expect("JSON");
        (problem.detail().to_owned(), json)
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_do() {
        let (said, json) = wrong("state=lost");
        assert!(said.starts_with("`state` cannot be `lost`: expected one of `retrying`, "), "{said}");
        assert_eq!((&json["parameter"], &json["accepted"][0]), (&json!("state"), &json!("retrying")));
        assert_eq!(wrong("limit=0").0, "`limit` cannot be `0`: expected a whole number from 1 to 1000");
        assert_eq!(wrong("key=a&key=b").0, "`key` is given twice");
        let (said, json) = wrong("kye=1");
        assert!(said.contains("there is no parameter `kye`") && said.contains("`key`"), "{said}");
        assert_eq!(json["accepted"].as_array().map(Vec::len), Some(KNOWN.len()));
        for query in ["ids=1,x", "ids=", "since=soon", "key=", "key=%00"] {
            wrong(query);
        }
    }

    #[test]
    fn what_is_right_is_read() {
        let given = Given::query(KNOWN, Some("ids=1,2&key=a%2Fb+c&limit=7&since=15m")).expect("right");
        assert_eq!((given.numbers("ids"), given.text("key")), (vec![1, 2], Some("a/b c")));
        assert_eq!((given.get("limit"), given.get::<i64>("state")), (Some(7), None));
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        assert_eq!(given.moment("since", now), "2026-01-31T11:45:00Z".parse().ok());
        assert_eq!(given.but(&["ids", "since"], "limit", "a&b"), "key=a%2Fb+c&limit=7&limit=a%26b");
    }
}
