//! What stands behind `x.y` and `x[y]`.

use super::{
    Fault, Val,
    batch::{Batch, What},
    exact::Exact,
    node::Name,
    shown,
};
use crate::{
    mapping::{Kind, Scope, moment::Moment, pg_value},
    model::{Answer, Answered, Cell, Op, Row},
};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A field, if it is there.
pub(super) enum Found<'a> {
    Value(Val<'a>),
    Missing(Missing<'a>),
}

/// Why a field is not there. `has()` and `.?` take it as it is; otherwise it is an error.
pub(super) enum Missing<'a> {
    Field {
        of: &'static str,
        name: Cow<'a, str>,
    },
    Index {
        index: i64,
        length: usize,
    },
    /// Postgres did not send this value.
    Unchanged {
        column: Cow<'a, str>,
        op: Op,
    },
    /// The answer has no body.
    Body {
        status: u16,
    },
    Column {
        row: &'a Row,
        column: Cow<'a, str>,
    },
    Step {
        name: Cow<'a, str>,
    },
    Saved {
        name: Cow<'a, str>,
    },
    Link {
        name: Cow<'a, str>,
    },
    Null {
        name: Cow<'a, str>,
    },
    Row,
    Old,
    Parent {
        name: Cow<'a, str>,
    },
    Fetched,
}

impl Missing<'_> {
    pub fn fault(self) -> Fault {
        let evaluation = |message: String| Fault::new(Kind::Evaluation, message);
        match self {
            Self::Field { of, name } => {
                evaluation(format!("there is no `{name}` in {of}; if it may be missing, write `.?{name}.orValue(…)`"))
            }
            Self::Index { index, length } => {
                evaluation(format!("there is no item {index} in a list of {length}; the first one is item 0"))
            }
            Self::Unchanged { column, op: Op::Delete } => Fault::new(
                Kind::Unchanged,
                format!(
                    "the value of `{column}` is not known: of a deleted row, Postgres sends only the columns of the \
                     replica identity. Set `replica identity full` on the table, or go by `key` and `link`"
                ),
            ),
            Self::Unchanged { column, .. } => Fault::new(
                Kind::Unchanged,
                format!(
                    "the value of `{column}` is not known: it is large and this update did not touch it, so Postgres \
                     did not send it. Set `replica identity full` on the table, read it with the entity's `fetch`, \
                     or use it only as a whole body entry, which is then left out"
                ),
            ),
            Self::Body { status } => Fault::new(
                Kind::NotJson,
                format!("the answer (status {status}) has no body, but JSON was expected; ask with `has(answer.body)`"),
            ),
            Self::Column { row, column } => {
                let columns = row.table.columns.iter().map(|it| &*it.name);
                let hint = super::nearest(&column, columns).map(|it| format!("; did you mean `{it}`?"));
                let table = &row.table.name;
                Fault::new(
                    Kind::UnknownName,
                    format!("table {table} has no column `{column}`{}", hint.unwrap_or_default()),
                )
            }
            Self::Step { name } => evaluation(format!(
                "the step `{name}` has no answer here: it has not run for this change; ask with `has(answers.{name})`"
            )),
            Self::Saved { name } => evaluation(format!(
                "`{name}` has not been saved in this sequence; if an earlier change saved it, write \
                 `saved.?{name}.orValue(link.{name})`"
            )),
            Self::Link { name } => evaluation(format!(
                "nothing is saved as `{name}` for this key; ask with `has(link.{name})`, or write \
                 `link.?{name}.orValue(…)`"
            )),
            Self::Null { name } => {
                evaluation(format!("this is null, so it has no `{name}`; write `.?{name}.orValue(…)`"))
            }
            Self::Row => evaluation("there is no row: a truncate empties the table without naming rows".to_owned()),
            Self::Old => evaluation(
                "the row before the change is not known: Postgres sends it for updates under `replica identity full` \
                 and for deletes only; ask with `old == null`"
                    .to_owned(),
            ),
            Self::Parent { name } => evaluation(format!(
                "the row has no `{name}` that it depends on (a delete never has); ask with `has(parent.{name})`"
            )),
            Self::Fetched => evaluation("the `fetch` query returned no row".to_owned()),
        }
    }
}

/// The value of a name by itself.
pub(super) fn name<'a>(scope: &Scope<'a>, name: Name) -> Result<Val<'a>, Fault> {
    Ok(match name {
        Name::Row => Val::Row(scope.row.ok_or_else(|| Missing::Row.fault())?),
        Name::Old => scope.old.map_or(Val::Null, Val::Row),
        Name::Op => scope.op.name().into(),
        Name::Key => scope.key.into(),
        Name::Link => link(scope),
        Name::Saved => entries(scope.saved),
        Name::Parent => scope.parents.map_or_else(|| Val::Map(Vec::new()), entries),
        Name::Fetched => scope.fetched.map_or(Val::Null, Val::from),
        Name::Change => Val::Map(vec![
            (Cow::Borrowed("id"), scope.change.to_string().into()),
            (Cow::Borrowed("committed_at"), Val::Time(Moment::from(scope.committed_at))),
        ]),
        Name::Answers => Val::Answers(scope.answers),
        Name::Answer => Val::Answer(scope.answer.ok_or_else(|| Fault::from("there is no answer here"))?),
        Name::Outcome => scope.outcome.map_or(Val::Null, |outcome| outcome.name.into()),
        Name::Error => scope.outcome.and_then(|outcome| outcome.error).map_or(Val::Null, Val::from),
        Name::Item => {
            scope.item.map(Val::from).ok_or_else(|| Fault::from("there is no `for_each` item here"))?
        }
        Name::Rows => batch(scope, What::Rows)?,
        Name::Keys => batch(scope, What::Keys)?,
        Name::Links => batch(scope, What::Links)?,
        Name::Index => {
            let index = scope.index.and_then(|index| i64::try_from(index).ok());
            index.map(Val::Int).ok_or_else(|| Fault::from("there is no batch here"))?
        }
    })
}

fn batch<'a>(scope: &Scope<'a>, what: What) -> Result<Val<'a>, Fault> {
    let members = scope.members.ok_or_else(|| Fault::from("there is no batch here"))?;
    Ok(Val::Batch(Batch::new(members, what)))
}

/// What is saved of the key, as an object.
pub(super) fn link<'a>(scope: &Scope<'a>) -> Val<'a> {
    scope.link.map_or_else(|| Val::Map(Vec::new()), entries)
}

fn entries(map: &Map<String, Value>) -> Val<'_> {
    Val::Map(map.iter().map(|(key, value)| (Cow::Borrowed(key.as_str()), value.into())).collect())
}

/// `row.x` and its like, without making a value of the whole.
pub(super) fn of_name<'a>(scope: &Scope<'a>, root: Name, field: &'a str) -> Result<Found<'a>, Fault> {
    let name = Cow::Borrowed(field);
    let saved = |map: Option<&'a Map<String, Value>>| map.and_then(|map| map.get(field)).map(Val::from);
    Ok(match root {
        Name::Row => match scope.row {
            Some(row) => column(row, name, scope.op)?,
            None => Found::Missing(Missing::Row),
        },
        Name::Old => match scope.old {
            Some(row) => column(row, name, scope.op)?,
            None => Found::Missing(Missing::Old),
        },
        Name::Link => saved(scope.link).map_or(Found::Missing(Missing::Link { name }), Found::Value),
        Name::Saved => saved(Some(scope.saved)).map_or(Found::Missing(Missing::Saved { name }), Found::Value),
        Name::Parent => saved(scope.parents).map_or(Found::Missing(Missing::Parent { name }), Found::Value),
        Name::Fetched if scope.fetched.is_none() => Found::Missing(Missing::Fetched),
        Name::Answer if field == "body" && scope.body.is_some() => {
            Found::Value(scope.body.map_or(Val::Null, Val::from))
        }
        Name::Change if field == "id" => Found::Value(scope.change.to_string().into()),
        other => of(self::name(scope, other)?, name)?,
    })
}

fn column<'a>(row: &'a Row, name: Cow<'a, str>, op: Op) -> Result<Found<'a>, Fault> {
    let Some(position) = row.table.position(&name) else {
        return Ok(Found::Missing(Missing::Column { row, column: name }));
    };
    let column = &row.table.columns[position];
    match row.cell(position) {
        Cell::Null => Ok(Found::Value(Val::Null)),
        Cell::Unchanged => Ok(Found::Missing(Missing::Unchanged { column: name, op })),
        Cell::Text(text) => pg_value::read(&column.ty, text)
            .map(Found::Value)
            .map_err(|malformed| malformed.in_column(&column.name, text)),
    }
}

/// The named field of a value.
pub(super) fn of<'a>(value: Val<'a>, name: Cow<'a, str>) -> Result<Found<'a>, Fault> {
    let found = match value {
        Val::Json(Cow::Borrowed(Value::Object(map))) => map.get(&*name).map(Val::from),
        Val::Json(Cow::Owned(Value::Object(mut map))) => map.swap_remove(&*name).map(Val::from),
        Val::Map(entries) => entries.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value),
        // Only `old` or `row` in brackets comes here, which is no reason to carry the operation along.
        Val::Row(row) => return column(row, name, Op::Update),
        Val::Answers(answers) => match answered(answers, &name) {
            Some(answer) => Some(Val::Answer(answer)),
            None => return Ok(Found::Missing(Missing::Step { name })),
        },
        Val::Answer(answer) => return part_of_answer(answer, name),
        Val::Null => return Ok(Found::Missing(Missing::Null { name })),
        other => {
            return Err(format!("{} has no fields, so there is no `{name}`", other.kind()).into());
        }
    };
    Ok(found.map_or(Found::Missing(Missing::Field { of: "the object", name }), Found::Value))
}

/// `x[index]`.
pub(super) fn item<'a>(value: Val<'a>, index: &Val<'a>) -> Result<Found<'a>, Fault> {
    let position = match index {
        Val::Text(name) => return of(value, name.clone()),
        Val::Int(position) => *position,
        other => return Err(format!("an index is an integer or text, but it is {}", other.kind()).into()),
    };
    let found = |length: usize, found: Option<Val<'a>>| {
        Ok(found.map_or(Found::Missing(Missing::Index { index: position, length }), Found::Value))
    };
    // For each row of a batch an item may be looked up here: no list is made of all for that.
    let at = usize::try_from(position).ok();
    match &value {
        Val::Json(Cow::Borrowed(Value::Array(items))) => {
            return found(items.len(), at.and_then(|at| items.get(at)).map(Val::from));
        }
        Val::Batch(batch) => return found(batch.len(), at.and_then(|at| batch.get(at))),
        _ => {}
    }
    match value.into_items() {
        Ok(mut items) => {
            let length = items.len();
            found(length, at.filter(|at| *at < length).map(|at| items.swap_remove(at)))
        }
        // Keys of objects are text, whatever they were written as.
        Err(object @ (Val::Map(_) | Val::Json(_))) => of(object, Cow::Owned(position.to_string())),
        Err(other) => Err(format!("{} has no items, so there is no item {position}", other.kind()).into()),
    }
}

/// The newest answer of a step, whichever of its occurrences that is.
fn answered<'a>(answers: &'a [Answered], step: &str) -> Option<&'a Answer> {
    let is_of = |name: &str| match name.strip_prefix(step) {
        Some(occurrence) => occurrence.is_empty() || occurrence.starts_with(['[', '#']),
        None => false,
    };
    answers.iter().rev().find(|it| is_of(&it.step)).map(|it| &it.answer)
}

fn part_of_answer<'a>(answer: &'a Answer, name: Cow<'a, str>) -> Result<Found<'a>, Fault> {
    Ok(Found::Value(match &*name {
        "status" => Val::Int(answer.status.into()),
        "body" if answer.body.is_empty() => {
            return Ok(Found::Missing(Missing::Body { status: answer.status }));
        }
        "body" => match serde_json::from_slice::<Value>(&answer.body) {
            Ok(json) => json.into(),
            Err(error) => return Err(not_json(answer, &error)),
        },
        "text" => match std::str::from_utf8(&answer.body) {
            Ok(text) => text.into(),
            Err(_) => return Err("the answer's body is not UTF-8 text".into()),
        },
        "headers" => {
            let mut headers: Vec<(Cow<'a, str>, Val<'a>)> = Vec::new();
            for (name, value) in answer.headers.iter() {
                match headers.iter_mut().find(|(other, _)| other == name) {
                    Some((_, Val::Text(before))) => *before = Cow::Owned(format!("{before}, {value}")),
                    _ => headers.push((Cow::Borrowed(name), Val::Text(Cow::Borrowed(value)))),
                }
            }
            Val::Map(headers)
        }
        _ => {
            return Err(Fault::new(
                Kind::UnknownName,
                format!("an answer has no `{name}`; it has `status`, `headers`, `body` and `text`"),
            ));
        }
    }))
}

fn not_json(answer: &Answer, error: &serde_json::Error) -> Fault {
    let status = answer.status;
    let text = String::from_utf8_lossy(&answer.body);
    let start: String = text.chars().take(200).collect();
    let message =
        format!("the body of the answer (status {status}) is not JSON ({error}); it begins: {start}");
    Fault::new(Kind::NotJson, message)
}

impl From<i64> for Val<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl<'a> From<Exact<'a>> for Val<'a> {
    fn from(exact: Exact<'a>) -> Self {
        Self::Decimal(exact)
    }
}

/// A value as messages show it.
pub(super) fn shown_value(value: &Val<'_>) -> String {
    value.text().map_or_else(|_| value.kind().to_owned(), |text| shown(&text))
}
