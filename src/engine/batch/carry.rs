//! One attempt of a batch, and what it means for each of its members.

use super::{Batch, Member};
use crate::{
    engine::{
        carry::{Ground, Phase, Remote, leaving, panicked, unstorable},
        leave::Departure,
        log::{self, Subject, Watch},
        unchanged::told,
        work::Charge,
    },
    model::{Answer, Call, CallKey, LinkUpdate, Outcome, ParkReason, Parked, ParkedState},
    remote::{Attempt, Blame, CallError, Decision, Failure, Slot, describe},
    synchronize::{self, Batching, Rejection, Results},
};
use futures_util::FutureExt;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How an attempt of a batch ended.
#[derive(Debug)]
pub(super) enum BatchVerdict {
    /// An outcome for each member.
    Done(Vec<Outcome>),
    /// The same call again, later.
    Again { after: Duration, error: String },
    /// The remote takes no call now: back to the queue. `None` if nothing was sent.
    Held { error: Option<String> },
    /// The whole was refused and one member may be to blame: ask for each half.
    Halve,
    /// A stop came in between.
    Interrupted,
}

impl BatchVerdict {
    /// In a word, as the call log has it.
    fn name(&self) -> &'static str {
        match self {
            Self::Done(outcomes) => match outcomes.first() {
                Some(Outcome::Parked(parked)) => parked.state.name(),
                _ => "answered",
            },
            Self::Again { .. } => "retry",
            Self::Held { .. } => "held",
            Self::Halve => "halved",
            Self::Interrupted => "interrupted",
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

/// A batch whose attempt has ended.
#[derive(Debug)]
pub(in crate::engine) struct BatchEnded {
    pub(super) batch: Batch,
    pub(super) verdict: BatchVerdict,
}

/// One attempt of a batch, to be run as a task.
pub(super) struct BatchPass {
    pub(super) ground: Arc<Ground>,
    pub(super) batch: Batch,
    /// Given back when the pass ends.
    pub(super) slot: Slot,
    pub(super) phase: watch::Receiver<Phase>,
}

impl BatchPass {
    pub(super) async fn run(mut self) -> BatchEnded {
        let verdict = AssertUnwindSafe(self.carry()).catch_unwind().await;
        let verdict = verdict.unwrap_or_else(|panic| {
            self.parked(ParkedState::Rejected, ParkReason::Template, &panicked(&*panic))
        });
        BatchEnded { batch: self.batch, verdict }
    }

    async fn carry(&mut self) -> BatchVerdict {
        if *self.phase.borrow() != Phase::Running {
            return BatchVerdict::Interrupted;
        }
        let ground = Arc::clone(&self.ground);
        let route = &ground.routes[usize::from(self.batch.route.0)];
        let Some(batching) = route.synchronizer.batching() else { return BatchVerdict::Interrupted };
        // Written anew for each attempt, which gives the same bytes and keeps none in between.
        let written = catch_unwind(AssertUnwindSafe(|| batching.call(&self.shown())));
        match written {
            Ok(Ok(call)) => self.send(&call, batching).await,
            Ok(Err(rejection)) => self.refused(rejection),
            // Nothing was sent, and one row may be to blame for it.
            Err(panic) => {
                let message = panicked(&*panic);
                self.refused(Rejection { reason: ParkReason::Template, message })
            }
        }
    }

    async fn send(&mut self, call: &Call, batching: &dyn Batching) -> BatchVerdict {
        let ground = Arc::clone(&self.ground);
        let route = &ground.routes[usize::from(self.batch.route.0)];
        let remote = &ground.remotes[usize::from(route.remote.0)];
        let key = self.batch.call_key(&ground, Arc::clone(&call.step));
        let _body = self.count(call.body.bytes().map_or(0, |it| it.len()));
        self.batch.count_attempt();
        let members = &self.batch.members;
        let run = members.iter().find_map(|it| it.work.for_run?.replayed?.again.run);
        let until = members.iter().find_map(|it| Some(it.work.for_run?.replayed?.again.until));
        let life = self.batch.is_sent_before(&ground).then_some(ground.life);
        let subject = Subject {
            route: &route.name,
            remote: &remote.name,
            meter: &remote.meter,
            keys: members.iter().map(|it| Arc::clone(&it.key)).collect(),
            changes: members.iter().map(|it| it.work.id()).collect(),
            run,
            scope: log::scope(run, until, life),
        };
        let watch = Watch::new(&ground.log, call, &key, subject);
        let trace = watch.trace;
        let mut requests = members.iter().map(|it| it.work.requests).max().unwrap_or_default();
        let mut departure = Departure::new(&mut self.slot, &mut self.batch.renewed, &mut requests, watch);
        let result = tokio::select! {
            biased;
            result = remote.client.attempt(call, &key, &mut departure) => Some(result),
            () = leaving(&mut self.phase) => None,
        };
        let Departure { sent, unanswered, mut watch, .. } = departure;
        for Member { work, .. } in &mut self.batch.members {
            work.tried |= sent;
            work.requests = requests;
            work.trace = Some(trace);
        }
        let result = match result {
            Some(Ok(Attempt::Answered(answer))) => Ok(answer),
            Some(Ok(Attempt::Held)) => {
                self.batch.take_back();
                watch.write(&mut self.phase).await;
                return BatchVerdict::Held { error: None };
            }
            Some(Err(error)) => Err(error),
            None => {
                if unanswered {
                    self.doubt(true);
                }
                watch.ends(None, "interrupted", None);
                watch.write(&mut self.phase).await;
                return BatchVerdict::Interrupted;
            }
        };
        self.batch.renewed = false;
        let failure = match &result {
            Ok(answer) if call.accepts(answer.status) => {
                #[cfg(debug_assertions)]
                crate::engine::failpoint::reached("after-answer");
                watch.ends(Some(Ok(answer)), "answered", None);
                let verdict = self.answered(batching, answer);
                watch.write(&mut self.phase).await;
                return verdict;
            }
            Ok(answer) => Failure::Answer(answer),
            Err(error) => Failure::Error(error),
        };
        let verdict = self.failed(remote, call, &key, failure);
        watch.ends(Some(result.as_ref()), verdict.name(), verdict.wait());
        watch.write(&mut self.phase).await;
        verdict
    }

    fn answered(&mut self, batching: &dyn Batching, answer: &Answer) -> BatchVerdict {
        self.slot.succeeded(answer, Instant::now());
        self.doubt(false);
        let _answer = self.count(answer.body.len());
        match batching.results(&self.shown(), answer) {
            Results::Refused(rejection) => self.refused(rejection),
            Results::Each(results) => self.each(results),
        }
    }

    fn failed(&mut self, remote: &Remote, call: &Call, key: &CallKey, failure: Failure<'_>) -> BatchVerdict {
        let rows = self.batch.members.len();
        let error = describe(call, failure);
        if failure.leaves_doubt() {
            self.doubt(true);
        }
        let blame = self.slot.failed(failure, &error, &mut self.batch.suspicion, Instant::now());
        if blame == Blame::Remote && remote.retry.may_pass(failure) {
            self.batch.take_back();
            return BatchVerdict::Held { error: Some(error) };
        }
        let decision = remote.retry.decide(failure, key, self.batch.attempts);
        if !failure.is_an_attempt() {
            self.batch.take_back();
        }
        match decision {
            Decision::RetryAfter(after) => BatchVerdict::Again { after, error },
            Decision::GiveUp { state: ParkedState::Rejected, .. } if rows > 1 && may_be_one_rows(failure) => {
                BatchVerdict::Halve
            }
            Decision::GiveUp { state, reason } => {
                for member in &mut self.batch.members {
                    // This answer says nothing of the same call by an earlier process.
                    member.work.doubt = member.work.is_in_doubt(self.ground.sent_before);
                }
                self.parked(state, reason, &error)
            }
        }
    }

    /// Whether the members may be at the remote without our knowing.
    fn doubt(&mut self, doubt: bool) {
        self.batch.doubt = doubt;
        self.batch.members.iter_mut().for_each(|it| it.work.doubt = doubt);
    }

    fn shown(&self) -> Vec<synchronize::Work<'_>> {
        self.batch.members.iter().map(Member::shown).collect()
    }

    /// What is held while the call is under way (invariant 5).
    fn count(&self, bytes: usize) -> Charge {
        let budget = &self.ground.budget;
        budget.charge(bytes);
        Charge::adopt(budget, bytes)
    }

    fn each(&self, results: Vec<Result<LinkUpdate, Rejection>>) -> BatchVerdict {
        let (given, members) = (results.len(), &self.batch.members);
        if given != members.len() {
            let message = format!("the synchronizer gave {given} results for {} changes", members.len());
            return self.parked(ParkedState::Rejected, ParkReason::Template, &message);
        }
        let outcome = |(member, result)| match result {
            Ok(update) => self.applied(member, update),
            Err(Rejection { reason, message }) => self.park(member, ParkedState::Rejected, reason, message),
        };
        BatchVerdict::Done(members.iter().zip(results).map(outcome).collect())
    }

    fn applied(&self, member: &Member, update: LinkUpdate) -> Outcome {
        match unstorable(&update) {
            Some(message) => self.park(member, ParkedState::Rejected, ParkReason::Answer, message),
            None => {
                let Ground { routes, sent_before, .. } = &*self.ground;
                let route = &routes[usize::from(self.batch.route.0)];
                let content = told(route, &member.work, &member.shown(), *sent_before);
                Outcome::Applied { update, calls: 1, content }
            }
        }
    }

    /// The whole cannot be sent or was not taken: one member is to blame, and it is looked for.
    fn refused(&self, Rejection { reason, message }: Rejection) -> BatchVerdict {
        match self.batch.members.len() {
            1 => self.parked(ParkedState::Rejected, reason, &message),
            _ => BatchVerdict::Halve,
        }
    }

    /// Every member is parked for what befell the whole.
    fn parked(&self, state: ParkedState, reason: ParkReason, message: &str) -> BatchVerdict {
        let message = match self.batch.members.len() {
            1 => message.to_owned(),
            rows => format!("{message} (in one call with {} other rows)", rows - 1),
        };
        let park = |member| self.park(member, state, reason, message.clone());
        BatchVerdict::Done(self.batch.members.iter().map(park).collect())
    }

    fn park(&self, member: &Member, state: ParkedState, reason: ParkReason, message: String) -> Outcome {
        let Member { work, .. } = member;
        Outcome::Parked(Parked {
            state,
            reason,
            message,
            answers: work.answers.clone(),
            attempts: self.batch.attempts,
            requests: work.requests,
            called: work.called,
            wait: Duration::ZERO,
            doubt: work.doubt,
            waits_for: None,
        })
    }
}

/// Whether a refusal that will not pass may be for the sake of one row: credentials, redirects and
/// limits are about the caller.
fn may_be_one_rows(failure: Failure<'_>) -> bool {
    const THE_CALLERS: &[u16] = &[401, 403, 407, 408, 425, 429];
    match failure {
        Failure::Answer(answer) => answer.status >= 400 && !THE_CALLERS.contains(&answer.status),
        Failure::Error(error) => matches!(error, CallError::BadRequest { .. }),
    }
}
