//! Which changes a synchronizer is asked about at all: `when`, `validate` and `always`.

use super::{Batching, BuildError, Step, Synchronizer, ValidateRule, Work, scope};
use crate::{
    mapping::{At, Expression, MappingError, Names},
    model::{Answered, ContentHash, Op, ParkReason, one_line},
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
    expression: Expression,
    message: String,
}

impl Rules {
    /// Reads the rules of the entity at `at`; on failure says all that is wrong with them.
    pub fn new(
        when: Option<&str>,
        validate: &[ValidateRule],
        at: &At,
        names: &Names,
    ) -> Result<Self, Vec<BuildError>> {
        let mut errors = Vec::new();
        let mut of_parents = false;
        let orphaned = Names { parents: [].into(), ..names.clone() };
        let mut read = |text: &str, at: &At| {
            let read = Expression::parse(text, at, names);
            of_parents |= !names.parents.is_empty() && Expression::parse(text, at, &orphaned).is_err();
            read.map_err(|error| errors.push(BuildError::from(error))).ok()
        };
        let when = when.and_then(|text| read(text, &at.child("when")));
        let rules = validate.iter().enumerate().filter_map(|(index, rule)| {
            let expression = read(&rule.rule, &at.child("validate").index(index).child("rule"))?;
            let told = if rule.message.is_empty() { String::new() } else { format!("{} ", rule.message) };
            let message = format!("{told}(the row violates the rule `{}`)", one_line(rule.rule.trim(), 200));
            Some(Rule { expression, message })
        });
        let validate = rules.collect();
        if errors.is_empty() { Ok(Self { when, validate, of_parents }) } else { Err(errors) }
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.when.is_none() && self.validate.is_empty()
    }
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
        for rule in &self.rules.validate {
            if !rule.expression.truth(&scope)? {
                let message = rule.message.clone();
                return Ok(Some(Step::Reject { reason: ParkReason::Invalid, message }));
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
}
