//! Audits that the service carries: beside the stream and beside other runs, one of a source at a time,
//! each in a task of its own.
//!
//! How far it is and what it found is stored piece by piece, so that after a pause or a restart it goes on
//! with the piece in which it was. Its questions wait behind all other calls to the remote, whose limits are
//! the service's own.

mod carry;

use super::plan::SourcePlan;
use crate::{
    capture::Budget,
    engine::CallLog,
    model::{Halt, HaltOf, RunId, RunKind, RunState},
    state::{Run, StateError, StateStore},
};
use carry::Carrier;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{num::NonZeroU32, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// How long one that is to stop may take.
const LEAVE: Duration = Duration::from_secs(5);

/// What an audit is told beside its entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditOptions {
    /// Only so many rows, by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<NonZeroU32>,
    /// Whether runs are asked for that bring things in step again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    /// Objects a second, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU32>,
}

impl AuditOptions {
    /// As a run stores it.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

/// The audits of one source.
pub(super) struct Audits {
    carrier: Carrier,
    current: Option<Current>,
}

struct Current {
    run: RunId,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Audits {
    pub(super) fn new(
        plan: &SourcePlan,
        store: Arc<dyn StateStore>,
        budget: Budget,
        call_log: CallLog,
    ) -> Self {
        let carrier = Carrier { plan: Arc::new(plan.clone()), store, budget, call_log };
        Self { carrier, current: None }
    }

    /// Follows what people ask for; `open` are the runs that are not over.
    pub(super) async fn look(&mut self, open: &[Run], halts: &[Halt]) -> Result<(), StateError> {
        // A remote that a person has paused is asked nothing; the audit goes on where it was.
        let open: Vec<&Run> = open.iter().filter(|run| !self.is_halted(run, halts)).collect();
        if let Some(current) = &mut self.current {
            let (run, ended) = (current.run, current.task.try_join_next());
            if let Some(ended) = ended {
                // What it did last may be newer than `open`: the next look begins another.
                self.current = None;
                return match ended {
                    Ok(()) => Ok(()),
                    Err(error) => self.carrier.fail(run, format!("it broke off: {error}")).await,
                };
            }
            if !open.iter().any(|it| it.id == run && it.state == RunState::Running) {
                self.leave().await;
            }
            return Ok(());
        }
        let may_run = |run: &&&Run| {
            run.kind == RunKind::Audit && matches!(run.state, RunState::Running | RunState::Requested)
        };
        let next = open.iter().filter(may_run).min_by_key(|it| (it.base.is_none(), it.id));
        let Some(run) = next else { return Ok(()) };
        if run.state == RunState::Requested {
            let checkpoint = self.carrier.store.checkpoint().await?;
            let base = run.base.or(checkpoint.map(|it| it.lsn)).unwrap_or_default();
            if !self.carrier.store.begin_run(run.id, base).await? {
                return Ok(());
            }
        }
        let (carrier, run, (stop, stopped)) = (self.carrier.clone(), (*run).clone(), watch::channel(false));
        let (id, mut task) = (run.id, JoinSet::new());
        task.spawn(async move { carrier.carry_on(run, stopped).await });
        self.current = Some(Current { run: id, stop, task });
        Ok(())
    }

    fn is_halted(&self, run: &Run, halts: &[Halt]) -> bool {
        let plan = &self.carrier.plan;
        let Some(entity) = run.entity.as_deref() else { return !halts.is_empty() };
        let (routes, settings) = (plan.route_names(entity), plan.entity(entity));
        halts.iter().any(|halt| match halt.what {
            HaltOf::Route => routes.iter().any(|it| **it == *halt.name),
            HaltOf::Remote => settings.is_some_and(|it| it.remotes.contains(&halt.name)),
        })
    }

    /// Stops the one that is under way where it is.
    pub(super) async fn leave(&mut self) {
        if let Some(mut current) = self.current.take() {
            current.stop.send_replace(true);
            let _ = timeout(LEAVE, current.task.join_next()).await;
        }
    }
}
