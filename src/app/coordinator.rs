//! Which bounded run is carried: from the state database to the engine. One run of a source at a time,
//! in the order they were asked for; one that is paused keeps its turn. Audits are carried beside them.

use super::{
    audits::Audits,
    plan::SourcePlan,
    replay::{ReplayOptions, Replays, Unready},
    session::SessionError,
};
use crate::{
    capture::{ChunkOf, KeyValues},
    engine::{Assignment, RunOrder, RunWork},
    model::{Halt, Lsn, RunCounts, RunEnd, RunId, RunKind, RunProgress, RunRequest, RunState},
    routing::Route,
    state::{Run, Settlement, StateError, StateStore},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::{sleep, timeout},
};

/// How often it is looked what was asked for.
const LOOK: Duration = Duration::from_millis(500);
/// How long cleaning up may take in the end.
const LAST: Duration = Duration::from_secs(5);
/// Asked for by the first start on an entity.
const INITIAL: &str = "initial";

/// What a snapshot or a prune is told beside its entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunOptions {
    /// A condition in SQL on the rows.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// A statement in SQL: only the keys that it yields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Only these keys, each with the values of its columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<KeyValues>>,
    /// Also what would say what was said before.
    #[serde(skip_serializing_if = "is_false")]
    pub force: bool,
    /// Rows a second, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU32>,
    /// Only counts what would be deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

fn is_false(it: &bool) -> bool {
    !it
}

impl RunOptions {
    /// As a run stores it.
    pub fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }
}

/// An entity's own table, and where its rows go.
#[derive(Debug)]
struct Feed {
    of: ChunkOf,
    routes: Vec<Arc<str>>,
    has_key: bool,
}

/// Tells one source's engine what to do.
pub(super) struct Coordinator<'a> {
    source: String,
    store: Arc<dyn StateStore>,
    feeds: BTreeMap<String, Feed>,
    initial: Vec<String>,
    orders: UnboundedSender<RunOrder>,
    replays: Replays<'a>,
    audits: Audits,
    halts: watch::Receiver<Vec<Halt>>,
    routes: Vec<Arc<Route>>,
    current: Option<RunId>,
    paused: bool,
    /// The current run is a replay.
    replaying: bool,
    /// Slots of replays may be left.
    untidy: bool,
    /// The replay of which it was said that it cannot begin yet.
    late: Option<RunId>,
}

/// What was under way when an earlier process ended.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The run, if it reads tables.
    pub(super) run: Option<Assignment>,
    /// The routes of a replay.
    pub(super) replaying: Vec<Arc<str>>,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        plan: &'a SourcePlan,
        routes: &[Arc<Route>],
        store: Arc<dyn StateStore>,
        orders: UnboundedSender<RunOrder>,
        replays: Replays<'a>,
        audits: Audits,
        halts: watch::Receiver<Vec<Halt>>,
    ) -> Self {
        let feed = |name: &String| {
            let names = plan.route_names(name);
            let own: Vec<_> = routes.iter().filter(|it| names.contains(&it.name)).collect();
            let first = own.first()?;
            let of = ChunkOf {
                table: first.table.clone(),
                key: first.key.clone(),
                filter: None,
                keys: None,
                until: None,
            };
            let has_key = !first.key.is_empty();
            Some((
                name.clone(),
                Feed { of, routes: own.iter().map(|it| Arc::clone(&it.name)).collect(), has_key },
            ))
        };
        let feeds = plan.entities.iter().filter_map(feed).collect();
        let initial = plan.parents_first().into_iter();
        let initial = initial.filter(|it| plan.entity(it).is_some_and(|it| it.initial)).map(str::to_owned);
        Self {
            source: plan.name.clone(),
            store,
            feeds,
            initial: initial.collect(),
            orders,
            replays,
            audits,
            halts,
            routes: routes.to_vec(),
            current: None,
            paused: false,
            replaying: false,
            untidy: true,
            late: None,
        }
    }

    /// The first start on an entity that wants its rows at the remote brings them there.
    pub(super) async fn ask_initial(&self) -> Result<(), StateError> {
        for entity in &self.initial {
            let Some(feed) = self.feeds.get(entity) else { continue };
            if self.store.was_asked(RunKind::Snapshot, Some(entity), INITIAL).await? {
                continue;
            }
            let mut linked = 0;
            for route in &feed.routes {
                linked += self.store.linked(route).await?;
            }
            if linked == 0 {
                let request = RunRequest {
                    kind: RunKind::Snapshot,
                    entity: Some(entity.as_str().into()),
                    options: Map::new(),
                    origin: INITIAL.into(),
                };
                let run = self.store.ask_run(&request).await?;
                tracing::info!(source = self.source, entity, %run, "the entity's rows are brought to its remote");
            }
        }
        Ok(())
    }

    /// The run that was under way when an earlier process ended.
    pub(super) async fn resumed(&mut self) -> Result<Resumed, SessionError> {
        for run in self.store.runs().await? {
            if run.base.is_some() && run.kind == RunKind::Replay {
                // It is taken up beside the stream.
                let routes = self.routes_of(&run).unwrap_or_default();
                let replaying = routes.iter().map(|it| Arc::clone(&it.name)).collect();
                return Ok(Resumed { run: None, replaying });
            }
            if run.base.is_some() && is_ours(&run) {
                match self.assignment(&run, run.base.unwrap_or_default()) {
                    Ok(assignment) => {
                        (self.current, self.paused) = (Some(run.id), assignment.paused);
                        return Ok(Resumed { run: Some(assignment), ..Resumed::default() });
                    }
                    Err(why) => self.fail(run.id, why).await?,
                }
            }
        }
        Ok(Resumed::default())
    }

    /// Follows what people ask for.
    pub(super) async fn run(mut self, mut ends: watch::Receiver<bool>) {
        let mut away = false;
        loop {
            tokio::select! {
                _ = ends.wait_for(|it| *it) => break,
                () = sleep(LOOK) => {}
            }
            match self.look().await {
                Ok(()) => away = false,
                Err(error) if !std::mem::replace(&mut away, true) => {
                    tracing::warn!(source = self.source, %error, "runs cannot be looked at for now");
                }
                Err(_) => {}
            }
        }
        self.audits.leave().await;
        // A replay may have ended since the last look.
        if self.replaying {
            self.replays.leave().await;
            self.untidy = true;
            let tidy = async {
                if let Ok(open) = self.store.runs().await {
                    self.tidy(&open).await;
                }
            };
            // What is left goes at the next start.
            let _ = timeout(LAST, tidy).await;
        }
    }

    /// Drops the slots of replays that are over.
    async fn tidy(&mut self, open: &[Run]) {
        if !self.untidy {
            return;
        }
        match self.replays.tidy(open).await {
            Ok(clean) => self.untidy = !clean,
            Err(Unready::Failed(error) | Unready::Passing(error)) => {
                tracing::debug!(source = self.source, "the slots of replays cannot be looked at: {error}");
            }
        }
    }

    async fn look(&mut self) -> Result<(), StateError> {
        let mut runs = self.store.runs().await?;
        self.tidy(&runs).await;
        let halts = self.halts.borrow().clone();
        self.audits.look(&runs, &halts).await?;
        if let Some(current) = self.current {
            let Some(run) = runs.iter().find(|it| it.id == current) else {
                // It is over; if a person ended it, the engine has not heard of it yet.
                drop(self.orders.send(RunOrder::Cancel(current)));
                self.current = None;
                self.untidy |= std::mem::take(&mut self.replaying);
                return Ok(());
            };
            let paused = run.state == RunState::Paused;
            if paused != std::mem::replace(&mut self.paused, paused) {
                let order = if paused { RunOrder::Pause(current) } else { RunOrder::Resume(current) };
                drop(self.orders.send(order));
            }
            return Ok(());
        }
        // What has begun goes on before anything else begins.
        runs.sort_by_key(|it| it.base.is_none());
        for run in runs.iter().filter(|it| is_ours(it)) {
            let base = match run.base {
                Some(base) => base,
                None if run.state == RunState::Requested => self.position().await?,
                None => continue,
            };
            if run.kind == RunKind::Replay {
                if self.begin_replay(run, base).await? {
                    return Ok(());
                }
                continue;
            }
            match self.assignment(run, base) {
                Ok(assignment) => {
                    if run.base.is_none() && !self.store.begin_run(run.id, base).await? {
                        continue;
                    }
                    (self.current, self.paused) = (Some(run.id), assignment.paused);
                    drop(self.orders.send(RunOrder::Begin(Box::new(assignment))));
                    return Ok(());
                }
                Err(why) => self.fail(run.id, why).await?,
            }
        }
        Ok(())
    }

    /// `false` if it will not be carried.
    async fn begin_replay(&mut self, run: &Run, base: Lsn) -> Result<bool, StateError> {
        // The run is there before its slot is, so that no slot is forgotten.
        if run.base.is_none() && !self.store.begin_run(run.id, base).await? {
            return Ok(false);
        }
        let ready = match self.routes_of(run) {
            Ok(routes) => self.replays.ready(run, base, &routes).await,
            Err(why) => Err(Unready::Failed(why)),
        };
        match ready {
            Ok(replay) => {
                (self.current, self.paused, self.replaying) = (Some(run.id), replay.paused, true);
                drop(self.orders.send(RunOrder::Replay(Box::new(replay))));
                Ok(true)
            }
            Err(Unready::Failed(why)) => {
                self.untidy = true;
                self.fail(run.id, why).await?;
                Ok(false)
            }
            Err(Unready::Passing(message)) => {
                if self.late.replace(run.id) != Some(run.id) {
                    tracing::warn!(source = self.source, run = %run.id, "the replay begins later: {message}");
                }
                // It keeps its turn.
                Ok(true)
            }
        }
    }

    /// The routes that a replay is for.
    fn routes_of(&self, run: &Run) -> Result<Vec<Arc<Route>>, String> {
        let entities = ReplayOptions::of(run)?.entities;
        let mut names: Vec<&Arc<str>> = Vec::new();
        for entity in &entities {
            let feed = self.feeds.get(entity).ok_or_else(|| {
                format!("entity `{entity}` is not in the configuration of source `{}`", self.source)
            })?;
            names.extend(&feed.routes);
        }
        let wanted = |it: &&Arc<Route>| entities.is_empty() || names.contains(&&it.name);
        Ok(self.routes.iter().filter(wanted).cloned().collect())
    }

    async fn position(&self) -> Result<Lsn, StateError> {
        Ok(self.store.checkpoint().await?.map(|it| it.lsn).unwrap_or_default())
    }

    fn assignment(&self, run: &Run, base: Lsn) -> Result<Assignment, String> {
        let entity = run.entity.as_deref().unwrap_or_default();
        let feed = self.feeds.get(entity).ok_or_else(|| {
            format!("entity `{entity}` is not in the configuration of source `{}`", self.source)
        })?;
        if !feed.has_key {
            return Err(format!("table {} has no primary key: name the columns in `key`", feed.of.table));
        }
        let options = serde_json::from_value(Value::Object(run.options.clone()));
        let options: RunOptions = options.map_err(|error| format!("its options cannot be read: {error}"))?;
        let columns = feed.of.key.len();
        if let Some(key) = options.keys.iter().flatten().find(|it| it.len() != columns) {
            return Err(format!(
                "key `{}` has {} value(s), but the key of table {} has {columns} column(s): {}",
                key.join(","),
                key.len(),
                feed.of.table,
                feed.of.key.join(", ")
            ));
        }
        let filter = options.filter.or_else(|| options.query.map(|it| feed.of.among(&it)));
        let of = ChunkOf { filter, keys: options.keys, ..feed.of.clone() };
        let work = match run.kind {
            RunKind::Prune => RunWork::Prune { of, dry_run: options.dry_run },
            _ => RunWork::Rows { of, force: options.force },
        };
        Ok(Assignment {
            run: run.id,
            base,
            routes: feed.routes.clone(),
            work,
            cursor: run.cursor.clone(),
            rate: options.rate,
            paused: run.state == RunState::Paused,
        })
    }

    async fn fail(&self, run: RunId, why: String) -> Result<(), StateError> {
        tracing::warn!(source = self.source, %run, "the run failed: {why}");
        let (counts, end) = (RunCounts::default(), Some(RunEnd::Failed(why)));
        let failed = RunProgress { run, cursor: None, counts, expected: None, report: None, end };
        self.store.settle(Settlement { runs: vec![failed], ..Settlement::default() }).await.map(drop)
    }
}

/// The engine carries it; audits are carried beside it.
fn is_ours(run: &Run) -> bool {
    matches!(run.kind, RunKind::Snapshot | RunKind::Prune | RunKind::Replay)
}
