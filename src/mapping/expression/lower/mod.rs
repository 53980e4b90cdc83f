//! From what the CEL parser read to what is evaluated.

mod call;
pub(super) mod fragment;
mod known;
mod span;
pub(super) mod syntax;

use super::{
    Problem, Val,
    exact::Exact,
    node::{Access, Name, Node, NodeKind, Presence},
};
use crate::mapping::{Kind, Names};
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo};
use std::borrow::Cow;

/// How deep an expression may be nested.
const DEPTH: usize = 60;

/// Turns what the CEL parser read into what is evaluated, and checks every name on the way.
pub(super) struct Lowering<'t> {
    source: &'t SourceInfo,
    names: &'t Names,
    /// Loop variables, outermost first.
    loops: Vec<String>,
    depth: usize,
}

type Lowered = Result<Node, Problem>;

impl<'t> Lowering<'t> {
    pub fn new(source: &'t SourceInfo, names: &'t Names) -> Self {
        Self { source, names, loops: Vec::new(), depth: 0 }
    }

    pub fn node(&mut self, expr: &IdedExpr) -> Lowered {
        if self.depth >= DEPTH {
            return Err(self.problem(expr, Kind::Syntax, "the expression is nested too deeply; split it up"));
        }
        self.depth += 1;
        let node = self.at_depth(expr);
        self.depth -= 1;
        node
    }

    fn at_depth(&mut self, expr: &IdedExpr) -> Lowered {
        let span = self.span(expr);
        let kind = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal)?,
            Expr::Ident(name) => self.ident(expr, name)?,
            Expr::Select(select) => return self.field(expr, &select.operand, &select.field, Access::Need),
            Expr::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for (at, item) in list.elements.iter().enumerate() {
                    let optional = list.optional_indices.contains(&at);
                    items
                        .push((self.node(item)?, if optional { Presence::IfSome } else { Presence::Always }));
                }
                NodeKind::List(items)
            }
            Expr::Map(map) => NodeKind::Map(self.entries(&map.entries)?),
            Expr::Call(call) => return self.call(expr, call),
            Expr::Struct(it) => {
                let message = format!("there are no types here, so `{}{{…}}` cannot be made", it.type_name);
                return Err(self.problem(expr, Kind::Syntax, message));
            }
            Expr::Comprehension(_) | Expr::Unspecified => {
                return Err(self.problem(expr, Kind::Syntax, "this cannot be evaluated"));
            }
        };
        Ok(Node { span, kind })
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Result<NodeKind, Problem> {
        Ok(NodeKind::Literal(match literal {
            LiteralValue::Null => Val::Null,
            LiteralValue::Boolean(truth) => Val::Bool(*truth.inner()),
            LiteralValue::Int(int) => Val::Int(*int.inner()),
            LiteralValue::UInt(int) => match i64::try_from(*int.inner()) {
                Ok(int) => Val::Int(int),
                Err(_) => Val::Decimal(Exact::new(Cow::Owned(int.inner().to_string()))),
            },
            // Its shortest digits are the ones that were written, so nothing is rounded.
            LiteralValue::Double(float) => Val::Decimal(Exact::new(Cow::Owned(float.inner().to_string()))),
            LiteralValue::String(text) => Val::Text(Cow::Owned(text.inner().to_owned())),
            LiteralValue::Bytes(_) => {
                return Err(self.problem(
                    expr,
                    Kind::Syntax,
                    "there are no byte strings here; write text: '…'",
                ));
            }
        }))
    }

    /// `x.name`, `has(x.name)` and `x.?name`.
    fn field(&mut self, expr: &IdedExpr, of: &IdedExpr, name: &str, how: Access) -> Lowered {
        if self.is_fragments(of) {
            return self.fragment(expr, name, how);
        }
        let of = self.node(of)?;
        let span = self.name_after(expr, name);
        match &of.kind {
            NodeKind::Name(root) => self.check_field(*root, name, span.clone())?,
            NodeKind::Field { of, name: entity, .. } if matches!(of.kind, NodeKind::Name(Name::Parent)) => {
                self.check_saved_by_parent(entity, name, span.clone())?;
            }
            _ => {}
        }
        Ok(Node { span, kind: NodeKind::Field { of: Box::new(of), name: name.into(), how } })
    }

    fn entries(&mut self, entries: &[IdedEntryExpr]) -> Result<Vec<(Node, Node, Presence)>, Problem> {
        let mut lowered = Vec::with_capacity(entries.len());
        for entry in entries {
            // The other kind stands in struct literals only, which are refused above.
            if let EntryExpr::MapEntry(entry) = &entry.expr {
                let presence = if entry.optional { Presence::IfSome } else { Presence::Always };
                lowered.push((self.node(&entry.key)?, self.node(&entry.value)?, presence));
            }
        }
        Ok(lowered)
    }

    fn problem(&self, expr: &IdedExpr, kind: Kind, message: impl Into<String>) -> Problem {
        Problem { kind, message: message.into(), span: self.span(expr) }
    }
}
