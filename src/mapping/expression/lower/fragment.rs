//! `fragment.<name>`: what stands behind the name is lowered in its place.

use super::{Lowered, Lowering};
use crate::mapping::{
    Kind,
    expression::{
        Problem,
        node::{Access, FRAGMENT, Node, NodeKind},
    },
};
use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

impl Lowering<'_> {
    /// Whether this is the name that fragments stand behind.
    pub(super) fn is_fragments(&self, expr: &IdedExpr) -> bool {
        is_fragments(expr) && !self.loops.iter().any(|it| it == FRAGMENT)
    }

    pub(super) fn fragment(&self, expr: &IdedExpr, name: &str, how: Access) -> Lowered {
        let span = self.name_after(expr, name);
        let problem = |kind, message| Problem { kind, message, span: span.clone() };
        if how != Access::Need {
            let message = format!("a fragment is never missing: write `{FRAGMENT}.{name}`");
            return Err(problem(Kind::Syntax, message));
        }
        let compiled = self.names.fragments.compile(name, self.names);
        let json = compiled.map_err(|(kind, message)| problem(kind, message))?;
        Ok(Node { span, kind: NodeKind::Fragment(Box::new(json)) })
    }
}

fn is_fragments(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Ident(name) if name == FRAGMENT)
}

/// The names of the fragments that are used.
pub(in crate::mapping::expression) fn uses(expr: &IdedExpr, found: &mut Vec<String>) {
    match &expr.expr {
        Expr::Select(select) if is_fragments(&select.operand) => found.push(select.field.clone()),
        Expr::Select(select) => uses(&select.operand, found),
        Expr::Call(call) => {
            if let (operators::INDEX, [of, index]) = (&*call.func_name, &*call.args)
                && is_fragments(of)
                && let Expr::Literal(LiteralValue::String(name)) = &index.expr
            {
                found.push(name.inner().to_owned());
            }
            call.target.iter().for_each(|it| uses(it, found));
            call.args.iter().for_each(|it| uses(it, found));
        }
        Expr::List(list) => list.elements.iter().for_each(|it| uses(it, found)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    uses(&entry.key, found);
                    uses(&entry.value, found);
                }
            }
        }
        Expr::Literal(_) | Expr::Ident(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {}
    }
}
