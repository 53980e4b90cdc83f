//! A sequence of one step whose call carries many rows.

use super::{
    plan::{Accepts, Plan, Sequence},
    replay::{Stop, promised, refused},
    request,
};
use crate::{
    mapping::{MappingError, Scope},
    model::{Answer, Answered, Call, LinkUpdate, Op, ParkReason, one_line},
    synchronize::{Rejection, Results, Step, Work, scope},
};
use serde_json::{Map, Value};
use std::slice;

/// The longest text of an answer that is told about one row, in characters.
const TOLD: usize = 500;

/// The same as of any sequence, for a batch of one.
pub(super) fn next_step(sequence: &Sequence, work: &Work<'_>, answers: &[Answered]) -> Step {
    let reject = |Rejection { reason, message }| Step::Reject { reason, message };
    let answered = plan(sequence).and_then(|plan| answers.iter().rev().find(|it| it.step == plan.name));
    let Some(answered) = answered else {
        return call(sequence, slice::from_ref(work)).map_or_else(reject, Step::Send);
    };
    match results(sequence, slice::from_ref(work), &answered.answer) {
        Results::Refused(rejection) => reject(rejection),
        Results::Each(results) => match results.into_iter().next() {
            Some(Ok(update)) => Step::Finish(update),
            Some(Err(rejection)) => reject(rejection),
            None => reject(nothing()),
        },
    }
}

pub(super) fn call(sequence: &Sequence, members: &[Work<'_>]) -> Result<Call, Rejection> {
    let plan = plan(sequence).ok_or_else(nothing)?;
    let members: Vec<Scope<'_>> = members.iter().map(scope).collect();
    let whole = whole(&members).ok_or_else(nothing)?;
    let written = request::write(plan, plan.name.clone(), None, &whole);
    written.map_err(|error| Rejection { reason: ParkReason::Template, message: error.message(plan) })
}

pub(super) fn results(sequence: &Sequence, works: &[Work<'_>], answer: &Answer) -> Results {
    let members: Vec<Scope<'_>> = works.iter().map(scope).collect();
    let (Some(plan), Some(whole)) = (plan(sequence), whole(&members)) else {
        return Results::Refused(nothing());
    };
    // Once, and not for each row anew. What is no JSON is said by whoever asks for it.
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let answered = |scope| Scope { answer: Some(answer), body: body.as_ref(), ..scope };
    if let Accepts::Expression(accept) = &plan.accept {
        match accept.truth(&answered(whole)) {
            Ok(true) => {}
            Ok(false) => {
                let stop = refused(plan, answer, ParkReason::Answer, "and `accept` is false for it");
                return Results::Refused(rejected(stop));
            }
            Err(error) => {
                let rejection = unpromised(plan, answer, &error);
                return Results::Each(works.iter().map(|_| Err(rejection.clone())).collect());
            }
        }
    }
    let each = members.iter().zip(works).enumerate().map(|(index, (member, work))| {
        let scope = answered(Scope { members: Some(&members), index: Some(index), ..*member });
        result(plan, work, answer, &scope)
    });
    Results::Each(each.collect())
}

/// What became of one row.
fn result(plan: &Plan, work: &Work<'_>, answer: &Answer, scope: &Scope<'_>) -> Result<LinkUpdate, Rejection> {
    let unpromised = |error: MappingError| unpromised(plan, answer, &error);
    if let Some(failed) = &plan.failed {
        let said = failed.value_if_any(scope).map_err(unpromised)?;
        if let Some(rejection) = failure(plan, answer, said)? {
            return Err(rejection);
        }
    }
    if matches!(work.change.op(), Op::Delete | Op::Truncate) {
        return Ok(LinkUpdate::Remove);
    }
    let mut saved = Map::new();
    for (name, json) in &plan.save {
        if let Some(value) = json.value(scope).map_err(unpromised)? {
            saved.insert(name.clone(), value);
        }
    }
    Ok(LinkUpdate::Save(saved))
}

/// What `failed` came to: nothing, false, null and what is empty are fine.
fn failure(plan: &Plan, answer: &Answer, said: Option<Value>) -> Result<Option<Rejection>, Rejection> {
    let told = match said {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::Array(items)) if items.is_empty() => return Ok(None),
        Some(Value::Object(entries)) if entries.is_empty() => return Ok(None),
        Some(Value::Number(number)) => {
            let why = format!(
                "and `failed` is the number {number} for it, which is neither true nor false: compare it"
            );
            return Err(rejected(refused(plan, answer, ParkReason::Answer, &why)));
        }
        Some(Value::Bool(true)) => {
            return Ok(Some(rejected(refused(
                plan,
                answer,
                ParkReason::Refused,
                "and `failed` is true for this row",
            ))));
        }
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    let (name, told) = (&plan.name, one_line(&told, TOLD));
    let message = format!("step `{name}` was answered with {}, but not for this row: {told}", answer.status);
    Ok(Some(Rejection { reason: ParkReason::Refused, message }))
}

fn plan(sequence: &Sequence) -> Option<&Plan> {
    sequence.steps.first()
}

/// The scope of what is said of all rows together.
fn whole<'a>(members: &'a [Scope<'a>]) -> Option<Scope<'a>> {
    let first = *members.first()?;
    Some(Scope { row: None, old: None, key: "", link: None, fetched: None, members: Some(members), ..first })
}

fn unpromised(plan: &Plan, answer: &Answer, error: &MappingError) -> Rejection {
    rejected(promised(plan, answer, error))
}

fn rejected(stop: Stop) -> Rejection {
    match stop {
        Stop::Reject { reason, message } => Rejection { reason, message },
        Stop::Send(_) => nothing(),
    }
}

/// Never met: batches have members, and sequences steps.
fn nothing() -> Rejection {
    Rejection { reason: ParkReason::Template, message: "there is nothing to send".to_owned() }
}
