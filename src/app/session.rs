//! One stretch of streaming: from a held lease to a lost connection or a stop.

use super::{
    AppError,
    audits::Audits,
    binding::{binding, check_binding},
    check, clock,
    coordinator::{Coordinator, Resumed},
    halts::follow,
    plan::SourcePlan,
    replay::Replays,
    schedule::Scheduler,
    slot_watch::watch_slot,
};
use crate::{
    call_log::CallLogSink,
    capture::{
        Budget, ChangeSource, PostgresChunks, PostgresReader, SourceError,
        logical::{LogicalSource, Options, identify, inspect},
    },
    engine::{CallLog, Engine, EngineError, Limits, Parts, stopped},
    model::Lsn,
    postgres,
    routing::{OnDead, Route, Router},
    state::{Checkpoint, StateError, StateStore, postgres::PostgresStore},
    write_back::{self, Destination, Writer},
};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use xxhash_rust::xxh3::xxh3_64;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Trying again cannot help.
    #[error("{0}")]
    Final(String),
    /// It can.
    #[error("{0}")]
    Passing(String),
}

impl From<SourceError> for SessionError {
    fn from(error: SourceError) -> Self {
        if error.is_final() { Self::Final(error.to_string()) } else { Self::Passing(error.to_string()) }
    }
}

impl From<StateError> for SessionError {
    fn from(error: StateError) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<postgres::ConnectError> for SessionError {
    fn from(error: postgres::ConnectError) -> Self {
        if error.is_final() { Self::Final(error.to_string()) } else { Self::Passing(error.to_string()) }
    }
}

impl From<AppError> for SessionError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Unreachable(message) => Self::Passing(message),
            error => Self::Final(error.to_string()),
        }
    }
}

/// Connections that present rows are read over, and so how many are read at once. They are made when
/// they are needed.
const READERS: usize = 8;

/// Streams until `stop`, or until something breaks. What ended meanwhile is settled.
pub(super) async fn run(
    plan: &SourcePlan,
    store: Arc<PostgresStore>,
    limits: &Limits,
    budget: &Budget,
    call_log: Option<&Arc<dyn CallLogSink>>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), SessionError> {
    let client = postgres::connect(&plan.target).await?;
    let reader = Arc::new(PostgresReader::new(postgres::pool(&plan.target, READERS)));
    let identity = identify(&plan.target).await?;
    let stored = store.checkpoint().await?;
    let first = stored.is_none();
    // Before anything is bound: a first start that is refused has not happened.
    let router = Router::new(routes(plan, &reader, first).await?);
    let destinations = plan.destinations(router.routes());
    check_tables(plan, &client).await?;
    check_write_back(plan, &client, &destinations, first).await?;
    check_renamed(plan, &*store).await?;
    let checkpoint = match stored {
        #[cfg(debug_assertions)]
        Some(checkpoint) if crate::engine::broken("unbound") => checkpoint,
        Some(checkpoint) => {
            check_binding(plan, &checkpoint, &identity, &client).await?;
            checkpoint
        }
        None => {
            let checkpoint = fresh_checkpoint(plan, &client).await?;
            store.bind(&checkpoint).await?;
            tracing::info!(source = plan.name, at = %checkpoint.lsn, "first start: streaming begins at the slot's position");
            checkpoint
        }
    };
    warn_of_unknown_parents(plan, &router, &*store, &client).await?;
    drop(client);
    let routed: std::collections::HashSet<_> = router.tables().cloned().collect();
    let options = Options {
        slot: plan.slot.clone(),
        publication: plan.publication.clone(),
        start: checkpoint.lsn,
        acknowledged: checkpoint.lsn,
        routed: Box::new(move |table| routed.contains(table)),
        origin: plan.origin(),
        budget: budget.clone(),
        heartbeat: plan.heartbeat,
    };
    store.align(&passing(&router)).await?;
    store.only_children(&deleting(&router)).await;
    // The configuration may be another one than what waits was parked under.
    while store.sweep().await? > 0 {}
    let mut source = LogicalSource::open(&plan.target, options).await?;
    tracing::info!(source = plan.name, slot = plan.slot, at = %checkpoint.lsn, "streaming");
    let writer = Writer {
        source: plan.name.clone(),
        target: plan.target.clone(),
        origin: plan.origin(),
        destinations,
        store: Arc::clone(&store) as _,
        reader: Arc::clone(&reader) as _,
    };
    // Before anything is sent.
    let (halts, following) = (watch::Sender::new(store.halts().await?), Arc::clone(&store));
    let (orders, ordered) = mpsc::unbounded_channel();
    let replays = Replays::new(plan, budget.clone());
    let log = CallLog { sink: call_log.cloned(), clock: clock::now };
    let audits = Audits::new(plan, Arc::clone(&store) as _, budget.clone(), log);
    let mut coordinator = Coordinator::new(
        plan,
        router.routes(),
        Arc::clone(&store) as _,
        orders,
        replays,
        audits,
        halts.subscribe(),
    );
    coordinator.ask_initial().await?;
    let Resumed { run: resumed, replaying } = coordinator.resumed().await?;
    let scheduler = Scheduler::new(plan, Arc::clone(&store));
    let kept = watch::Sender::new(None);
    let marks = Arc::clone(&store);
    let parts = Parts {
        router,
        remotes: plan.engine_remotes(),
        store,
        reader,
        budget: budget.clone(),
        call_log: call_log.cloned(),
        clock: super::clock::now,
        limits: limits.clone(),
        // After a recovery to an earlier point the same position is another change.
        origin: xxh3_64(format!("{}/{}/{}", identity.system_id, identity.timeline, plan.name).as_bytes())
            as u32,
        // An earlier process may have sent anything that is in the log by now.
        sent_before: if first { Lsn::ZERO } else { identity.wal_position },
        guard: plan.guard.clone(),
        kept: kept.subscribe(),
        halts: halts.subscribe(),
        chunks: Arc::new(PostgresChunks::new(postgres::pool(&plan.target, 2))),
        orders: ordered,
        resumed,
        replaying,
        nonce: xxh3_64(format!("{}/{}", clock::now(), std::process::id()).as_bytes()),
    };
    let (over, ends) = watch::channel(false);
    let streaming = async {
        let (halt, mut halted) = watch::channel(false);
        let engine = Engine::new(parts, checkpoint.lsn).run(&mut source, &mut halted);
        tokio::pin!(engine);
        // What ends it lets it settle first; whoever asks for a stop, or a lost slot.
        let (result, lost) = tokio::select! {
            result = &mut engine => (result, None),
            lost = watch_slot(plan, &kept, &marks) => {
                halt.send_replace(true);
                (engine.await, Some(lost))
            }
            () = stopped(stop) => {
                halt.send_replace(true);
                (engine.await, None)
            }
        };
        over.send_replace(true);
        (result, lost)
    };
    let ((result, lost), (), (), (), ()) = tokio::join!(
        streaming,
        writer.run(ends.clone()),
        coordinator.run(ends.clone()),
        scheduler.run(ends.clone()),
        follow(&following, &halts, ends),
    );
    source.close().await;
    if let Some(lost) = lost {
        return Err(SessionError::Final(format!("source `{}`: {lost}", plan.name)));
    }
    match result {
        Ok(()) => Ok(()),
        Err(EngineError::Source(error)) => Err(error.into()),
        Err(EngineError::State(error)) => Err(error.into()),
    }
}

/// The routes whose given-up changes let later ones pass.
fn passing(router: &Router) -> Vec<(Arc<str>, bool)> {
    let passing = |route: &Arc<Route>| (Arc::clone(&route.name), route.on_dead == OnDead::Continue);
    router.routes().iter().map(passing).collect()
}

/// The routes whose rows are children that have to go before their parents.
fn deleting(router: &Router) -> Vec<Arc<str>> {
    let deleting = router.routes().iter().filter(|it| !it.parents.is_empty() && it.synchronizer.deletes());
    deleting.map(|it| Arc::clone(&it.name)).collect()
}

/// Rows that were there before the first start, or before their entity was configured, are not at the
/// remote: what depends on them waits for ever, unless somebody touches them.
async fn warn_of_unknown_parents(
    plan: &SourcePlan,
    router: &Router,
    store: &dyn StateStore,
    client: &postgres::Client,
) -> Result<(), SessionError> {
    for route in router.routes().iter().filter(|it| it.waited_for) {
        let table = &route.table;
        let sql = format!("select exists (select from {})", table.quoted());
        if store.linked(&route.name).await? > 0 {
            continue;
        }
        // Whether it can be read at all is looked at elsewhere.
        let has_rows = client.query_one(&sql, &[]).await.is_ok_and(|row| row.get(0));
        if !has_rows {
            continue;
        }
        let column = route.key.first().map(|it| it.replace('"', "\"\""));
        let touch = column.map(|it| format!(" (`update {} set \"{it}\" = \"{it}\"`)", table.quoted()));
        tracing::warn!(
            source = plan.name,
            route = &*route.name,
            "table {table} has rows, and none of them is known to be at the remote: what depends on those that were there \
             before waits until they are touched{}",
            touch.unwrap_or_default()
        );
    }
    Ok(())
}

/// Templates are checked against the real columns. After the first start a column that has gone is
/// a warning: its changes park with the reason, and every other route goes on (invariant 4).
async fn routes(plan: &SourcePlan, reader: &PostgresReader, first: bool) -> Result<Vec<Route>, SessionError> {
    let described = plan.describe(reader).await?;
    match plan.routes(Some(&described)) {
        Ok(routes) => Ok(routes),
        Err(errors) if first => Err(SessionError::Final(errors.join("\n"))),
        Err(errors) => {
            for error in &errors {
                tracing::warn!(source = plan.name, "{error}");
            }
            let mut routes = plan.routes(None).map_err(|errors| SessionError::Final(errors.join("\n")))?;
            for route in routes.iter_mut().filter(|route| route.key.is_empty()) {
                let shape = described.get(&route.table);
                let identity = shape.into_iter().flat_map(|it| &it.columns).filter(|it| it.identity);
                route.key = identity.map(|it| it.name.to_string()).collect();
            }
            Ok(routes)
        }
    }
}

/// A table that is not published would be skipped in silence. What else is wrong with the tables
/// parks changes of their own, or makes the server refuse them, so it is only said.
async fn check_tables(plan: &SourcePlan, client: &postgres::Client) -> Result<(), SessionError> {
    // That there is none at all is said when the stream is opened.
    let Some(publication) = inspect::publication(client, &plan.publication).await? else { return Ok(()) };
    let missing = plan.tables.iter().filter(|table| !publication.tables.contains(table));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(SessionError::Final(format!(
            "publication `{}` does not have {}: run `rowcall init`",
            plan.publication,
            missing.join(", ")
        )));
    }
    for problem in check::bad_tables(plan, client).await {
        tracing::warn!(source = plan.name, "{problem}");
    }
    Ok(())
}

/// Values that cannot be written back are kept, and everything else goes on; but a first start is
/// when somebody is there to grant what is missing.
async fn check_write_back(
    plan: &SourcePlan,
    client: &postgres::Client,
    destinations: &[Destination],
    first: bool,
) -> Result<(), SessionError> {
    if destinations.is_empty() {
        return Ok(());
    }
    let lacking = write_back::lacking(client, &plan.target.user, &plan.origin(), destinations).await;
    let lacking = lacking.map_err(|error| SessionError::Passing(postgres::explain(&error)))?;
    let lines: Vec<String> = lacking.iter().map(|it| format!("{}: {}", it.what, it.fix)).collect();
    if first && !lines.is_empty() {
        return Err(SessionError::Final(lines.join("\n")));
    }
    lines.iter().for_each(|line| tracing::warn!(source = plan.name, "{line}"));
    Ok(())
}

/// A route is named after its entity alone while that has one remote. With a second one the name
/// changes, and what is known under the old one must not be forgotten.
async fn check_renamed(plan: &SourcePlan, store: &dyn StateStore) -> Result<(), SessionError> {
    for name in &plan.entities {
        let remotes = plan.entity(name).map_or(&[][..], |it| &it.remotes);
        if remotes.len() > 1 && store.linked(name).await? > 0 {
            return Err(SessionError::Final(format!(
                "entity `{name}` had one remote and has {} now, so its routes are called `{name}.<remote>`: say whose the \
                 known objects are, such as `update rowcall.link set route = '{name}.{first}' where route = '{name}'`, and \
                 the same for `rowcall.parked`, in the state database",
                remotes.len(),
                first = remotes[0],
            )));
        }
    }
    Ok(())
}

/// Where a first start begins: at the slot's own position.
pub(super) async fn fresh_checkpoint(
    plan: &SourcePlan,
    client: &postgres::Client,
) -> Result<Checkpoint, AppError> {
    let identity = identify(&plan.target).await?;
    let slot = inspect::slot(client, &plan.slot).await?;
    let Some(lsn) = slot.and_then(|slot| slot.confirmed) else {
        return Err(AppError::Failed(format!(
            "replication slot `{}` does not exist: run `rowcall init`",
            plan.slot
        )));
    };
    Ok(Checkpoint { binding: binding(plan, &identity), lsn, committed_at: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_breaks_off_while_it_is_asked_is_asked_again() {
        let (doing, message) = ("reading".to_owned(), "the connection broke".to_owned());
        let broken = AppError::from(SourceError::Connection { doing, message });
        assert!(matches!(SessionError::from(broken), SessionError::Passing(_)));
        let refused = AppError::from(SourceError::Final("no privilege".to_owned()));
        assert!(matches!(SessionError::from(refused), SessionError::Final(_)));
    }
}
