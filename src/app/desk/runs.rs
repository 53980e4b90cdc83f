//! Runs as an operator looks at them.

use super::{ambiguous, of_source, sql};
use crate::{
    admin::DeskError,
    app::App,
    model::RunId,
    state::{
        Run, RunCommand,
        postgres::{RunDesk, RunDeskError, RunFilter},
    },
};

pub(super) async fn list(app: &App, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, DeskError> {
    let mut runs = Vec::new();
    for connection in app.state_connections().await? {
        runs.extend(RunDesk { client: &connection.client }.list(filter, limit).await.map_err(sql)?);
    }
    // Several databases may have had one to add; each has its newest first.
    runs.sort_by_key(|run| std::cmp::Reverse((run.requested_at, run.id)));
    runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(runs)
}

pub(super) async fn show(app: &App, id: RunId, source: Option<&str>) -> Result<Run, DeskError> {
    let mut found = Vec::new();
    let mut connections = app.state_connections().await?;
    for connection in of_source(&mut connections, source)? {
        found.extend(RunDesk { client: &connection.client }.show(id).await.map_err(sql)?);
    }
    one(id, source, found)
}

fn one(id: RunId, source: Option<&str>, mut found: Vec<Run>) -> Result<Run, DeskError> {
    found.retain(|run| source.is_none_or(|source| *run.source == *source));
    if found.len() > 1 {
        return Err(ambiguous(&format!("run {id}")));
    }
    found.pop().ok_or_else(|| DeskError::Missing(format!("there is no run {id}")))
}

pub(super) async fn command(
    app: &App,
    id: RunId,
    source: Option<&str>,
    command: RunCommand,
) -> Result<Run, DeskError> {
    let run = show(app, id, source).await?;
    let client = app.state_of(&run.source).await?;
    let desk = RunDesk { client: &client };
    desk.command(id, command).await.map_err(|error| match error {
        RunDeskError::Refused(message) => DeskError::Refused(message),
        RunDeskError::Database(error) => sql(error),
    })?;
    show(app, id, Some(&run.source)).await
}
