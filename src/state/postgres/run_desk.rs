//! What an operator does with runs: ask for one, list, show, pause, resume, cancel.

use super::runs;
use crate::{
    model::{RunId, RunKind, RunRequest, RunState},
    postgres,
    state::{Run, RunCommand},
};
use jiff::Timestamp;
use tokio_postgres::{Client, Error};

/// Which runs are meant. Everything left out matches.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// By their numbers.
    pub ids: Vec<RunId>,
    /// Of these sources.
    pub sources: Vec<String>,
    /// Of this kind.
    pub kind: Option<RunKind>,
    /// Of this entity.
    pub entity: Option<String>,
    /// In this state.
    pub state: Option<RunState>,
    /// Only those that are not over.
    pub open: bool,
}

/// Why a run was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RunDeskError {
    /// There is no such run, or what was asked cannot be done to it as it stands.
    #[error("{0}")]
    Refused(String),
    /// The state database did not do it.
    #[error("{}", postgres::explain(.0))]
    Database(#[from] Error),
}

/// Works on the state database over a connection of its own; a running service notices by itself.
#[derive(Clone, Copy, Debug)]
pub struct RunDesk<'a> {
    /// Any connection to the state database.
    pub client: &'a Client,
}

const MATCHES: &str = "\
(cardinality($1::bigint[]) = 0 or id = any($1)) and (cardinality($2::text[]) = 0 or source = any($2))
and ($3::text is null or kind = $3) and ($4::text is null or entity = $4)
and ($5::text is null or state = $5) and (not $6 or finished_at is null)";

/// It is as it was when it was looked at.
const CHANGE: &str = "\
update rowcall.run
set state = $3, finished_at = case when $3 = 'cancelled' then now() end, updated_at = now()
where id = $1 and state = $2";

impl RunDesk<'_> {
    /// Asks for a run of this source; the service that is at work on it begins it.
    pub async fn request(&self, source: &str, request: &RunRequest) -> Result<RunId, Error> {
        runs::ask(self.client, source, request).await
    }

    /// The newest first.
    pub async fn list(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, Error> {
        let RunFilter { ids, sources, kind, entity, state, open } = filter;
        let ids: Vec<i64> = ids.iter().map(|it| it.0).collect();
        let (kind, state) = (kind.map(RunKind::name), state.map(RunState::name));
        let sql =
            format!("select {} from rowcall.run where {MATCHES} order by id desc limit $7", runs::COLUMNS);
        let rows = self.client.query(&sql, &[&ids, sources, &kind, entity, &state, open, &limit]).await?;
        rows.iter().map(runs::read).collect()
    }

    /// One run; `None` if there is none of that number.
    pub async fn show(&self, id: RunId) -> Result<Option<Run>, Error> {
        let filter = RunFilter { ids: vec![id], ..RunFilter::default() };
        Ok(self.list(&filter, 1).await?.pop())
    }

    /// Has a run wait, lets it go on, or ends it, and says how it stands then.
    pub async fn command(&self, id: RunId, command: RunCommand) -> Result<RunState, RunDeskError> {
        loop {
            let missing = || RunDeskError::Refused(format!("there is no run {id}"));
            let run = self.show(id).await?.ok_or_else(missing)?;
            let next = run.after(command).map_err(RunDeskError::Refused)?;
            let changed = self.client.execute(CHANGE, &[&id.0, &run.state.name(), &next.name()]).await?;
            // Otherwise someone else was faster, and it is looked at again.
            if changed > 0 {
                return Ok(next);
            }
        }
    }

    /// What time it is by the clock that wrote the runs' times.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.client.query_one("select clock_timestamp()", &[]).await?.get(0))
    }
}
