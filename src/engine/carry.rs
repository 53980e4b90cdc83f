//! One change's way: ask for a step, take it, show the answer, ask again.

use super::{lanes::LaneId, work::Work};
use crate::{
    capture::{RowReader, SourceError},
    model::{
        Answered, Call, CallKey, Change, Image, Link, Lsn, Op, Outcome, ParkReason, Parked, ParkedState,
    },
    remote::{Decision, Failure, RemoteClient, RetryPolicy, describe},
    routing::{Fetch, Route, RouteId, split_key},
    state::{StateError, StateStore},
    synchronize::{self, Step},
};
use futures_util::FutureExt;
use serde_json::Value;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::watch;

/// A remote as the engine uses it.
pub struct Remote {
    /// Its name in the configuration.
    pub name: String,
    /// Makes the attempts.
    pub client: Arc<dyn RemoteClient>,
    /// Decides about failures.
    pub retry: RetryPolicy,
    /// How many calls may be under way at once.
    pub concurrency: usize,
}

/// What every task that carries a change shares.
pub(super) struct Ground {
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) remotes: Vec<Remote>,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) reader: Arc<dyn RowReader>,
    /// Tells databases apart in call keys.
    pub(super) origin: u32,
    /// Changes committed before this may have been sent by an earlier process.
    pub(super) sent_before: Lsn,
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
    /// A stop came in between.
    Interrupted,
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
    pub(super) phase: watch::Receiver<Phase>,
}

/// How long to wait before a source or state read that failed is tried again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// What the change looks like once everything it needs is read.
struct Prepared {
    change: Arc<Change>,
    fetched: Option<Value>,
}

impl Pass {
    pub(super) async fn run(mut self) -> Ended {
        let verdict = AssertUnwindSafe(self.carry()).catch_unwind().await.unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<&str>().map(ToString::to_string);
            let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            rejected(ParkReason::Template, format!("the synchronizer panicked, which is a bug in it: {what}"))
        });
        Ended { lane: self.lane, work: self.work, verdict }
    }

    async fn carry(&mut self) -> Verdict {
        let ground = Arc::clone(&self.ground);
        let route = &ground.routes[usize::from(self.route.0)];
        if self.work.change.op() == Op::Truncate && self.key.is_empty() {
            return self.truncate(route).await;
        }
        let prepared = match self.prepare(route).await {
            Ok(prepared) => prepared,
            Err(verdict) => return verdict,
        };
        loop {
            let work = synchronize::Work {
                change: &prepared.change,
                key: &self.key,
                link: self.link.as_deref(),
                fetched: prepared.fetched.as_ref(),
                uncertain: self.work.doubt || self.work.id().commit <= ground.sent_before,
            };
            let call = match route.synchronizer.next_step(&work, &self.work.answers) {
                Step::Send(call) => call,
                Step::Finish(update) => {
                    let calls = u16::try_from(self.work.answers.len()).unwrap_or(u16::MAX);
                    return Verdict::Done(Outcome::Applied { update, calls });
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

    /// One attempt. `Ok` if the synchronizer is to see the answer.
    async fn send(&mut self, route: &Route, call: Call) -> Result<(), Verdict> {
        if *self.phase.borrow() != Phase::Running {
            return Err(Verdict::Interrupted);
        }
        let ground = Arc::clone(&self.ground);
        let remote = &ground.remotes[usize::from(route.remote.0)];
        let key = CallKey {
            route: Arc::clone(&route.name),
            origin: ground.origin,
            change: self.work.id(),
            step: Arc::clone(&call.step),
        };
        self.work.attempts += 1;
        let result = tokio::select! {
            biased;
            result = remote.client.call(&call, &key) => result,
            // The answer is lost: whoever goes on must look first.
            () = leaving(&mut self.phase) => return Err(Verdict::Interrupted),
        };
        let failure = match &result {
            Ok(answer) if call.accepts(answer.status) || call.handles.contains(&answer.status) => {
                let Ok(answer) = result else { return Err(Verdict::Interrupted) };
                tracing::debug!(call = %key, method = call.method.name(), path = %call.path, status = answer.status, "answered");
                self.work.answers.push(Answered { step: call.step, answer });
                self.work.attempts = 0;
                self.work.doubt = false;
                return Ok(());
            }
            Ok(answer) => Failure::Answer(answer),
            Err(error) => Failure::Error(error),
        };
        let error = describe(&call, failure);
        if failure.leaves_doubt() {
            self.work.doubt = true;
            let stale = |it: &mut Answered| Some(&it.step) == call.lookup.as_ref();
            self.work.answers.pop_if(stale);
        }
        match remote.retry.decide(failure, &key, self.work.attempts) {
            Decision::RetryAfter(after) => {
                tracing::info!(call = %key, attempt = self.work.attempts, wait_ms = after.as_millis() as u64, error, "the call failed and will be tried again");
                Err(Verdict::Again { after, error })
            }
            Decision::GiveUp { state, reason } => Err(self.parked(state, reason, error)),
        }
    }

    /// Reads what the change needs beyond itself.
    async fn prepare(&self, route: &Route) -> Result<Prepared, Verdict> {
        let mut change = Arc::clone(&self.work.change);
        let removes = matches!(change.op(), Op::Delete | Op::Truncate) && change.table.name == route.table;
        if removes || (route.fetch.is_none() && change.table.name == route.table) {
            return Ok(Prepared { change, fetched: None });
        }
        let reader = &self.ground.reader;
        let parts = split_key(&self.key);
        if route.rereads(&change.table.name) {
            let key: Vec<_> = route.key.iter().cloned().zip(parts.iter().cloned()).collect();
            match reader.row(&route.table, &key).await {
                Ok(Some(new)) => {
                    let table = Arc::clone(&new.table);
                    change = Arc::new(Change { table, image: Image::Read { new }, ..Change::clone(&change) });
                }
                Ok(None) => {
                    let reason = Arc::from("the row is gone; its delete follows");
                    return Err(Verdict::Done(Outcome::Skipped { reason }));
                }
                Err(error) => return Err(self.unread(route, &error)),
            }
        }
        let fetched = match &route.fetch {
            Some(Fetch::Sql(sql)) => {
                reader.fetch(sql, &parts).await.map_err(|error| self.unread(route, &error))?
            }
            _ => None,
        };
        Ok(Prepared { change, fetched })
    }

    /// A query that cannot work is this change's fault; a lost connection is not.
    fn unread(&self, route: &Route, error: &SourceError) -> Verdict {
        let message = format!("reading what entity `{}` needs: {error}", route.name);
        if error.is_final() {
            return self.parked(ParkedState::Rejected, ParkReason::Template, message);
        }
        Verdict::Again { after: READ_AGAIN, error: message }
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
            "table {table} was truncated: {linked} objects of route `{}` are linked; `rowcall parked retry` {what}, \
             `rowcall parked discard` leaves them",
            route.name
        );
        self.parked(ParkedState::Rejected, ParkReason::Truncate, message)
    }

    fn parked(&self, state: ParkedState, reason: ParkReason, message: String) -> Verdict {
        let answers = self.work.answers.clone();
        let attempts = self.work.attempts;
        Verdict::Done(Outcome::Parked(Parked { state, reason, message, answers, attempts }))
    }
}

async fn leaving(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Leaving).await;
}

fn rejected(reason: ParkReason, message: String) -> Verdict {
    let state = ParkedState::Rejected;
    Verdict::Done(Outcome::Parked(Parked { state, reason, message, answers: Vec::new(), attempts: 0 }))
}
