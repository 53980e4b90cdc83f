use super::{
    Fault, Problem, Val,
    field::{self, Found},
    node::{Access, Each, Node, NodeKind, Presence},
    operators,
};
use crate::mapping::{Scope, fragments};
use std::borrow::Cow;

/// Evaluates an expression: the scope, and the values of the loops it is in.
pub(super) struct Evaluation<'s, 'a> {
    pub scope: &'s Scope<'a>,
    locals: Vec<Val<'a>>,
}

type Evaluated<'a> = Result<Val<'a>, Problem>;

impl<'s, 'a> Evaluation<'s, 'a> {
    pub fn new(scope: &'s Scope<'a>) -> Self {
        Self { scope, locals: Vec::new() }
    }

    /// The value of a part of the expression.
    pub fn value(&mut self, node: &'a Node) -> Evaluated<'a> {
        let at = |fault: Fault| fault.at(node.span.clone());
        match &node.kind {
            NodeKind::Literal(literal) => Ok(borrowed(literal)),
            NodeKind::Name(name) => field::name(self.scope, *name).map_err(at),
            NodeKind::Local(slot) => Ok(self.locals.get(*slot).cloned().unwrap_or(Val::Null)),
            NodeKind::Field { of, name, how } => {
                let found = match &of.kind {
                    NodeKind::Name(root) => field::of_name(self.scope, *root, name).map_err(at)?,
                    _ => match self.value(of)? {
                        Val::Optional(inner) => {
                            return self.through(inner, |it| field::of(it, Cow::Borrowed(name))).map_err(at);
                        }
                        value => field::of(value, Cow::Borrowed(name)).map_err(at)?,
                    },
                };
                settle(found, *how).map_err(at)
            }
            NodeKind::Index { of, index, how } => {
                let value = self.value(of)?;
                let index = self.value(index)?;
                match value {
                    Val::Optional(inner) => self.through(inner, |it| field::item(it, &index)).map_err(at),
                    value => settle(field::item(value, &index).map_err(at)?, *how).map_err(at),
                }
            }
            NodeKind::Not(inner) => Ok(Val::Bool(!self.truth(inner)?)),
            NodeKind::Negate(inner) => operators::negate(self.value(inner)?).map_err(at),
            NodeKind::Logic { decisive, sides } => self.logic(*decisive, sides),
            NodeKind::If(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            NodeKind::Arithmetic(how, sides) => {
                let (a, b) = (self.value(&sides[0])?, self.value(&sides[1])?);
                operators::calculate(*how, a, b).map_err(at)
            }
            NodeKind::Compare(how, sides) => {
                let (a, b) = (self.value(&sides[0])?, self.value(&sides[1])?);
                operators::compare(*how, &a, &b).map(Val::Bool).map_err(at)
            }
            NodeKind::In(sides) => self.contains(&sides[0], &sides[1]).map(Val::Bool),
            NodeKind::List(items) => self.list(items),
            NodeKind::Map(entries) => self.map(entries),
            NodeKind::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.value(argument)?);
                }
                function.call(values).map_err(at)
            }
            NodeKind::Lookup { of, entries, default } => {
                let value = self.value(of)?;
                for (key, result) in entries {
                    let key = self.value(key)?;
                    if operators::same(&value, &key).map_err(at)? {
                        return self.value(result);
                    }
                }
                match default {
                    Some(default) => self.value(default),
                    None => Err(at(super::functions::not_in_table(&value))),
                }
            }
            NodeKind::Matches { of, pattern } => match self.value(of)? {
                Val::Text(text) => Ok(Val::Bool(pattern.is_match(&text))),
                other => Err(at(format!("`matches` wants text, but it is {}", other.kind()).into())),
            },
            NodeKind::OrValue { of, default } => match self.value(of)? {
                Val::Optional(Some(value)) => Ok(*value),
                Val::Optional(None) => self.value(default),
                other => Err(at(format!(
                    "`orValue` follows `x.?y`, which may be missing; this is {} and always there",
                    other.kind()
                )
                .into())),
            },
            NodeKind::Fragment(json) => json.val(self.scope).map_err(|error| Problem {
                kind: error.kind(),
                message: fragments::inside(&error),
                span: node.span.clone(),
            }),
            NodeKind::Each { how, over, filter, body } => self.each(*how, over, filter.as_deref(), body),
        }
    }

    /// The value of a part that must be true or false.
    pub fn truth(&mut self, node: &'a Node) -> Result<bool, Problem> {
        match self.value(node)? {
            Val::Bool(truth) => Ok(truth),
            other => {
                let message = format!("it must be true or false, but it is {}", other.kind());
                Err(Fault::from(message).at(node.span.clone()))
            }
        }
    }

    /// A field of something that may be missing may be missing.
    fn through(
        &self,
        inner: Option<Box<Val<'a>>>,
        step: impl FnOnce(Val<'a>) -> Result<Found<'a>, Fault>,
    ) -> Result<Val<'a>, Fault> {
        match inner {
            None => Ok(Val::Optional(None)),
            Some(value) => settle(step(*value)?, Access::Maybe),
        }
    }

    /// As CEL has it: the side that decides does so even if the other one fails.
    fn logic(&mut self, decisive: bool, sides: &'a [Node; 2]) -> Evaluated<'a> {
        match self.truth(&sides[0]) {
            Ok(truth) if truth == decisive => Ok(Val::Bool(decisive)),
            Ok(_) => self.truth(&sides[1]).map(Val::Bool),
            Err(problem) => match self.truth(&sides[1]) {
                Ok(truth) if truth == decisive => Ok(Val::Bool(decisive)),
                _ => Err(problem),
            },
        }
    }

    fn contains(&mut self, value: &'a Node, list: &'a Node) -> Result<bool, Problem> {
        let wanted = self.value(value)?;
        if let NodeKind::List(items) = &list.kind
            && items.iter().all(|(_, presence)| *presence == Presence::Always)
        {
            for (item, _) in items {
                let item_value = self.value(item)?;
                if operators::same(&wanted, &item_value).map_err(|fault| fault.at(item.span.clone()))? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let at = |fault: Fault| fault.at(list.span.clone());
        match self.value(list)?.into_items() {
            Ok(items) => {
                for item in &items {
                    if operators::same(&wanted, item).map_err(at)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Err(other) => {
                let key = wanted.text().map_err(at)?;
                match other.into_entries() {
                    Ok(entries) => Ok(entries.iter().any(|(name, _)| *name == key)),
                    Err(other) => {
                        Err(at(format!("`in` wants a list or an object, but it is {}", other.kind()).into()))
                    }
                }
            }
        }
    }

    fn list(&mut self, items: &'a [(Node, Presence)]) -> Evaluated<'a> {
        let mut list = Vec::with_capacity(items.len());
        for (item, presence) in items {
            if let Some(value) = self.entry(item, *presence)? {
                list.push(value);
            }
        }
        Ok(Val::List(list))
    }

    fn map(&mut self, entries: &'a [(Node, Node, Presence)]) -> Evaluated<'a> {
        let mut map: Vec<(Cow<'a, str>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (key, value, presence) in entries {
            let at = |fault: Fault| fault.at(key.span.clone());
            let name = match self.value(key)? {
                Val::Text(text) => text,
                other => Cow::Owned(other.text().map_err(at)?.into_owned()),
            };
            if map.iter().any(|(other, _)| *other == name) {
                return Err(at(format!("the key {} is there twice", super::shown(&name)).into()));
            }
            if let Some(value) = self.entry(value, *presence)? {
                map.push((name, value));
            }
        }
        Ok(Val::Map(map))
    }

    fn entry(&mut self, node: &'a Node, presence: Presence) -> Result<Option<Val<'a>>, Problem> {
        match (presence, self.value(node)?) {
            (Presence::Always, value) => Ok(Some(value)),
            (Presence::IfSome, Val::Optional(value)) => Ok(value.map(|it| *it)),
            (Presence::IfSome, other) => {
                let message =
                    format!("`?` wants a value that may be missing, such as `x.?y`, not {}", other.kind());
                Err(Fault::from(message).at(node.span.clone()))
            }
        }
    }

    fn each(&mut self, how: Each, over: &'a Node, filter: Option<&'a Node>, body: &'a Node) -> Evaluated<'a> {
        let items = match self.value(over)?.into_items() {
            Ok(items) => items,
            Err(other) => match other.into_entries() {
                Ok(entries) => entries.into_iter().map(|(key, _)| Val::Text(key)).collect(),
                Err(other) => {
                    let message = format!("only a list can be gone through, but it is {}", other.kind());
                    return Err(Fault::from(message).at(over.span.clone()));
                }
            },
        };
        let (mut kept, mut count, mut failed) = (Vec::new(), 0, None);
        for item in items {
            self.locals.push(item);
            let result = self.one(how, filter, body);
            let item = self.locals.pop();
            match (how, result) {
                (Each::Map, Ok(mapped)) => kept.extend(mapped),
                (Each::Filter, Ok(Some(Val::Bool(true)))) => kept.extend(item),
                (Each::ExistsOne, Ok(Some(Val::Bool(true)))) => count += 1,
                (Each::Exists, Ok(Some(Val::Bool(true)))) => return Ok(Val::Bool(true)),
                (Each::All, Ok(Some(Val::Bool(false)))) => return Ok(Val::Bool(false)),
                // As with `||` and `&&`, a later item may still decide.
                (Each::Exists | Each::All, Err(problem)) => failed = failed.or(Some(problem)),
                (_, Err(problem)) => return Err(problem),
                (_, Ok(_)) => {}
            }
        }
        match (how, failed) {
            (_, Some(problem)) => Err(problem),
            (Each::Map | Each::Filter, None) => Ok(Val::List(kept)),
            (Each::ExistsOne, None) => Ok(Val::Bool(count == 1)),
            (Each::Exists, None) => Ok(Val::Bool(false)),
            (Each::All, None) => Ok(Val::Bool(true)),
        }
    }

    fn one(
        &mut self,
        how: Each,
        filter: Option<&'a Node>,
        body: &'a Node,
    ) -> Result<Option<Val<'a>>, Problem> {
        if let Some(filter) = filter
            && !self.truth(filter)?
        {
            return Ok(None);
        }
        match how {
            Each::Map => self.value(body).map(Some),
            _ => self.truth(body).map(|truth| Some(Val::Bool(truth))),
        }
    }
}

/// The same value without a copy of its text.
fn borrowed<'a>(literal: &'a Val<'static>) -> Val<'a> {
    match literal {
        Val::Text(text) => Val::Text(Cow::Borrowed(text)),
        other => other.clone(),
    }
}

fn settle(found: Found<'_>, how: Access) -> Result<Val<'_>, Fault> {
    match (found, how) {
        (Found::Value(value), Access::Need) => Ok(value),
        (Found::Value(value), Access::Maybe) => Ok(Val::some(value)),
        (Found::Value(_), Access::Test) => Ok(Val::Bool(true)),
        (Found::Missing(_), Access::Test) => Ok(Val::Bool(false)),
        (Found::Missing(_), Access::Maybe) => Ok(Val::Optional(None)),
        (Found::Missing(missing), Access::Need) => Err(missing.fault()),
    }
}
