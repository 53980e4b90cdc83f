//! Which changes a synchronizer is asked about at all: `when`, `validate` and `always`.

use super::{Batching, BuildError, Declaration, Step, Synchronizer, ValidateRule, Work, scope};
use crate::{
    mapping::{At, Expression, MappingError, Names, Reads},
    model::{self, Answered, ContentHash, Op, ParkReason, one_line},
};
use std::sync::Arc;

/// `when` and `validate`, read.
#[derive(Debug)]
pub struct Rules {
    when: Option<Expression>,
    validate: Vec<Rule>,
    /// One of them names a parent.
    of_parents: bool,
}

#[derive(Debug)]
struct Rule {
    when: Option<Expression>,
    expression: Expression,
    /// `rule <name>: `, if it has a name.
    name: String,
    message: String,
}

/// A rule as it is written, wherever that is.
struct Written<'a> {
    name: Option<&'a str>,
    rule: &'a str,
    message: &'a str,
    when: Option<&'a str>,
    at: At,
}

impl Rules {
    /// Reads what the declaration says; on failure says all that is wrong with it. Common rules
    /// come before the remote's, and those before the entity's own.
    pub fn new(declaration: &Declaration<'_>, names: &Names) -> Result<Self, Vec<BuildError>> {
        let mut errors = Vec::new();
        let mut of_parents = false;
        let orphaned = Names { parents: [].into(), ..names.clone() };
        let mut read = |text: &str, at: &At| {
            let read = Expression::parse(text, at, names);
            of_parents |= !names.parents.is_empty() && Expression::parse(text, at, &orphaned).is_err();
            read.map_err(|error| errors.push(BuildError::from(error))).ok()
        };
        let when = declaration.when.and_then(|text| read(text, &declaration.at.child("when")));
        let rules = written(declaration).into_iter().filter_map(|it| {
            let when = match it.when {
                Some(when) => Some(read(when, &it.at.child("when"))?),
                None => None,
            };
            let expression = read(it.rule, &it.at.child("rule"))?;
            Some(Rule { when, expression, name: it.called(), message: it.told() })
        });
        let validate = rules.collect();
        if errors.is_empty() { Ok(Self { when, validate, of_parents }) } else { Err(errors) }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.when.is_none() && self.validate.is_empty()
    }

    /// Whether what is known of the key decides.
    fn read_link(&self) -> bool {
        let mut reads = Reads::default();
        let rules = self.validate.iter().flat_map(|it| it.when.iter().chain([&it.expression]));
        self.when.iter().chain(rules).for_each(|it| it.reads(&mut reads));
        reads.reads_link()
    }
}

impl Written<'_> {
    fn called(&self) -> String {
        self.name.map(|name| format!("rule {name}: ")).unwrap_or_default()
    }

    /// What the person is told who finds a row parked for it.
    fn told(&self) -> String {
        let message = if self.message.is_empty() { String::new() } else { format!("{} ", self.message) };
        format!("{message}(the row violates the rule `{}`)", one_line(self.rule.trim(), 200))
    }
}

/// Every rule that is about the entity, in the order they are asked.
fn written<'a>(declaration: &Declaration<'a>) -> Vec<Written<'a>> {
    let mut all = Vec::new();
    for layer in declaration.rules {
        let at = layer.at.child("validate");
        let concerns = |rule: &model::DataRule| {
            rule.entities.as_ref().is_none_or(|it| it.iter().any(|it| it == declaration.entity))
        };
        for (index, rule) in layer.rules.validate.iter().enumerate().filter(|(_, rule)| concerns(rule)) {
            let model::DataRule { name, rule, message, when, .. } = rule;
            all.push(Written { name: Some(name), rule, message, when: when.as_deref(), at: at.index(index) });
        }
    }
    let at = declaration.at.child("validate");
    for (index, rule) in declaration.validate.iter().enumerate() {
        let ValidateRule { name, rule, message, when } = rule;
        let (name, when) = (name.as_deref(), when.as_deref());
        all.push(Written { name, rule, message, when, at: at.index(index) });
    }
    all
}

/// Lets through what the rules allow, to any synchronizer.
///
/// They are asked once, before the first call: a sequence that was begun is finished. A delete
/// is not asked, since its row is mostly unknown; where there is a `when`, a row that was never
/// sent is not deleted either.
pub struct Gate {
    rules: Rules,
    inner: Arc<dyn Synchronizer>,
    /// Even what says nothing new is sent.
    always: bool,
    unwanted: Arc<str>,
    never_sent: Arc<str>,
}

impl Gate {
    /// Puts the rules before a synchronizer. `always`: even what says nothing new is sent.
    pub fn new(rules: Rules, inner: Arc<dyn Synchronizer>, always: bool) -> Self {
        Self { rules, inner, always, unwanted: "`when` is false".into(), never_sent: "never sent".into() }
    }

    /// What stands in the way of asking further.
    fn verdict(&self, work: &Work<'_>) -> Option<Step> {
        self.judge(work).unwrap_or_else(|error| {
            Some(Step::Reject { reason: ParkReason::Template, message: error.to_string() })
        })
    }

    fn judge(&self, work: &Work<'_>) -> Result<Option<Step>, MappingError> {
        if matches!(work.change.op(), Op::Delete | Op::Truncate) {
            let never_sent = self.rules.when.is_some() && work.link.is_none();
            return Ok(never_sent.then(|| Step::Skip(self.never_sent.clone())));
        }
        let scope = scope(work);
        if let Some(when) = &self.rules.when
            && !when.truth(&scope)?
        {
            return Ok(Some(Step::Skip(self.unwanted.clone())));
        }
        for Rule { when, expression, name, message } in &self.rules.validate {
            let is_asked = when.as_ref().map_or(Ok(true), |when| when.truth(&scope));
            let reject =
                |reason, message| Ok(Some(Step::Reject { reason, message: format!("{name}{message}") }));
            match is_asked.and_then(|asked| Ok(!asked || expression.truth(&scope)?)) {
                Ok(true) => {}
                Ok(false) => return reject(ParkReason::Invalid, message.clone()),
                Err(error) => return reject(ParkReason::Template, error.to_string()),
            }
        }
        Ok(None)
    }
}

impl Synchronizer for Gate {
    fn next_step(&self, work: &Work<'_>, answers: &[Answered]) -> Step {
        if answers.is_empty()
            && let Some(step) = self.verdict(work)
        {
            return step;
        }
        self.inner.next_step(work, answers)
    }

    /// The rules were asked when each change was looked at by itself.
    fn batching(&self) -> Option<&dyn Batching> {
        self.inner.batching()
    }

    fn before_parents(&self, work: &Work<'_>) -> Option<Step> {
        if self.rules.of_parents { None } else { self.verdict(work) }
    }

    fn deletes(&self) -> bool {
        self.inner.deletes()
    }

    fn saves(&self) -> &[Arc<str>] {
        self.inner.saves()
    }

    /// Nothing of the rules: they decide anew for each change, before it is compared.
    fn content(&self, work: &Work<'_>, answers: &[Answered]) -> Option<ContentHash> {
        if self.always { None } else { self.inner.content(work, answers) }
    }

    fn leaves_out_what_was_told(&self) -> bool {
        !self.always && self.inner.leaves_out_what_was_told()
    }

    fn calls_the_same_again(&self) -> bool {
        !self.rules.read_link() && self.inner.calls_the_same_again()
    }
}
