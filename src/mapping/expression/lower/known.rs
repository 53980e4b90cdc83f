//! Which names are known where: checked when the configuration is read, so that a typo does not wait
//! for its first row.

use super::Lowering;
use crate::mapping::{
    Kind,
    expression::{
        Problem,
        functions::{self, FUNCTIONS, Function, Style},
        nearest,
        node::{FRAGMENT, NAMES, Name, NodeKind},
    },
};
use cel::common::ast::IdedExpr;
use std::ops::Range;

impl Lowering<'_> {
    pub(super) fn ident(&self, expr: &IdedExpr, name: &str) -> Result<NodeKind, Problem> {
        if let Some(slot) = self.loops.iter().rposition(|it| it == name) {
            return Ok(NodeKind::Local(slot));
        }
        let unknown = |message: String| self.problem(expr, Kind::UnknownName, message);
        if name == FRAGMENT {
            return Err(unknown(format!("say which fragment: `{FRAGMENT}.<name>`")));
        }
        let Some((_, found)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let in_scope = NAMES.iter().filter(|(_, it)| self.in_scope(*it).is_ok()).map(|(known, _)| *known);
            let known: Vec<&str> =
                self.loops.iter().map(String::as_str).chain(in_scope).chain([FRAGMENT]).collect();
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

    pub(super) fn in_scope(&self, name: Name) -> Result<(), String> {
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

    pub(super) fn check_field(&self, root: Name, name: &str, span: Range<usize>) -> Result<(), Problem> {
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

    pub(super) fn function(
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
}

fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 30;
    let mut listed: Vec<String> = names.iter().take(MOST).map(|it| format!("`{}`", it.as_ref())).collect();
    if names.len() > MOST {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}
