//! The expression language: CEL as the `cel` crate reads it, evaluated here.

mod batch;
mod eval;
mod exact;
mod field;
mod functions;
mod guard;
mod lower;
mod named;
mod node;
mod operators;
mod problem;
mod reads;
mod row;
#[cfg(test)]
pub(super) mod tests;
mod value;

pub use named::Named;

pub(super) use exact::Exact;
pub(super) use problem::{Fault, Problem, nearest, shown};
pub(super) use value::{Val, write_string};

use super::{At, Kind, MappingError, Names, Scope, braces};
use crate::model::{Cell, Row};
use cel::common::ast::{IdedExpr, SourceInfo};
use eval::Evaluation;
use lower::Lowering;
use node::{Access, Name, Node, NodeKind};
use serde_json::Value;
use std::sync::Arc;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    root: Node,
    text: Arc<str>,
    at: At,
}

/// What an expression came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Evaluated {
    /// A value.
    Value(Value),
    /// The expression is one column whose value the update did not touch: it is not known.
    Unchanged,
}

impl Expression {
    /// Compiles `{{ … }}` or the bare expression.
    pub fn parse(text: &str, at: &At, names: &Names) -> Result<Self, MappingError> {
        let trimmed = text.trim();
        if !trimmed.starts_with("{{") {
            return Self::compile(trimmed, at, names);
        }
        let problem = |message: &str, span| Problem { kind: Kind::Syntax, message: message.to_owned(), span };
        let parts = braces::split(trimmed).map_err(|braces::Unclosed(span)| {
            MappingError::within(problem("this `{{` has no `}}`", span), trimmed, at)
        })?;
        match braces::only(&parts) {
            Some(inner) => Self::compile(inner, at, names),
            None => {
                let message = "one expression is wanted here: `{{ … }}` and nothing around it";
                Err(MappingError::within(problem(message, 0..trimmed.len()), trimmed, at))
            }
        }
    }

    /// Compiles what stands between the braces.
    pub(super) fn compile(text: &str, at: &At, names: &Names) -> Result<Self, MappingError> {
        let text: Arc<str> = text.trim().into();
        let lowered =
            read(&text, |expr: &IdedExpr, source: &SourceInfo| Lowering::new(source, names).node(expr));
        match lowered {
            Ok(root) => Ok(Self { root, text, at: at.clone() }),
            Err(problem) => Err(MappingError::within(problem, &text, at)),
        }
    }

    /// The value, as JSON.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Evaluated, MappingError> {
        if self.is_unchanged(scope) {
            return Ok(Evaluated::Unchanged);
        }
        let json = self.val(scope)?.into_json().map_err(|fault| self.fault(fault))?;
        Ok(Evaluated::Value(json))
    }

    /// The value, as JSON; `None` if it is not known or missing.
    pub fn value_if_any(&self, scope: &Scope<'_>) -> Result<Option<Value>, MappingError> {
        if self.is_unchanged(scope) {
            return Ok(None);
        }
        match self.val(scope)? {
            Val::Optional(None) => Ok(None),
            value => value.into_json().map(Some).map_err(|fault| self.fault(fault)),
        }
    }

    /// The value of a condition; an error if it is neither true nor false.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<bool, MappingError> {
        Evaluation::new(scope).truth(&self.root).map_err(|problem| self.problem(problem))
    }

    /// The items of a list; an error if it is none.
    pub fn list(&self, scope: &Scope<'_>) -> Result<Vec<Value>, MappingError> {
        let items = self.val(scope)?.into_items().map_err(|other| {
            let hint = if matches!(other, Val::Null) { "; `x == null ? [] : x` makes it empty" } else { "" };
            self.fault(format!("it must be a list, but it is {}{hint}", other.kind()).into())
        })?;
        items.into_iter().map(|item| item.into_json().map_err(|fault| self.fault(fault))).collect()
    }

    pub(super) fn val<'a>(&'a self, scope: &Scope<'a>) -> Result<Val<'a>, MappingError> {
        Evaluation::new(scope).value(&self.root).map_err(|problem| self.problem(problem))
    }

    /// The column, if the expression is nothing but one.
    fn column<'a>(&self, scope: &Scope<'a>) -> Option<(&'a Row, usize)> {
        column(&self.root, scope)
    }

    /// Whether the expression is nothing but a column whose value is not known.
    fn is_unchanged(&self, scope: &Scope<'_>) -> bool {
        self.column(scope).is_some_and(|(row, position)| row.cell(position) == Cell::Unchanged)
    }

    /// Appends the value as JSON; `false` if it is not known or missing, and nothing is appended.
    pub(super) fn write_json(&self, scope: &Scope<'_>, out: &mut Vec<u8>) -> Result<bool, MappingError> {
        if let Some((row, position)) = self.column(scope) {
            return match row.cell(position) {
                Cell::Unchanged => Ok(false),
                cell => {
                    let written = row::write_cell(&row.table.columns[position], cell, out);
                    written.map(|()| true).map_err(|fault| self.fault(fault))
                }
            };
        }
        match self.val(scope)? {
            Val::Optional(None) => Ok(false),
            value => value.write_json(out).map(|()| true).map_err(|fault| self.fault(fault)),
        }
    }

    /// The error for something about the expression as a whole.
    pub(super) fn fault(&self, fault: Fault) -> MappingError {
        self.problem(fault.at(self.root.span.clone()))
    }

    fn problem(&self, problem: Problem) -> MappingError {
        MappingError::within(problem, &self.text, &self.at)
    }

    /// Whether it is a literal.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.root.kind, NodeKind::Literal(_))
    }
}

/// The column, if the node is nothing but one.
fn column<'a>(node: &Node, scope: &Scope<'a>) -> Option<(&'a Row, usize)> {
    let (of, name) = match &node.kind {
        NodeKind::Field { of, name, how: Access::Need } => (of, name),
        NodeKind::Fragment(json) => return json.expression()?.column(scope),
        _ => return None,
    };
    let row = match of.kind {
        NodeKind::Name(Name::Row) => scope.row?,
        NodeKind::Name(Name::Old) => scope.old?,
        _ => return None,
    };
    Some((row, row.table.position(name)?))
}

/// What the parser may use: it goes several calls down for each bracket and operator.
const STACK: usize = 16 << 20;

#[cfg(test)]
pub(super) fn function_names() -> impl Iterator<Item = &'static str> {
    functions::FUNCTIONS.iter().map(|it| it.name)
}

/// What is made of what the parser read.
trait Then<T>: FnOnce(&IdedExpr, &SourceInfo) -> Result<T, Problem> + Send {}
impl<T, F: FnOnce(&IdedExpr, &SourceInfo) -> Result<T, Problem> + Send> Then<T> for F {}

fn read<T: Send>(text: &str, then: impl Then<T>) -> Result<T, Problem> {
    let syntax =
        |message: &str| Problem { kind: Kind::Syntax, message: message.to_owned(), span: 0..text.len() };
    if text.is_empty() {
        return Err(syntax("the expression is empty"));
    }
    guard::check(text)?;
    // On a thread of its own for the sake of its stack. Should the parser panic, that ends here too.
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse(text, then));
        let read = reader.ok().and_then(|thread| thread.join().ok());
        read.unwrap_or_else(|| Err(syntax("it cannot be read")))
    })
}

fn parse<T>(text: &str, then: impl Then<T>) -> Result<T, Problem> {
    // Without macros: loops and `has` are lowered by ourselves, which keeps their places.
    let parser = cel::Env::default().parser().enable_ident_escape_syntax(true);
    let read = parser.parse_with_source_info(text);
    let (expr, source) = read.map_err(|errors| lower::syntax::problem(errors, text))?;
    then(&expr, &source)
}

/// The names of the fragments that an expression uses.
pub(super) fn fragments_in(text: &str) -> Result<Vec<String>, Problem> {
    read(text, |expr: &IdedExpr, _: &SourceInfo| {
        let mut found = Vec::new();
        lower::fragment::uses(expr, &mut found);
        Ok(found)
    })
}
