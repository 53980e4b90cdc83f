//! When schedules asked for their runs last, and what becomes of old runs.

use super::{PostgresStore, failed, settle::json};
use crate::{
    model::{RunId, RunRequest},
    state::StateError,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Error};

const READ: &str = "select name, last_at from rowcall.schedule where source = $1";

const BEGIN: &str = "\
insert into rowcall.schedule (source, name, last_at) values ($1, $2, $3) on conflict do nothing";

/// Both or nothing: a crash in between would ask twice, or never.
const ASK: &str = "\
with noted as (
    update rowcall.schedule set last_at = $3 where source = $1 and name = $2 and last_at < $3 returning source)
insert into rowcall.run (source, kind, entity, options, origin)
select noted.source, $4, $5, $6::text::jsonb, $7 from noted
returning id";

/// What a first start asked for is kept: it is asked for once.
const FORGET: &str = "\
delete from rowcall.run
where source = $1 and finished_at is not null and origin <> 'initial'
  and (finished_at < now() - interval '30 days'
       or id <= (select id from rowcall.run where source = $1 and finished_at is not null
                 order by id desc offset 1000 limit 1))";

/// The last time of each schedule of a source, by its name.
pub async fn read_schedules(client: &Client, source: &str) -> Result<BTreeMap<String, Timestamp>, Error> {
    let rows = client.query(READ, &[&source]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

impl PostgresStore {
    /// The last time of each schedule, by its name.
    pub async fn schedules(&self) -> Result<BTreeMap<String, Timestamp>, StateError> {
        let doing = "reading schedules";
        read_schedules(&*self.reader(doing).await?, &self.source).await.map_err(failed(doing))
    }

    /// A schedule that is new begins now.
    pub async fn begin_schedule(&self, name: &str, now: Timestamp) -> Result<(), StateError> {
        let writer = self.writer.lock().await;
        let begun = writer.client.execute(BEGIN, &[&self.source, &name, &now]).await;
        begun.map(drop).map_err(failed("beginning a schedule"))
    }

    /// Asks for a schedule's run and notes that it did, both or nothing. `None` if that was done already.
    pub async fn ask_scheduled(
        &self,
        name: &str,
        now: Timestamp,
        request: &RunRequest,
    ) -> Result<Option<RunId>, StateError> {
        let RunRequest { kind, entity, options, origin } = request;
        let writer = self.writer.lock().await;
        let row = writer
            .client
            .query_opt(
                ASK,
                &[&self.source, &name, &now, &kind.name(), &entity.as_deref(), &json(options), &&**origin],
            )
            .await
            .map_err(failed("asking for a scheduled run"))?;
        Ok(row.map(|row| RunId(row.get(0))))
    }

    /// Forgets runs that were over 30 days ago, and those beyond the newest thousand; says how many.
    pub async fn forget_runs(&self) -> Result<u64, StateError> {
        let writer = self.writer.lock().await;
        writer.client.execute(FORGET, &[&self.source]).await.map_err(failed("forgetting old runs"))
    }
}
