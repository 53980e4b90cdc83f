//! Asking for runs over the admin address.

use crate::{
    admin::{DeskError, RunWanted},
    app::{App, AppError, AuditOptions, Point, ReplayRequest, RunOptions, plan::SourcePlan, state::connect},
    model::{RunId, RunKind, RunRequest},
    routing::split_key,
    state::postgres::RunDesk,
};
use serde_json::{Map, Value};

/// Who asks.
const ORIGIN: &str = "api";

/// Asks for runs, and says by source which.
pub(super) async fn ask(app: &App, wanted: RunWanted) -> Result<Vec<(String, RunId)>, DeskError> {
    match wanted {
        RunWanted::Snapshot { entities, keys, force, rate } => {
            if !keys.is_empty() && entities.len() != 1 {
                let message = "`keys` concern one table: name its entity in `entities`";
                return Err(DeskError::Wrong(message.to_owned()));
            }
            let keys: Vec<_> = keys.iter().map(|it| split_key(it)).collect();
            let keys = (!keys.is_empty()).then_some(keys);
            let options = RunOptions { keys, force, rate, ..RunOptions::default() }.to_map();
            each(app, &entities, RunKind::Snapshot, options).await
        }
        RunWanted::Prune { entities, delete, rate } => {
            let options = RunOptions { rate, dry_run: !delete, ..RunOptions::default() }.to_map();
            each(app, &entities, RunKind::Prune, options).await
        }
        RunWanted::Audit { entities, sample, repair, rate } => {
            let options = AuditOptions { sample, repair, rate }.to_map();
            each(app, &entities, RunKind::Audit, options).await
        }
        RunWanted::Scheduled { schedule, source } => {
            Ok(vec![app.request_scheduled(&schedule, source.as_deref(), ORIGIN).await?])
        }
        RunWanted::Replay { from, to, source, entities, keys, new_keys } => {
            let point =
                |text: &str| text.parse::<Point>().map_err(|error| DeskError::Wrong(error.to_string()));
            let (from, to) = (point(&from)?, to.as_deref().map(point).transpose()?);
            let request = ReplayRequest { source, from, to, entities, keys, new_keys };
            Ok(vec![app.request_replay(&request).await?])
        }
    }
}

/// One for each entity: what others depend on first, but deleted last.
async fn each(
    app: &App,
    entities: &[String],
    kind: RunKind,
    options: Map<String, Value>,
) -> Result<Vec<(String, RunId)>, DeskError> {
    let plans = app.plans()?;
    judge(&plans, entities, kind)?;
    let mut asked = Vec::new();
    for plan in &plans {
        let mut names: Vec<&str> = plan.parents_first();
        names.retain(|name| match entities {
            [] => may(plan, name, kind),
            _ => entities.iter().any(|it| it == name),
        });
        if kind == RunKind::Prune {
            names.reverse();
        }
        if names.is_empty() {
            continue;
        }
        let client = connect(plan).await?;
        let desk = RunDesk { client: &client };
        for name in names {
            let (entity, options) = (Some(name.into()), options.clone());
            let run = RunRequest { kind, entity, options, origin: ORIGIN.into() };
            asked.push((plan.name.clone(), desk.request(&plan.name, &run).await.map_err(super::sql)?));
        }
    }
    Ok(asked)
}

/// Whether such a run can be made of the entity.
fn may(plan: &SourcePlan, entity: &str, kind: RunKind) -> bool {
    kind != RunKind::Audit || plan.entity(entity).is_some_and(|it| it.read.is_some())
}

fn judge(plans: &[SourcePlan], entities: &[String], kind: RunKind) -> Result<(), AppError> {
    let names = || plans.iter().flat_map(|plan| &plan.entities).map(String::as_str);
    let wrong = |message| Err(AppError::Configuration(vec![message]));
    for entity in entities {
        if !names().any(|it| it == entity) {
            let known = names().collect::<Vec<_>>().join(", ");
            return wrong(format!("there is no entity `{entity}` in the configuration: it has {known}"));
        }
        if !plans.iter().any(|plan| plan.entity(entity).is_some() && may(plan, entity, kind)) {
            return wrong(format!(
                "entity `{entity}` has no `read`: say under `entities.{entity}.read` how its remote is asked for one object"
            ));
        }
    }
    if !plans
        .iter()
        .flat_map(|plan| plan.entities.iter().map(move |it| (plan, it)))
        .any(|(plan, it)| may(plan, it, kind))
    {
        return wrong("no entity has a `read`, by which its remote is asked for one object".to_owned());
    }
    Ok(())
}
