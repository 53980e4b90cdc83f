//! Operators, functions and loops.

use super::{Lowered, Lowering};
use crate::mapping::{
    Kind,
    expression::{
        Problem, Val,
        exact::Arithmetic,
        functions::{self, Style},
        node::{Access, Comparison, Each, Node, NodeKind},
    },
    moment::pattern,
};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use std::ops::Range;

/// How deep loops may be nested: beyond this, the work grows out of all proportion.
const LOOPS: usize = 2;

impl Lowering<'_> {
    pub(super) fn pair(&mut self, arguments: &[IdedExpr]) -> Result<Box<[Node; 2]>, Problem> {
        match arguments {
            [a, b] => Ok(Box::new([self.node(a)?, self.node(b)?])),
            _ => Err(Problem { kind: Kind::Syntax, message: "two sides are wanted".to_owned(), span: 0..0 }),
        }
    }

    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Lowered {
        let span = self.span(expr);
        let kind = match (&*call.func_name, &call.target, &*call.args) {
            (operators::CONDITIONAL, None, [condition, yes, no]) => {
                NodeKind::If(Box::new([self.node(condition)?, self.node(yes)?, self.node(no)?]))
            }
            (operators::LOGICAL_AND, None, args) => {
                NodeKind::Logic { decisive: false, sides: self.pair(args)? }
            }
            (operators::LOGICAL_OR, None, args) => {
                NodeKind::Logic { decisive: true, sides: self.pair(args)? }
            }
            (operators::LOGICAL_NOT, None, [inner]) => NodeKind::Not(Box::new(self.node(inner)?)),
            (operators::NEGATE, None, [inner]) => NodeKind::Negate(Box::new(self.node(inner)?)),
            (operators::IN, None, args) => NodeKind::In(self.pair(args)?),
            (
                operators::OPT_SELECT,
                None,
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }],
            ) => {
                return self.field(expr, of, name.inner(), Access::Maybe);
            }
            (operators::INDEX | operators::OPT_INDEX, None, [of, index]) => {
                let how = if call.func_name == operators::INDEX { Access::Need } else { Access::Maybe };
                return self.index(expr, of, index, how);
            }
            (operators::HAS, None, args) => return self.has(expr, args),
            (name, Some(target), args) => return self.member(expr, name, target, args),
            (name, None, args) => match (arithmetic(name), comparison(name)) {
                (Some(how), _) => NodeKind::Arithmetic(how, self.pair(args)?),
                (_, Some(how)) => NodeKind::Compare(how, self.pair(args)?),
                _ => {
                    let function = self.function(expr, name, Style::Global, args.len())?;
                    NodeKind::Call(function, self.nodes(args.iter())?)
                }
            },
        };
        Ok(Node { span, kind })
    }

    pub(super) fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr, how: Access) -> Lowered {
        let index = self.node(index)?;
        if let NodeKind::Literal(Val::Text(name)) = &index.kind
            && self.is_fragments(of)
        {
            return self.fragment(expr, name, how);
        }
        let of = self.node(of)?;
        if let NodeKind::Literal(Val::Text(name)) = &index.kind {
            if let NodeKind::Name(root) = of.kind {
                self.check_field(root, name, index.span.clone())?;
            }
            let name = (&**name).into();
            return Ok(Node { span: index.span, kind: NodeKind::Field { of: Box::new(of), name, how } });
        }
        let kind = NodeKind::Index { of: Box::new(of), index: Box::new(index), how };
        Ok(Node { span: self.span(expr), kind })
    }

    pub(super) fn has(&mut self, expr: &IdedExpr, args: &[IdedExpr]) -> Lowered {
        match args {
            [IdedExpr { id, expr: Expr::Select(select) }] => {
                let inner = IdedExpr { id: *id, expr: Expr::Select(select.clone()) };
                self.field(&inner, &select.operand, &select.field, Access::Test)
            }
            [IdedExpr { expr: Expr::Call(call), .. }] if call.func_name == operators::INDEX => {
                match &*call.args {
                    [of, index] => self.index(expr, of, index, Access::Test),
                    _ => Err(self.problem(expr, Kind::Syntax, "`has` wants one field: `has(x.y)`")),
                }
            }
            _ => Err(self.problem(expr, Kind::Syntax, "`has` wants one field: `has(x.y)`")),
        }
    }

    pub(super) fn member(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        target: &IdedExpr,
        args: &[IdedExpr],
    ) -> Lowered {
        if let Expr::Ident(namespace) = &target.expr
            && namespace == "optional"
        {
            return self.optional(expr, name, args);
        }
        let span = self.name_before(expr, name);
        if let Some(how) = each(name) {
            return self.each(expr, span, how, target, args);
        }
        let kind = match (name, args) {
            ("orValue", [default]) => {
                NodeKind::OrValue { of: Box::new(self.node(target)?), default: Box::new(self.node(default)?) }
            }
            ("lookup", [IdedExpr { expr: Expr::Map(map), .. }, default @ ..]) if default.len() <= 1 => {
                let of = Box::new(self.node(target)?);
                let entries =
                    self.entries(&map.entries)?.into_iter().map(|(key, value, _)| (key, value)).collect();
                let default = default.first().map(|it| self.node(it)).transpose()?.map(Box::new);
                NodeKind::Lookup { of, entries, default }
            }
            ("matches", [pattern @ IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }]) => {
                let pattern = regex::Regex::new(text.inner()).map_err(|error| {
                    self.problem(pattern, Kind::Syntax, format!("not a pattern: {error}"))
                })?;
                NodeKind::Matches { of: Box::new(self.node(target)?), pattern }
            }
            _ => {
                let function = self.function(expr, name, Style::Member, args.len())?;
                if let ("date", [IdedExpr { expr: Expr::Literal(LiteralValue::String(form)), .. }]) =
                    (name, args)
                {
                    pattern::check(form.inner())
                        .map_err(|message| self.problem(&args[0], Kind::Syntax, message))?;
                }
                NodeKind::Call(function, self.nodes(std::iter::once(target).chain(args))?)
            }
        };
        Ok(Node { span, kind })
    }

    pub(super) fn nodes<'e>(
        &mut self,
        exprs: impl Iterator<Item = &'e IdedExpr>,
    ) -> Result<Vec<Node>, Problem> {
        exprs.map(|it| self.node(it)).collect()
    }

    /// `optional.of(x)` and `optional.none()`.
    pub(super) fn optional(&mut self, expr: &IdedExpr, name: &str, args: &[IdedExpr]) -> Lowered {
        let span = self.name_before(expr, name);
        match (name, args) {
            ("none", []) => Ok(Node { span, kind: NodeKind::Literal(Val::Optional(None)) }),
            ("of", [_]) => {
                let kind = NodeKind::Call(&functions::OPTIONAL_OF, self.nodes(args.iter())?);
                Ok(Node { span, kind })
            }
            _ => {
                let message = format!(
                    "there is no `optional.{name}`; there are `optional.of(x)` and `optional.none()`"
                );
                Err(Problem { kind: Kind::UnknownName, message, span })
            }
        }
    }

    pub(super) fn each(
        &mut self,
        expr: &IdedExpr,
        span: Range<usize>,
        how: Each,
        target: &IdedExpr,
        args: &[IdedExpr],
    ) -> Lowered {
        let usage = "it wants a name and an expression: `list.map(x, x.id)`";
        let (variable, filter, body) = match args {
            [variable, body] => (variable, None, body),
            [variable, filter, body] if how == Each::Map => (variable, Some(filter), body),
            _ => return Err(self.problem(expr, Kind::Syntax, usage)),
        };
        let Expr::Ident(variable) = &variable.expr else {
            return Err(self.problem(variable, Kind::Syntax, usage));
        };
        let over = Box::new(self.node(target)?);
        if self.loops.len() >= LOOPS {
            let message = format!("loops are nested more than {LOOPS} deep");
            return Err(Problem { kind: Kind::Syntax, message, span });
        }
        self.loops.push(variable.clone());
        let filter = filter.map(|it| self.node(it)).transpose();
        let body = self.node(body);
        self.loops.pop();
        let kind = NodeKind::Each { how, over, filter: filter?.map(Box::new), body: Box::new(body?) };
        Ok(Node { span, kind })
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    Some(match operator {
        operators::ADD => Arithmetic::Add,
        operators::SUBSTRACT => Arithmetic::Subtract,
        operators::MULTIPLY => Arithmetic::Multiply,
        operators::DIVIDE => Arithmetic::Divide,
        operators::MODULO => Arithmetic::Remainder,
        _ => return None,
    })
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn each(name: &str) -> Option<Each> {
    Some(match name {
        operators::ALL => Each::All,
        operators::EXISTS => Each::Exists,
        operators::EXISTS_ONE | "existsOne" => Each::ExistsOne,
        operators::MAP => Each::Map,
        operators::FILTER => Each::Filter,
        _ => return None,
    })
}
