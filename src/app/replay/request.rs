//! Asking for a replay.

use super::{kept, options::ReplayOptions, point::Point};
use crate::{
    app::{App, AppError, plan::SourcePlan, state::connect},
    model::{RunId, RunKind, RunRequest},
    postgres,
    state::postgres::RunDesk,
};

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// Of which source; may be left out where it is clear.
    pub source: Option<String>,
    /// The first change that is sent again.
    pub from: Point,
    /// Where it ends; at what is settled when it begins, if left out.
    pub to: Option<Point>,
    /// Only these entities.
    pub entities: Vec<String>,
    /// Only these keys of theirs, as links have them.
    pub keys: Vec<String>,
    /// Under call keys of its own.
    pub new_keys: bool,
}

impl App {
    /// Asks for a replay, unless the log does not reach back so far; and says of which source it is.
    pub async fn request_replay(&self, request: &ReplayRequest) -> Result<(String, RunId), AppError> {
        let plans = self.chosen(request.source.as_deref())?;
        let plan = the_one(&plans, &request.entities)?;
        let state = connect(plan).await?;
        let client = postgres::connect(&plan.target).await?;
        let sql = |error| AppError::Unreachable(postgres::explain(&error));
        // Times of commit are by the source's clock.
        let now = client.query_one("select clock_timestamp()", &[]).await.map_err(sql)?.get(0);
        let kept = kept::all(plan, &state, &client).await?;
        let from = request.from.clone().fixed(now);
        kept::choose(&from, &kept, &plan.name).map_err(AppError::Failed)?;
        let to = request.to.clone().map(|to| match to.fixed(now) {
            // It may be dropped before the replay begins.
            Point::Checkpoint(name) => match kept.iter().find(|it| it.name.as_ref() == Some(&name)) {
                Some(kept) => Ok(Point::Lsn(kept.lsn)),
                None => Err(AppError::Failed(format!(
                    "there is no checkpoint `{name}`; see `rowcall checkpoint list`"
                ))),
            },
            to => Ok(to),
        });
        let options = ReplayOptions {
            from: from.to_string(),
            to: to.transpose()?.map(|it| it.to_string()),
            entities: request.entities.clone(),
            keys: request.keys.clone(),
            new_keys: request.new_keys,
        };
        let entity = match &request.entities[..] {
            [entity] => Some(entity.as_str().into()),
            _ => None,
        };
        let (kind, origin) = (RunKind::Replay, "command".into());
        let run = RunRequest { kind, entity, options: options.to_map(), origin };
        let run = RunDesk { client: &state }.request(&plan.name, &run).await.map_err(sql)?;
        Ok((plan.name.clone(), run))
    }
}

/// The source that has all of these entities, if only one does.
fn the_one<'a>(plans: &'a [SourcePlan], entities: &[String]) -> Result<&'a SourcePlan, AppError> {
    let known = |name: &&String| plans.iter().any(|plan| plan.entity(name).is_some());
    if let Some(unknown) = entities.iter().find(|it| !known(it)) {
        let names: Vec<&str> = plans.iter().flat_map(|plan| &plan.entities).map(String::as_str).collect();
        return Err(AppError::Configuration(vec![format!(
            "there is no entity `{unknown}` in the configuration: it has {}",
            names.join(", ")
        )]));
    }
    let fits = |plan: &&SourcePlan| entities.iter().all(|it| plan.entity(it).is_some());
    let mut fitting = plans.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(plan), None) => Ok(plan),
        (None, _) => Err(AppError::Configuration(vec![
            "these entities are of several sources: replay them one source after the other".to_owned(),
        ])),
        _ => {
            let names: Vec<&str> = plans.iter().map(|it| it.name.as_str()).collect();
            let message = format!("say with `--source` whose log it is: {}", names.join(", "));
            Err(AppError::Configuration(vec![message]))
        }
    }
}
