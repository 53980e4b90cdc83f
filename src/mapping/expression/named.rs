//! What an expression names other rows by: the keys of `depends_on`.

use super::{
    Expression, Fault, Problem, Val, column,
    eval::Evaluation,
    node::{Node, NodeKind, Presence},
};
use crate::{
    mapping::{MappingError, Scope},
    model::{Cell, Type},
};

/// What an expression names other rows by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Null, an empty text or something that is missing: no row at all.
    Nothing,
    /// A value, as Postgres prints it.
    Value(String),
    /// Several of these.
    List(Vec<Named>),
}

impl Expression {
    /// What it names other rows by. A column that stands alone, or in a list that is written out,
    /// is taken as Postgres printed it, so that it equals the key it refers to.
    pub fn named(&self, scope: &Scope<'_>) -> Result<Named, MappingError> {
        named(&self.root, scope).map_err(|problem| self.problem(problem))
    }
}

fn named<'a>(node: &'a Node, scope: &Scope<'a>) -> Result<Named, Problem> {
    if let Some((row, position)) = column(node, scope) {
        let printed = !matches!(row.table.columns[position].ty, Type::Array { .. } | Type::Json);
        match row.cell(position) {
            Cell::Null => return Ok(Named::Nothing),
            Cell::Text(text) if printed => return Ok(value(text)),
            _ => {}
        }
    }
    if let NodeKind::List(items) = &node.kind
        && items.iter().all(|(_, presence)| *presence == Presence::Always)
    {
        let items = items.iter().map(|(item, _)| named(item, scope));
        return items.collect::<Result<_, _>>().map(Named::List);
    }
    let value = Evaluation::new(scope).value(node)?;
    of_value(value).map_err(|fault| fault.at(node.span.clone()))
}

fn of_value(it: Val<'_>) -> Result<Named, Fault> {
    match it {
        Val::Null | Val::Optional(None) => Ok(Named::Nothing),
        Val::Optional(Some(inner)) => of_value(*inner),
        Val::Bool(truth) => Ok(value(if truth { "t" } else { "f" })),
        it => match it.into_items() {
            Ok(items) => items.into_iter().map(of_value).collect::<Result<_, _>>().map(Named::List),
            Err(other @ (Val::Map(_) | Val::Json(_) | Val::Row(_))) => {
                Err(format!("a key is text, a number or a list of them, but it is {}", other.kind()).into())
            }
            Err(other) => other.text().map(|text| value(&text)),
        },
    }
}

fn value(text: &str) -> Named {
    if text.is_empty() { Named::Nothing } else { Named::Value(text.to_owned()) }
}
