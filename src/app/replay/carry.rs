//! A replay of one source, from its run in the state database to what the engine is told: the slot it
//! reads from is a copy of its own, so nobody else can take the log away from under it.

use super::{
    feed::{Ahead, Feed},
    kept,
    options::{Extent, ReplayOptions},
};
use crate::{
    app::{AppError, plan::SourcePlan},
    capture::{
        Budget, SourceError,
        logical::{
            inspect,
            marks::{copy_slot, drop_slot, slots_like},
        },
    },
    engine::Replay,
    model::{Lsn, RunId, RunState, TableName},
    postgres::{self, Target},
    routing::{Route, join_key, split_key},
    state::{Run, StateError},
};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

/// The part of the byte budget that a replay has for itself.
const SHARE: usize = 8;
/// How long those who read may take to take their leave.
const LEAVE: Duration = Duration::from_secs(5);

/// Why a replay does not begin.
pub(in crate::app) enum Unready {
    /// It never will.
    Failed(String),
    /// Another try may do.
    Passing(String),
}

impl From<AppError> for Unready {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Unreachable(message) => Self::Passing(message),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<SourceError> for Unready {
    fn from(error: SourceError) -> Self {
        AppError::from(error).into()
    }
}

impl From<StateError> for Unready {
    fn from(error: StateError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Makes replays ready, and cleans up behind them.
pub(in crate::app) struct Replays<'a> {
    plan: &'a SourcePlan,
    budget: Budget,
    readers: JoinSet<()>,
}

/// The slot that a run reads from.
fn slot_of(source_slot: &str, run: RunId) -> String {
    format!("{source_slot}_rp_{run}")
}

impl<'a> Replays<'a> {
    pub(in crate::app) fn new(plan: &'a SourcePlan, budget: Budget) -> Self {
        Self { plan, budget, readers: JoinSet::new() }
    }

    /// Begins to read the log for a run that has begun when everything before `base` was settled; its
    /// slot is made unless it is there. `routes` are those it is for.
    pub(in crate::app) async fn ready(
        &mut self,
        run: &Run,
        base: Lsn,
        routes: &[Arc<Route>],
    ) -> Result<Replay, Unready> {
        let options = ReplayOptions::of(run).map_err(Unready::Failed)?;
        let client = connected(&self.plan.target).await?;
        let name = slot_of(&self.plan.slot, run.id);
        let mut slot = inspect::slot(&client, &name).await?;
        if slot.is_none() && run.cursor.is_some() {
            return Err(Unready::Failed(format!("its slot `{name}` is gone: somebody dropped it")));
        }
        if slot.is_none() {
            let state = connected(&self.plan.state).await?;
            let kept = kept::all(self.plan, &state, &client).await?;
            let from = options.from().map_err(Unready::Failed)?;
            let from = kept::choose(&from, &kept, &self.plan.name).map_err(Unready::Failed)?;
            copy_slot(&client, &from.slot, &name, &self.plan.target.user).await?;
            slot = inspect::slot(&client, &name).await?;
            if slot.as_ref().is_some_and(|it| it.confirmed > Some(from.lsn)) {
                drop_slot(&client, &name).await?;
                return Err(Unready::Passing(format!("slot `{}` was moved on meanwhile", from.slot)));
            }
        }
        let Some(slot) = slot else {
            return Err(Unready::Failed(format!("its slot `{name}` is gone: somebody dropped it")));
        };
        let Extent { window, at, until } = options.extent(run, base, &slot).map_err(Unready::Failed)?;
        let tables: HashSet<TableName> = routes.iter().flat_map(|it| tables(it)).collect();
        let budget = self.budget.set_apart(self.budget.limit() / SHARE);
        let (out, feed) = mpsc::channel(1);
        let reader = Feed {
            target: self.plan.target.clone(),
            slot: name,
            publication: self.plan.publication.clone(),
            origin: self.plan.origin(),
            tables: Arc::new(tables),
            budget: budget.clone(),
            at,
            to: window.to,
            ahead: (window.to < base || until.is_some()).then_some(Ahead { until, settled: base }),
        };
        while self.readers.try_join_next().is_some() {}
        self.readers.spawn(reader.run(out));
        Ok(Replay {
            run: run.id,
            routes: routes.iter().map(|it| Arc::clone(&it.name)).collect(),
            keys: options.keys.iter().map(|it| canonical(it)).collect(),
            window,
            anew: options.new_keys,
            at,
            read: run.counts.read,
            paused: run.state == RunState::Paused,
            feed,
            budget,
        })
    }

    /// Drops the slots of runs that are over, and says whether none is left; `open` are the others.
    pub(in crate::app) async fn tidy(&self, open: &[Run]) -> Result<bool, Unready> {
        let client = connected(&self.plan.target).await?;
        let prefix = slot_of(&self.plan.slot, RunId(0));
        let prefix = prefix.trim_end_matches('0');
        let mut clean = true;
        for slot in slots_like(&client, prefix).await? {
            let run = slot.strip_prefix(prefix).and_then(|it| it.parse().ok()).map(RunId);
            let Some(run) = run.filter(|run| open.iter().all(|it| it.id != *run)) else { continue };
            match drop_slot(&client, &slot).await {
                Ok(_) => tracing::debug!(source = self.plan.name, %run, slot, "the replay's slot is dropped"),
                // Whoever reads from it is about to leave.
                Err(error) => {
                    tracing::debug!(source = self.plan.name, %run, slot, %error, "the replay's slot is dropped soon");
                    clean = false;
                }
            }
        }
        Ok(clean)
    }

    /// Waits until nobody reads any more, once nobody listens.
    pub(in crate::app) async fn leave(&mut self) {
        let left = async { while self.readers.join_next().await.is_some() {} };
        let _ = timeout(LEAVE, left).await;
    }
}

async fn connected(target: &Target) -> Result<postgres::Client, Unready> {
    postgres::connect(target).await.map_err(|error| match error.is_final() {
        true => Unready::Failed(error.to_string()),
        false => Unready::Passing(error.to_string()),
    })
}

/// Those that concern a route.
fn tables(route: &Route) -> impl Iterator<Item = TableName> {
    std::iter::once(&route.table).chain(route.further.iter().map(|(table, _)| table)).cloned()
}

/// As links have it.
fn canonical(key: &str) -> Arc<str> {
    join_key(split_key(key).iter().map(String::as_str))
}
