//! One change's way: ask for a step, take it, show the answer, ask again.

use super::{
    batch::Joining,
    lanes::LaneId,
    leave::Departure,
    log::{self, CallLog, Subject, Watch},
    parents::Need,
    reading::Prepared,
    work::{Charge, Work},
};
use crate::{
    capture::{Budget, RowReader},
    metrics::RemoteMeter,
    model::{
        Answer, Answered, Call, CallKey, Link, LinkUpdate, Lsn, Op, Outcome, ParkReason, Parked, ParkedState,
    },
    remote::{Attempt, Blame, Decision, Failure, Governor, RemoteClient, RetryPolicy, Slot, describe},
    routing::{Route, RouteId},
    state::{StateError, StateStore},
    synchronize::{self, Step},
};
use futures_util::FutureExt;
use serde_json::Value;
use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use xxhash_rust::xxh3::xxh3_64;

/// A remote as the engine uses it.
pub struct Remote {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Makes the attempts.
    pub client: Arc<dyn RemoteClient>,
    /// Decides about failures.
    pub retry: RetryPolicy,
    /// Says when calls may be made.
    pub governor: Arc<Governor>,
    /// Counts them.
    pub meter: Arc<RemoteMeter>,
}

/// What every task that carries a change shares.
pub(super) struct Ground {
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) remotes: Vec<Remote>,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) reader: Arc<dyn RowReader>,
    pub(super) budget: Budget,
    /// Told of each request.
    pub(super) log: CallLog,
    /// Tells databases apart in call keys.
    pub(super) origin: u32,
    /// Changes committed before this may have been sent by an earlier process.
    pub(super) sent_before: Lsn,
    /// Tells the requests of this process from those of earlier ones.
    pub(super) life: u32,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    /// Make no further call, but wait for the answers under way.
    Draining,
    /// Wait for nothing.
    Leaving,
}

/// How a pass over a change ended.
#[derive(Debug)]
pub(super) enum Verdict {
    Done(Outcome),
    /// Try again later; the slot is free until then.
    Again {
        after: Duration,
        error: String,
    },
    /// It is to share a call with others.
    Joins(Joining),
    /// It depends on these: it goes on once they are at the remote.
    Needs(Vec<Need>),
    /// The remote takes no call now: back to the queue. `None` if nothing was sent; otherwise the
    /// remote failed or throttled everyone, and the change has lost nothing by it.
    Held {
        error: Option<String>,
    },
    /// Nothing is sent yet: what is known of the key must be durable first.
    Settle,
    /// Nothing is sent yet: what it may create is parked first. It goes on with this slot.
    Keep(Slot),
    /// A stop came in between.
    Interrupted,
}

impl Verdict {
    /// In a word, as the call log has it.
    fn name(&self) -> &'static str {
        match self {
            Self::Done(Outcome::Parked(parked)) => parked.state.name(),
            Self::Again { .. } => "retry",
            Self::Held { .. } => "held",
            _ => "interrupted",
        }
    }

    /// How long it is until another attempt.
    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Again { after, .. } => Some(*after),
            _ => None,
        }
    }
}

/// A pass that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) lane: LaneId,
    pub(super) work: Work,
    pub(super) verdict: Verdict,
}

/// One pass over a change, to be run as a task.
pub(super) struct Pass {
    pub(super) ground: Arc<Ground>,
    pub(super) route: RouteId,
    pub(super) key: Arc<str>,
    pub(super) lane: LaneId,
    pub(super) work: Work,
    pub(super) link: Option<Arc<Link>>,
    /// Given back when the pass ends; `None` where the change is looked at ahead of its call.
    pub(super) slot: Option<Slot>,
    /// The key's next call has to wait until what is known of the key is durable.
    pub(super) unsettled: bool,
    pub(super) phase: watch::Receiver<Phase>,
}

/// How long to wait before a source or state read that failed is tried again.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);

/// Answers up to this size are not worth counting.
const LITTLE: usize = 256;

impl Pass {
    pub(super) async fn run(mut self) -> Ended {
        let verdict = AssertUnwindSafe(self.carry()).catch_unwind().await.unwrap_or_else(|panic| {
            self.parked(ParkedState::Rejected, ParkReason::Template, panicked(&*panic))
        });
        Ended { lane: self.lane, work: self.work, verdict }
    }

    async fn carry(&mut self) -> Verdict {
        let ground = Arc::clone(&self.ground);
        let route = &ground.routes[usize::from(self.route.0)];
        if self.work.change.op() == Op::Truncate && self.key.is_empty() {
            return self.truncate(route).await;
        }
        let prepared = match self.work.prepared.take() {
            Some(prepared) => prepared,
            None => match self.read(route).await {
                Ok(prepared) => prepared,
                Err(verdict) => return verdict,
            },
        };
        self.work.prepared = Some(prepared.clone());
        if let Some(verdict) = self.ask_for_parents(route, &prepared) {
            return verdict;
        }
        loop {
            let work = self.shown(&prepared);
            let call = match route.synchronizer.next_step(&work, &self.work.answers) {
                Step::Send(call) => match self.instead_of_sending(route, &work) {
                    Some(verdict) => return verdict,
                    None => match route.batching() {
                        Some((_, batching)) => return Verdict::Joins(Joining::new(batching, &work, &call)),
                        None => call,
                    },
                },
                Step::Finish(update) => {
                    if let Some(message) = unstorable(&update) {
                        return self.parked(ParkedState::Rejected, ParkReason::Answer, message);
                    }
                    let calls = u16::try_from(self.work.answers.len()).unwrap_or(u16::MAX);
                    let content = self.told(route, &work);
                    return Verdict::Done(Outcome::Applied { update, calls, content });
                }
                Step::Skip(reason) => return Verdict::Done(Outcome::Skipped { reason }),
                Step::Reject { reason, message } => {
                    return self.parked(ParkedState::Rejected, reason, message);
                }
            };
            if let Err(verdict) = self.send(route, call).await {
                return verdict;
            }
        }
    }

    /// What the synchronizer sees of it.
    pub(super) fn shown<'a>(&'a self, prepared: &'a Prepared) -> synchronize::Work<'a> {
        synchronize::Work {
            change: &prepared.change,
            key: &self.key,
            link: self.link.as_deref(),
            fetched: prepared.fetched.as_deref(),
            parents: self.work.kin.as_ref().map(|kin| &kin.saved),
            uncertain: self.work.is_in_doubt(self.ground.sent_before) || self.work.passes,
        }
    }

    /// Whether the change may concern other keys too, so that its id alone does not name a call.
    fn is_one_of_several(&self, route: &Route) -> bool {
        let change = &self.work.change;
        let run = self.work.called.run().is_some();
        run || change.op() == Op::Truncate || change.table.name != route.table
    }

    /// One attempt. `Ok` if the synchronizer is to see the answer.
    async fn send(&mut self, route: &Route, call: Call) -> Result<(), Verdict> {
        if *self.phase.borrow() != Phase::Running {
            return Err(Verdict::Interrupted);
        }
        if self.has_to_be_kept()
            && let Some(slot) = self.slot.take()
        {
            return Err(Verdict::Keep(slot));
        }
        let ground = Arc::clone(&self.ground);
        let remote = &ground.remotes[usize::from(route.remote.0)];
        let called = self.work.called;
        #[cfg(debug_assertions)]
        let called = match super::broken("fresh-key") {
            true => {
                crate::model::ChangeId { ordinal: called.ordinal + u64::from(self.work.requests), ..called }
            }
            false => called,
        };
        let key = CallKey {
            route: Arc::clone(&route.name),
            origin: ground.origin,
            change: called,
            key: self.is_one_of_several(route).then(|| xxh3_64(self.key.as_bytes())),
            step: Arc::clone(&call.step),
        };
        let Some(slot) = &mut self.slot else { return Err(Verdict::Held { error: None }) };
        self.work.attempts += 1;
        let work = &mut self.work;
        let replayed = work.for_run.and_then(|it| it.replayed);
        let run = work.run();
        let life = work.is_sent_before(ground.sent_before).then_some(ground.life);
        let subject = Subject {
            route: &route.name,
            remote: &remote.name,
            meter: &remote.meter,
            keys: [Arc::clone(&self.key)].into(),
            changes: vec![work.id()],
            run,
            scope: log::scope(run, replayed.map(|it| it.again.until), life),
        };
        let watch = Watch::new(&ground.log, &call, &key, subject);
        work.trace = Some(watch.trace);
        let mut departure = Departure::new(slot, &mut work.renewed, &mut work.requests, watch);
        let result = tokio::select! {
            biased;
            result = remote.client.attempt(&call, &key, &mut departure) => Some(result),
            () = leaving(&mut self.phase) => None,
        };
        let Departure { sent, unanswered, mut watch, .. } = departure;
        self.work.tried |= sent;
        let result = match result {
            Some(Ok(Attempt::Answered(answer))) => Ok(answer),
            Some(Ok(Attempt::Held)) => {
                self.work.attempts -= 1;
                watch.write(&mut self.phase).await;
                return Err(Verdict::Held { error: None });
            }
            Some(Err(error)) => Err(error),
            None => {
                if unanswered {
                    self.lose_answer(&call);
                }
                watch.ends(None, "interrupted", None);
                watch.write(&mut self.phase).await;
                return Err(Verdict::Interrupted);
            }
        };
        self.work.renewed = false;
        let failure = match &result {
            Ok(answer) if call.accepts(answer.status) || call.handles.contains(&answer.status) => {
                #[cfg(debug_assertions)]
                super::failpoint::reached("after-answer");
                watch.ends(Some(Ok(answer)), "answered", None);
                result.into_iter().for_each(|answer| self.answered(&call, answer));
                watch.write(&mut self.phase).await;
                return Ok(());
            }
            Ok(answer) => Failure::Answer(answer),
            Err(error) => Failure::Error(error),
        };
        let verdict = self.failed(remote, &call, &key, failure);
        watch.ends(Some(result.as_ref()), verdict.name(), verdict.wait());
        watch.write(&mut self.phase).await;
        Err(verdict)
    }

    /// The synchronizer is to see the answer.
    fn answered(&mut self, call: &Call, answer: Answer) {
        if call.accepts(answer.status) {
            self.slot.iter_mut().for_each(|slot| slot.succeeded(&answer, Instant::now()));
        } else {
            let failure = Failure::Answer(&answer);
            self.blame(failure, &describe(call, failure));
        }
        self.keep(answer.body.len());
        self.work.answers.push(Answered { step: Arc::clone(&call.step), answer });
        self.work.spent += std::mem::take(&mut self.work.requests);
        self.work.attempts = 0;
        self.work.suspicion = None;
        (self.work.doubt, self.work.passes) = (false, false);
    }

    fn failed(&mut self, remote: &Remote, call: &Call, key: &CallKey, failure: Failure<'_>) -> Verdict {
        let error = describe(call, failure);
        if failure.leaves_doubt() {
            self.lose_answer(call);
        }
        let blame = self.blame(failure, &error);
        if blame == Blame::Remote && remote.retry.may_pass(failure) {
            self.work.attempts -= 1;
            return Verdict::Held { error: Some(error) };
        }
        let decision = remote.retry.decide(failure, key, self.work.attempts);
        self.work.attempts -= u32::from(!failure.is_an_attempt());
        match decision {
            Decision::RetryAfter(after) => Verdict::Again { after, error },
            Decision::GiveUp { state, reason } => {
                // This answer says nothing of the same call by an earlier process.
                self.work.doubt = self.work.is_in_doubt(self.ground.sent_before);
                self.parked(state, reason, error)
            }
        }
    }

    fn blame(&mut self, failure: Failure<'_>, why: &str) -> Blame {
        let Some(slot) = &mut self.slot else { return Blame::Change };
        slot.failed(failure, why, &mut self.work.suspicion, Instant::now())
    }

    /// The call may have been made: whoever goes on must look first, and not at what was found
    /// before the call.
    fn lose_answer(&mut self, call: &Call) {
        self.work.doubt = true;
        let stale = |it: &mut Answered| Some(&it.step) == call.lookup.as_ref();
        self.work.answers.pop_if(stale);
    }

    /// Counts what the work holds beyond its change, if that is much: with many items or large
    /// answers it could be more than the change itself (invariant 5).
    pub(super) fn keep(&mut self, bytes: usize) {
        if bytes > LITTLE {
            let budget = &self.ground.budget;
            budget.charge(bytes);
            self.work.charges.push(Arc::new(Charge::adopt(budget, bytes)));
        }
    }

    /// Truncate never deletes at the remote by itself.
    async fn truncate(&self, route: &Route) -> Verdict {
        let linked = match self.ground.store.linked(&route.name).await {
            Ok(linked) => linked,
            Err(StateError { message, .. }) => return Verdict::Again { after: READ_AGAIN, error: message },
        };
        let table = &self.work.change.table.name;
        let what = if *table == route.table { "deletes them at the remote" } else { "sends them again" };
        let message = format!(
            "table {table} was truncated: {linked} or more objects of route `{}` are linked; `rowcall parked retry` {what}, \
             `rowcall parked discard` leaves them",
            route.name
        );
        self.parked(ParkedState::Rejected, ParkReason::Truncate, message)
    }

    pub(super) fn parked(&self, state: ParkedState, reason: ParkReason, message: String) -> Verdict {
        let answers = self.work.answers.clone();
        let attempts = self.work.attempts;
        let (called, requests) = (self.work.called, self.work.requests);
        let (wait, doubt) = (Duration::ZERO, self.work.doubt);
        Verdict::Done(Outcome::Parked(Parked {
            state,
            reason,
            message,
            answers,
            attempts,
            requests,
            called,
            wait,
            doubt,
            waits_for: None,
        }))
    }
}

/// Says that `jsonb` refuses a saved value: numbers are exact, so an answer may hold one of any size,
/// and one that cannot be stored would hold up every settlement.
pub(super) fn unstorable(update: &LinkUpdate) -> Option<String> {
    let LinkUpdate::Save(saved) = update else { return None };
    let (name, _) = saved.iter().find(|(_, value)| too_large(value))?;
    Some(format!("the value saved as `{name}` holds a number too large to be stored"))
}

/// What is told of a panic.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> String {
    let what = panic.downcast_ref::<&str>().map(ToString::to_string);
    let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("the synchronizer panicked, which is a bug in it: {what}")
}

fn too_large(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let text = number.as_str();
            let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
            digits.len() > 1_000 || !exponent.parse::<i64>().is_ok_and(|it| it.abs() <= 1_000)
        }
        Value::Array(items) => items.iter().any(too_large),
        Value::Object(entries) => entries.values().any(too_large),
        _ => false,
    }
}

pub(super) async fn leaving(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Leaving).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_that_no_database_takes_is_found_wherever_it_is() {
        let huge: Value = serde_json::from_str("1e200000").expect("JSON has no limit");
        for (value, found) in
            [(json!(12.5), false), (json!([1, { "a": huge }]), true), (json!("1e200000"), false)]
        {
            let saved = serde_json::Map::from_iter([("id".to_owned(), value)]);
            assert_eq!(unstorable(&LinkUpdate::Save(saved)).is_some(), found);
        }
    }
}
