//! Which names are known where: checked when the configuration is read, so that a typo does not wait
//! for its first row.

use super::Lowering;
use crate::mapping::{
    About, Kind,
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
        self.about(name)?;
        match name {
            Name::Answer if !self.names.answer => Err("`answer` is known only where an answer is looked at \
                (`save`, `accept`); elsewhere write `answers.<step>` or `saved.<name>`"
                .to_owned()),
            Name::Item if !self.names.item => {
                Err("`item` is known only in a step with `for_each`".to_owned())
            }
            Name::Outcome | Name::Error if !self.names.outcome => {
                Err("`outcome` and `error` are known only in `write_back`".to_owned())
            }
            Name::Answers | Name::Saved if self.names.outcome => {
                Err("in `write_back` everything that was saved is in `link`".to_owned())
            }
            Name::Row | Name::Old if self.names.outcome => {
                Err("`write_back` writes into the row as it will be then; what is in it is there already"
                    .to_owned())
            }
            Name::Fetched if !self.names.fetched => {
                Err("`fetched` is known only where the entity has a `fetch` query".to_owned())
            }
            Name::Parent if self.names.parents.is_empty() => {
                Err("`parent` is known only where the entity has `depends_on`".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Which names there are depends on how many rows the call is about.
    fn about(&self, name: Name) -> Result<(), String> {
        let about = self.names.about;
        let one = |what: &str, many: &str| {
            Err(format!(
                "`{what}` is of one row, and this call carries a batch of them: say what is said of each row \
                 under `each`, or go through `{many}`"
            ))
        };
        match name {
            Name::Rows | Name::Keys | Name::Links if about == About::Row => {
                Err("`rows`, `keys` and `links` are known only in the steps of an entity with `batch`".to_owned())
            }
            Name::Index if about != About::Member => Err("`index` is known only where one row of a batch is \
                looked at: under `each`, in `failed` and in `save`"
                .to_owned()),
            Name::Saved | Name::Answers if about != About::Row => {
                Err("a batch is a single step, so there is nothing before it: what earlier changes saved is `link`"
                    .to_owned())
            }
            Name::Row if about == About::Batch => one("row", "rows"),
            Name::Old if about == About::Batch => one("old", "rows"),
            Name::Key if about == About::Batch => one("key", "keys"),
            Name::Link if about == About::Batch => one("link", "links"),
            Name::Fetched if about == About::Batch => one("fetched", "rows"),
            Name::Op if about == About::Batch => one("op", "rows"),
            Name::Change if about == About::Batch => one("change", "rows"),
            Name::Parent if about == About::Batch => one("parent", "rows"),
            _ => Ok(()),
        }
    }

    /// `parent.<entity>.<name>`.
    pub(super) fn check_saved_by_parent(
        &self,
        entity: &str,
        name: &str,
        span: Range<usize>,
    ) -> Result<(), Problem> {
        let parent = self.names.parents.iter().find(|it| *it.entity == *entity);
        let Some(saved) = parent.and_then(|it| it.saved.as_ref()) else { return Ok(()) };
        let known: Vec<String> = saved.iter().map(ToString::to_string).collect();
        one_of(&known, &format!("no step of `{entity}` saves"), name, span)
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
            Name::Op | Name::Key | Name::Index | Name::Outcome | Name::Error => {
                let what = if root == Name::Index { "a number" } else { "text" };
                let message = format!("this is {what} and has no field `{name}`");
                return Err(Problem { kind: Kind::UnknownName, message, span });
            }
            Name::Rows | Name::Keys | Name::Links => {
                let message = format!(
                    "this is a list and has no field `{name}`: go through it, `rows.map(r, r.{name})`"
                );
                return Err(Problem { kind: Kind::UnknownName, message, span });
            }
            Name::Parent => {
                let entities = self.names.parents.iter().map(|it| it.entity.to_string());
                (entities.collect(), "the entity does not depend on")
            }
            Name::Fetched | Name::Item => return Ok(()),
        };
        one_of(&known, what, name, span)
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

fn one_of(known: &[String], what: &str, name: &str, span: Range<usize>) -> Result<(), Problem> {
    if known.iter().any(|it| it == name) {
        return Ok(());
    }
    let hint = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => "; there is none at all".to_owned(),
        None => format!("; there are {}", listed(known)),
    };
    Err(Problem { kind: Kind::UnknownName, message: format!("{what} `{name}`{hint}"), span })
}

fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 30;
    let mut listed: Vec<String> = names.iter().take(MOST).map(|it| format!("`{}`", it.as_ref())).collect();
    if names.len() > MOST {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}
