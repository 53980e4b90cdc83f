//! Asking for snapshots and prunes, and seeing whether anyone is there to carry them.

use super::{App, AppError, coordinator::RunOptions, plan::SourcePlan};
use crate::{
    model::{RunId, RunKind, RunRequest},
    postgres,
    routing::split_key,
    state::postgres::{RunDesk, is_leased},
};

/// What is asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct SnapshotRequest {
    /// Which entities; every one, if none is named.
    pub entities: Vec<String>,
    /// Only these keys of theirs, as links have them; every row, if none is named.
    pub keys: Vec<String>,
    /// How their rows are read.
    pub rows: RunOptions,
    /// What is to be deleted; nothing, if this is not given.
    pub prune: Option<RunOptions>,
}

impl App {
    /// Asks for the runs, what others depend on first, and says by which source which was asked.
    pub async fn request_snapshot(
        &self,
        request: &SnapshotRequest,
    ) -> Result<Vec<(String, RunId)>, AppError> {
        let plans = self.plans()?;
        let known = |name: &String| plans.iter().any(|plan| plan.entity(name).is_some());
        if let Some(unknown) = request.entities.iter().find(|it| !known(it)) {
            let names: Vec<&str> = plans.iter().flat_map(|plan| &plan.entities).map(String::as_str).collect();
            return Err(AppError::Configuration(vec![format!(
                "there is no entity `{unknown}` in the configuration: it has {}",
                names.join(", ")
            )]));
        }
        let keys: Vec<_> = request.keys.iter().map(|it| split_key(it)).collect();
        let rows = RunOptions { keys: (!keys.is_empty()).then_some(keys), ..request.rows.clone() };
        let mut asked = Vec::new();
        for plan in &plans {
            let wanted =
                |name: &&str| request.entities.is_empty() || request.entities.iter().any(|it| it == name);
            let entities: Vec<&str> = plan.parents_first().into_iter().filter(wanted).collect();
            if entities.is_empty() {
                continue;
            }
            let client = super::state::connect(plan).await?;
            let desk = RunDesk { client: &client };
            let rows = entities.iter().map(|it| (RunKind::Snapshot, *it, &rows));
            // What depends on others is deleted before them.
            let prunes = entities.iter().rev();
            let prunes = prunes.filter_map(|it| Some((RunKind::Prune, *it, request.prune.as_ref()?)));
            for (kind, entity, options) in rows.chain(prunes) {
                let (entity, options) = (Some(entity.into()), options.to_map());
                let run = RunRequest { kind, entity, options, origin: "command".into() };
                let failed = |error| AppError::Unreachable(postgres::explain(&error));
                asked.push((plan.name.clone(), desk.request(&plan.name, &run).await.map_err(failed)?));
            }
        }
        Ok(asked)
    }

    /// Whether a service is at work on each of these sources.
    pub async fn is_served(&self, sources: &[&str]) -> Result<bool, AppError> {
        for plan in self.plans()?.iter().filter(|plan| sources.contains(&plan.name.as_str())) {
            if !is_held(plan).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(super) async fn is_held(plan: &SourcePlan) -> Result<bool, AppError> {
    let client = super::state::connect(plan).await?;
    is_leased(&client, &plan.name).await.map_err(|error| AppError::Unreachable(postgres::explain(&error)))
}
