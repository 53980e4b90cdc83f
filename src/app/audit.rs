//! Comparing what the remotes hold with the rows, and asking for what brings them in step again.

use super::{
    App, AppError, call_log::RunningCallLog, clock, coordinator::RunOptions, plan::SourcePlan,
    snapshot::is_held,
};
use crate::{
    audit::{AuditError, Auditor, Pacing, Subject},
    capture::{PostgresChunks, PostgresReader},
    engine::CallLog,
    model::{RunId, RunKind, RunRequest},
    postgres,
    routing::split_key,
    state::postgres::RunDesk,
};
use std::time::Duration;
use tokio::sync::watch;

/// How many bytes of rows a command reads at once.
const PIECE: usize = 4 << 20;

/// What is to be audited.
pub struct Audit {
    /// One for each entity and remote.
    pub auditors: Vec<Auditor>,
    /// Sources that no service is at work on.
    pub unserved: Vec<String>,
    log: Option<RunningCallLog>,
}

impl Audit {
    /// Lets out what is still to be logged.
    pub async fn close(self) {
        if let Some(log) = self.log {
            log.close().await;
        }
    }
}

/// How an audit is made.
pub(super) struct Manner {
    pub(super) served: bool,
    pub(super) call_log: CallLog,
    pub(super) run: Option<RunId>,
    pub(super) stop: Option<watch::Receiver<bool>>,
    pub(super) behind: Duration,
    /// Such a part of what the remote takes at once.
    pub(super) share: usize,
    pub(super) piece: usize,
}

impl From<AuditError> for AppError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Source(error) => error.into(),
            error => Self::Unreachable(error.to_string()),
        }
    }
}

impl App {
    /// Prepares an audit of these entities, or of all that say how they are read.
    pub async fn audit(&self, entities: &[String], pacing: Pacing) -> Result<Audit, AppError> {
        let plans = self.plans()?;
        let all: Vec<&String> = plans.iter().flat_map(|plan| &plan.entities).collect();
        let reads =
            |name: &str| plans.iter().any(|plan| plan.entity(name).is_some_and(|it| it.read.is_some()));
        let mut problems = Vec::new();
        for name in entities {
            if !all.contains(&name) {
                let known: Vec<&str> = all.iter().map(|it| it.as_str()).collect();
                problems.push(format!(
                    "there is no entity `{name}` in the configuration: it has {}",
                    known.join(", ")
                ));
            } else if !reads(name) {
                problems.push(format!(
                    "entity `{name}` has no `read`: say under `entities.{name}.read` how its remote is asked for one object"
                ));
            }
        }
        if !all.iter().any(|it| reads(it)) && problems.is_empty() {
            let message = "no entity has a `read`, which says how its remote is asked for one object";
            problems.push(message.to_owned());
        }
        if !problems.is_empty() {
            return Err(AppError::Configuration(problems));
        }
        let wanted =
            |name: &str| reads(name) && (entities.is_empty() || entities.iter().any(|it| it == name));
        let log = self.start_command_log()?;
        let call_log = CallLog { sink: log.as_ref().map(RunningCallLog::sink), clock: clock::now };
        let mut audit = Audit { auditors: Vec::new(), unserved: Vec::new(), log };
        for plan in &plans {
            let wanted: Vec<String> = plan.entities.iter().filter(|it| wanted(it)).cloned().collect();
            if wanted.is_empty() {
                continue;
            }
            drop(super::state::connect(plan).await?);
            let served = is_held(plan).await?;
            if !served {
                audit.unserved.push(plan.name.clone());
            }
            let (call_log, behind) = (call_log.clone(), Duration::ZERO);
            let manner = Manner { served, call_log, run: None, stop: None, behind, share: 1, piece: PIECE };
            let subjects = subjects(plan, &wanted, &manner).await?;
            audit.auditors.extend(subjects.into_iter().map(|it| Auditor::new(it, pacing)));
        }
        Ok(audit)
    }

    /// Asks for a run that sends or deletes the objects of these keys.
    pub async fn request_repair(
        &self,
        source: &str,
        entity: &str,
        kind: RunKind,
        keys: &[String],
    ) -> Result<RunId, AppError> {
        let client = self.state_of(source).await?;
        let failed = |error| AppError::Unreachable(postgres::explain(&error));
        let run = repair_request(entity, kind, keys);
        RunDesk { client: &client }.request(source, &run).await.map_err(failed)
    }
}

pub(super) fn repair_request(entity: &str, kind: RunKind, keys: &[String]) -> RunRequest {
    let keys = Some(keys.iter().map(|it| split_key(it)).collect());
    let options = RunOptions { keys, force: kind == RunKind::Snapshot, ..RunOptions::default() };
    let (entity, options) = (Some(entity.into()), options.to_map());
    RunRequest { kind, entity, options, origin: "audit".into() }
}

/// The routes of these entities, as far as it is known how their objects are read.
pub(super) async fn subjects(
    plan: &SourcePlan,
    wanted: &[String],
    manner: &Manner,
) -> Result<Vec<Subject>, AppError> {
    let described = plan.describe(&PostgresReader::new(postgres::pool(&plan.target, 1))).await?;
    let mut subjects = Vec::new();
    for route in plan.routes(Some(&described)).map_err(AppError::Configuration)? {
        let Some(name) =
            plan.entities.iter().find(|it| wanted.contains(it) && plan.route_names(it).contains(&route.name))
        else {
            continue;
        };
        let Some(remote) = plan.engine_remotes().into_iter().nth(usize::from(route.remote.0)) else {
            continue;
        };
        let shape = described.get(&route.table);
        let saved = route.synchronizer.saves().into();
        let Some(read) =
            plan.object_read(name, &remote.name, shape, saved).map_err(AppError::Configuration)?
        else {
            continue;
        };
        subjects.push(Subject {
            entity: name.clone(),
            read,
            at_once: plan.concurrency(&remote.name).div_ceil(manner.share),
            behind: manner.behind,
            call_log: manner.call_log.clone(),
            run: manner.run,
            stop: manner.stop.clone(),
            source: plan.name.clone(),
            chunks: PostgresChunks::new(postgres::pool(&plan.target, 2)),
            reader: PostgresReader::new(postgres::pool(&plan.target, 2)),
            state: postgres::pool(&plan.state, 2),
            served: manner.served,
            piece: manner.piece,
            route,
            remote,
        });
    }
    Ok(subjects)
}
