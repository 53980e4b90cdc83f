//! Goes through a sequence from its start, with the answers there are, to the next call.
//!
//! Nothing is remembered between two of these: that the same inputs give the same next step is
//! how a stopped sequence goes on where it was (invariant 3). Answers are found by the name of
//! the step's occurrence, and a step sees only the answers that came before it, so that it
//! decides today what it decided then.

use super::{
    plan::{Accepts, Each, On, Plan, Sequence},
    request,
};
use crate::{
    mapping::{Expression, Kind, MappingError, Scope},
    model::{Answer, Answered, Call, ParkReason},
    synchronize::Work,
};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};

/// How often one step may be visited: `on` can send two steps to each other for ever.
pub(super) const VISITS: u32 = 3;
/// How many items a `for_each` may have: every further call goes through all the earlier ones.
pub(super) const ITEMS: usize = 1_000;

/// Why going on ends.
#[derive(Debug)]
pub(super) enum Stop {
    Send(Box<Call>),
    Reject { reason: ParkReason, message: String },
}

/// What a sequence that ended leaves.
pub(super) struct Done {
    pub saved: Map<String, Value>,
    /// Whether any call was answered.
    pub called: bool,
}

pub(super) struct Replay<'a> {
    work: &'a Work<'a>,
    answers: &'a [Answered],
    /// How many of the answers belong to steps before the present one.
    behind: usize,
    saved: Map<String, Value>,
    /// By name and place; kept only where a step can be visited again.
    visits: Option<HashMap<Arc<str>, u32>>,
}

/// Within which items of `for_each` a step is run.
#[derive(Clone, Copy, Default)]
struct Place<'p> {
    /// `[3]`, appended to the names of steps.
    suffix: &'p str,
    item: Option<&'p Value>,
}

/// Where to go on.
enum After {
    Next,
    Goto(usize),
}

impl<'a> Replay<'a> {
    pub fn run(sequence: &Sequence, work: &'a Work<'a>, answers: &'a [Answered]) -> Result<Done, Stop> {
        let visits = sequence.jumps.then(HashMap::new);
        let mut replay = Self { work, answers, behind: 0, saved: Map::new(), visits };
        replay.steps(&sequence.steps, Place::default())?;
        Ok(Done { saved: replay.saved, called: replay.behind > 0 })
    }

    fn steps(&mut self, steps: &[Plan], place: Place<'_>) -> Result<(), Stop> {
        let mut at = 0;
        // Set while a step runs that another one went to: where the order goes on behind it.
        let mut resume = None;
        while let Some(step) = steps.get(at) {
            let wanted = match (&step.condition, resume) {
                (Some(condition), None) => self.truth(condition, place)?,
                _ => true,
            };
            match if wanted { self.step(step, place)? } else { After::Next } {
                After::Next => at = resume.take().unwrap_or(at + 1),
                After::Goto(target) => {
                    // Behind whichever comes later: the step that was left is not run again, and
                    // neither is the one that is run now.
                    resume = Some(resume.unwrap_or(at + 1).max(target + 1));
                    at = target;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Plan, place: Place<'_>) -> Result<After, Stop> {
        let name = self.visit(step, place)?;
        let Some(each) = &step.for_each else { return self.occurrence(step, name, place) };
        let items = self.items(step, each, place)?;
        for (index, item) in items.iter().enumerate() {
            let suffix = format!("{}[{index}]", place.suffix);
            let within = Place { suffix: &suffix, item: Some(item) };
            // No `on` of such a step goes elsewhere: the settings are checked for it.
            self.occurrence(step, format!("{name}[{index}]").into(), within)?;
        }
        Ok(After::Next)
    }

    /// Counts a visit and names it: `update`, then `update#2`.
    fn visit(&mut self, step: &Plan, place: Place<'_>) -> Result<Arc<str>, Stop> {
        let name = match place.suffix {
            "" => step.name.clone(),
            suffix => format!("{}{suffix}", step.name).into(),
        };
        let Some(visits) = &mut self.visits else { return Ok(name) };
        let visit = visits.entry(name.clone()).or_insert(0);
        *visit += 1;
        match *visit {
            1 => Ok(name),
            2..=VISITS => Ok(format!("{name}#{visit}").into()),
            _ => Err(Stop::Reject {
                reason: ParkReason::Refused,
                message: format!(
                    "step `{name}` would run for the {visit}th time for one change: the steps go to each other in a loop; check their `on`"
                ),
            }),
        }
    }

    fn items(&mut self, step: &Plan, each: &Each, place: Place<'_>) -> Result<Vec<Value>, Stop> {
        let items = each.list.list(&self.scope(place, None)).map_err(template)?;
        if items.len() > ITEMS {
            let (name, count) = (&step.name, items.len());
            let message = format!(
                "step `{name}`: `for_each` has {count} items, and {ITEMS} is the most: send them in one call, or keep them as rows of a table of their own"
            );
            return Err(Stop::Reject { reason: ParkReason::Template, message });
        }
        if place.item.is_none() {
            for name in &each.saves {
                self.saved.insert(name.clone(), Value::Array(Vec::new()));
            }
        }
        Ok(items)
    }

    /// One call of a step, whether it is made already or is to be made now.
    fn occurrence(&mut self, step: &Plan, name: Arc<str>, place: Place<'_>) -> Result<After, Stop> {
        if let Some(at) = self.find(&name) {
            return self.answered(step, &name, at, place);
        }
        let lookup_name = step.lookup.as_ref().map(|_| lookup_name(&name, 1));
        if let (Some(lookup), Some(lookup_name)) = (&step.lookup, &lookup_name) {
            match self.find(lookup_name) {
                Some(at) if self.found(lookup, at, place)? => return Ok(After::Next),
                Some(_) => {}
                None if self.work.uncertain => return self.send(lookup, lookup_name.clone(), None, place),
                None => {}
            }
        }
        self.send(step, name, lookup_name, place)
    }

    fn answered(&mut self, step: &Plan, name: &str, at: usize, place: Place<'_>) -> Result<After, Stop> {
        let answer = self.take(at);
        if step.accept.accepts(answer.status) {
            if let Accepts::Expression(expression) = &step.accept {
                let good = expression.truth(&self.scope(place, Some(answer)));
                if !good.map_err(|error| promised(step, answer, &error))? {
                    return Err(refused(step, answer, ParkReason::Answer, "and `accept` is false for it"));
                }
            }
            self.save(step, answer, place)?;
            return Ok(After::Next);
        }
        match (step.on(answer), &step.lookup) {
            (Some(On::Goto(target)), _) => Ok(After::Goto(*target)),
            (Some(On::Steps(steps)), _) => self.steps(steps, place).map(|()| After::Next),
            (Some(On::Lookup), Some(lookup)) => {
                // It may have looked before as well, and found nothing then.
                let before = self.find(&lookup_name(name, 1)).is_some_and(|it| it < at);
                let lookup_name = lookup_name(name, if before { 2 } else { 1 });
                match self.find(&lookup_name) {
                    None => self.send(lookup, lookup_name, None, place),
                    Some(at) if self.found(lookup, at, place)? => Ok(After::Next),
                    Some(_) => {
                        Err(refused(step, answer, ParkReason::Refused, "but its lookup finds nothing there"))
                    }
                }
            }
            _ => Err(refused(
                step,
                answer,
                ParkReason::Refused,
                "which it neither accepts nor handles (any more)",
            )),
        }
    }

    /// Whether a lookup found something; what it found is saved.
    fn found(&mut self, lookup: &Plan, at: usize, place: Place<'_>) -> Result<bool, Stop> {
        let answer = self.take(at);
        if !lookup.accept.accepts(answer.status) {
            return Ok(false);
        }
        if let Accepts::Expression(expression) = &lookup.accept {
            let found = expression.truth(&self.scope(place, Some(answer)));
            if !found.map_err(|error| promised(lookup, answer, &error))? {
                return Ok(false);
            }
        }
        self.save(lookup, answer, place)?;
        Ok(true)
    }

    fn save(&mut self, step: &Plan, answer: &Answer, place: Place<'_>) -> Result<(), Stop> {
        let mut values = Vec::with_capacity(step.save.len());
        for (name, json) in &step.save {
            let value = json.value(&self.scope(place, Some(answer)));
            values.push((name, value.map_err(|error| promised(step, answer, &error))?));
        }
        for (name, value) in values {
            match (value, place.item, self.saved.get_mut(name)) {
                (None, ..) => {}
                (Some(value), Some(_), Some(Value::Array(list))) => list.push(value),
                (Some(value), Some(_), _) => drop(self.saved.insert(name.clone(), Value::Array(vec![value]))),
                (Some(value), None, _) => drop(self.saved.insert(name.clone(), value)),
            }
        }
        Ok(())
    }

    fn send<T>(
        &mut self,
        step: &Plan,
        name: Arc<str>,
        lookup: Option<Arc<str>>,
        place: Place<'_>,
    ) -> Result<T, Stop> {
        Err(match request::write(step, name, lookup, &self.scope(place, None)) {
            Ok(call) => Stop::Send(Box::new(call)),
            Err(unwritable) => {
                Stop::Reject { reason: ParkReason::Template, message: unwritable.message(step) }
            }
        })
    }

    fn truth(&self, condition: &Expression, place: Place<'_>) -> Result<bool, Stop> {
        condition.truth(&self.scope(place, None)).map_err(template)
    }

    /// Where the answer of an occurrence is; usually it is the next one.
    fn find(&self, name: &str) -> Option<usize> {
        let is = |it: &Answered| *it.step == *name;
        match self.answers.get(self.behind) {
            Some(next) if is(next) => Some(self.behind),
            _ => self.answers.iter().position(is),
        }
    }

    fn take(&mut self, at: usize) -> &'a Answer {
        self.behind = self.behind.max(at + 1);
        &self.answers[at].answer
    }

    fn scope<'s>(&'s self, place: Place<'s>, answer: Option<&'s Answer>) -> Scope<'s> {
        let before = self.answers.get(..self.behind).unwrap_or(self.answers);
        Scope {
            saved: &self.saved,
            answers: before,
            answer,
            item: place.item,
            ..crate::synchronize::scope(self.work)
        }
    }
}

fn lookup_name(step: &str, visit: u32) -> Arc<str> {
    if visit == 1 { format!("{step}.lookup") } else { format!("{step}.lookup#{visit}") }.into()
}

fn template(error: MappingError) -> Stop {
    Stop::Reject { reason: ParkReason::Template, message: error.to_string() }
}

/// An expression that failed on an answer: the answer is not what the step promised.
pub(super) fn promised(step: &Plan, answer: &Answer, error: &MappingError) -> Stop {
    if error.kind() == Kind::Unchanged {
        return Stop::Reject { reason: ParkReason::Template, message: error.to_string() };
    }
    refused(step, answer, ParkReason::Answer, &error.short())
}

pub(super) fn refused(step: &Plan, answer: &Answer, reason: ParkReason, why: &str) -> Stop {
    let mut message = format!("step `{}` was answered with {}, {why}", step.name, answer.status);
    match answer.excerpt() {
        said if said.is_empty() => message.push_str("; the answer is empty"),
        said => message.extend([": ", said.as_str()]),
    }
    Stop::Reject { reason, message }
}
