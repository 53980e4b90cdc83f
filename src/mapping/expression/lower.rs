use super::{
    Problem, Val,
    exact::{Arithmetic, Exact},
    functions::{self, FUNCTIONS, Function, Style},
    nearest,
    node::{Access, Comparison, Each, NAMES, Name, Node, NodeKind, Presence},
};
use crate::mapping::{Kind, Names, moment::pattern};
use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo, operators,
};
use std::{borrow::Cow, ops::Range};

/// How deep an expression may be nested.
const DEPTH: usize = 60;
/// How deep loops may be nested: beyond this, the work grows out of all proportion.
const LOOPS: usize = 2;

/// Turns what the CEL parser read into what is evaluated, and checks every name on the way.
pub(super) struct Lowering<'t> {
    pub source: &'t SourceInfo,
    pub names: &'t Names,
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

    fn ident(&self, expr: &IdedExpr, name: &str) -> Result<NodeKind, Problem> {
        if let Some(slot) = self.loops.iter().rposition(|it| it == name) {
            return Ok(NodeKind::Local(slot));
        }
        let unknown = |message: String| self.problem(expr, Kind::UnknownName, message);
        let Some((_, found)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let in_scope = NAMES.iter().filter(|(_, it)| self.in_scope(*it).is_ok()).map(|(known, _)| *known);
            let known: Vec<&str> = self.loops.iter().map(String::as_str).chain(in_scope).collect();
            let columns = self.names.columns.iter().flat_map(|columns| columns.iter());
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if columns.clone().any(|column| **column == *name) => {
                    format!("a column is `row.{name}`")
                }
                None => format!("there are {}", listed(&known)),
            };
            return Err(unknown(format!("there is no `{name}` here; {hint}")));
        };
        self.in_scope(*found).map_err(unknown)?;
        Ok(NodeKind::Name(*found))
    }

    fn in_scope(&self, name: Name) -> Result<(), String> {
        match name {
            Name::Answer if !self.names.answer => Err("`answer` is known only where an answer is looked at \
                (`save`, `accept`); elsewhere write `answers.<step>` or `saved.<name>`"
                .to_owned()),
            Name::Item if !self.names.item => {
                Err("`item` is known only in a step with `for_each`".to_owned())
            }
            Name::Fetched if !self.names.fetched => {
                Err("`fetched` is known only where the entity has a `fetch` query".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// `x.name`, `has(x.name)` and `x.?name`.
    fn field(&mut self, expr: &IdedExpr, of: &IdedExpr, name: &str, how: Access) -> Lowered {
        let of = self.node(of)?;
        let span = self.name_after(expr, name);
        if let NodeKind::Name(root) = of.kind {
            self.check_field(root, name, span.clone())?;
        }
        Ok(Node { span, kind: NodeKind::Field { of: Box::new(of), name: name.into(), how } })
    }

    fn check_field(&self, root: Name, name: &str, span: Range<usize>) -> Result<(), Problem> {
        const ANSWER: &[&str] = &["status", "headers", "body", "text"];
        const CHANGE: &[&str] = &["id", "committed_at"];
        let of = |known: &[std::sync::Arc<str>]| known.iter().map(|it| it.to_string()).collect::<Vec<_>>();
        let fixed = |known: &[&str]| known.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (known, what) = match root {
            Name::Row | Name::Old => match &self.names.columns {
                Some(columns) => (of(columns), "the table has no column"),
                None => return Ok(()),
            },
            Name::Saved | Name::Link => (of(&self.names.saved), "no step saves"),
            Name::Answers => (of(&self.names.steps), "the sequence has no step"),
            Name::Answer => (fixed(ANSWER), "an answer has no"),
            Name::Change => (fixed(CHANGE), "a change has no"),
            Name::Op | Name::Key => {
                let message = format!("this is text and has no field `{name}`");
                return Err(Problem { kind: Kind::UnknownName, message, span });
            }
            Name::Fetched | Name::Item => return Ok(()),
        };
        if known.iter().any(|it| it == name) {
            return Ok(());
        }
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => "; there is none at all".to_owned(),
            None => format!("; there are {}", listed(&known)),
        };
        Err(Problem { kind: Kind::UnknownName, message: format!("{what} `{name}`{hint}"), span })
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

    fn pair(&mut self, arguments: &[IdedExpr]) -> Result<Box<[Node; 2]>, Problem> {
        match arguments {
            [a, b] => Ok(Box::new([self.node(a)?, self.node(b)?])),
            _ => Err(Problem { kind: Kind::Syntax, message: "two sides are wanted".to_owned(), span: 0..0 }),
        }
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Lowered {
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

    fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr, how: Access) -> Lowered {
        let index = self.node(index)?;
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

    fn has(&mut self, expr: &IdedExpr, args: &[IdedExpr]) -> Lowered {
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

    fn member(&mut self, expr: &IdedExpr, name: &str, target: &IdedExpr, args: &[IdedExpr]) -> Lowered {
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

    fn nodes<'e>(&mut self, exprs: impl Iterator<Item = &'e IdedExpr>) -> Result<Vec<Node>, Problem> {
        exprs.map(|it| self.node(it)).collect()
    }

    /// `optional.of(x)` and `optional.none()`.
    fn optional(&mut self, expr: &IdedExpr, name: &str, args: &[IdedExpr]) -> Lowered {
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

    fn each(
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

    fn function(
        &self,
        expr: &IdedExpr,
        name: &str,
        style: Style,
        arguments: usize,
    ) -> Result<&'static Function, Problem> {
        let span = self.name_before(expr, name);
        let problem = |kind, message| Problem { kind, message, span: span.clone() };
        let Some(function) = functions::find(name) else {
            const BUILT_IN: &[&str] = &["has", "all", "exists", "exists_one", "map", "filter", "orValue"];
            let known = FUNCTIONS.iter().map(|it| it.name).chain(BUILT_IN.iter().copied());
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", listed(&known.collect::<Vec<_>>())),
            };
            return Err(problem(Kind::UnknownName, format!("there is no function `{name}`; {hint}")));
        };
        let arguments = match (style, function.style) {
            (Style::Global, Style::Both) => arguments.saturating_sub(1),
            (Style::Global, Style::Member) => {
                return Err(problem(
                    Kind::Syntax,
                    format!("`{name}` is written behind the value: `x.{name}(…)`"),
                ));
            }
            (Style::Member, Style::Global) => {
                return Err(problem(
                    Kind::Syntax,
                    format!("`{name}` is written around the value: `{name}(x)`"),
                ));
            }
            _ => arguments,
        };
        if arguments < function.least || arguments > function.most {
            let wanted = match (function.least, function.most) {
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return Err(problem(Kind::Syntax, format!("`{name}` takes {wanted} arguments, not {arguments}")));
        }
        Ok(function)
    }

    fn problem(&self, expr: &IdedExpr, kind: Kind, message: impl Into<String>) -> Problem {
        Problem { kind, message: message.into(), span: self.span(expr) }
    }
}

fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 30;
    let mut listed: Vec<String> = names.iter().take(MOST).map(|it| format!("`{}`", it.as_ref())).collect();
    if names.len() > MOST {
        listed.push("…".to_owned());
    }
    listed.join(", ")
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
