//! Runs, as the service that carries them out reads and writes them.

use super::{lsn, pg_lsn, settle::json};
use crate::{
    model::{Lsn, RunCounts, RunEnd, RunId, RunKind, RunProgress, RunRequest, UnknownName},
    state::Run,
};
use serde_json::{Map, Value};
use std::{str::FromStr, sync::Arc};
use tokio_postgres::{
    Client, Error, Row, Statement,
    types::{FromSql, Json, PgLsn, ToSql, Type, accepts},
};

/// What is over stays as it is but for its counts: a person may have cancelled it meanwhile.
const ADVANCE: &str = "\
update rowcall.run r
set read = r.read + t.read, applied = r.applied + t.applied, skipped = r.skipped + t.skipped,
    parked = r.parked + t.parked, updated_at = now(),
    cursor = case when r.finished_at is null then coalesce(t.cursor::jsonb, r.cursor) else r.cursor end,
    expected = case when r.finished_at is null then coalesce(t.expected, r.expected) else r.expected end,
    report = case when r.finished_at is null then coalesce(t.report::jsonb, r.report) else r.report end,
    state = case when r.finished_at is null then coalesce(t.state, r.state) else r.state end,
    error = case when r.finished_at is null then coalesce(t.error, r.error) else r.error end,
    finished_at = case when r.finished_at is null and t.state is not null then now() else r.finished_at end
from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
            $9::text[], $10::text[], $11::text[])
     as t (id, read, applied, skipped, parked, expected, cursor, report, state, error)
where r.id = t.id and r.source = $1";

const BEGIN: &str = "\
update rowcall.run
set state = 'running', base_lsn = coalesce(base_lsn, $3), started_at = coalesce(started_at, now()),
    updated_at = now()
where source = $1 and id = $2 and state = 'requested'";

const ASK: &str = "\
insert into rowcall.run (source, kind, entity, options, origin) values ($1, $2, $3, $4::text::jsonb, $5)
returning id";

const ASKED: &str = "\
select exists (
    select from rowcall.run where source = $1 and kind = $2 and entity is not distinct from $3 and origin = $4)";

const LINKED_KEYS: &str = "\
select key from rowcall.link where route = $1 and not gone and key collate \"C\" > $2
order by key collate \"C\" limit $3";

/// No key is before the empty one, which may be linked itself.
const FIRST_LINKED_KEYS: &str = "\
select key from rowcall.link where route = $1 and not gone order by key collate \"C\" limit $2";

pub(super) const COLUMNS: &str = "\
id, source, kind, entity, options, origin, state, cursor, read, applied, skipped, parked, expected, base_lsn,
error, requested_at, started_at, finished_at, updated_at, report";

pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(ADVANCE).await
}

pub(super) async fn advance(
    client: &Client,
    statement: &Statement,
    source: &str,
    runs: &[RunProgress],
) -> Result<(), Error> {
    if runs.is_empty() {
        return Ok(());
    }
    let large = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let counts =
        |of: fn(&RunCounts) -> u64| -> Vec<i64> { runs.iter().map(|it| large(of(&it.counts))).collect() };
    let ids: Vec<i64> = runs.iter().map(|it| it.run.0).collect();
    let (read, applied) = (counts(|it| it.read), counts(|it| it.applied));
    let (skipped, parked) = (counts(|it| it.skipped), counts(|it| it.parked));
    let expected: Vec<Option<i64>> = runs.iter().map(|it| it.expected.map(large)).collect();
    let cursors: Vec<Option<String>> = runs.iter().map(|it| it.cursor.as_ref().map(json)).collect();
    let reports: Vec<Option<String>> = runs.iter().map(|it| it.report.as_ref().map(json)).collect();
    let (states, errors): (Vec<_>, Vec<_>) = runs.iter().map(|it| ended(it.end.as_ref())).unzip();
    let values: [&(dyn ToSql + Sync); 11] =
        [&source, &ids, &read, &applied, &skipped, &parked, &expected, &cursors, &reports, &states, &errors];
    client.execute(statement, &values).await?;
    Ok(())
}

/// The state it ends in, and why.
fn ended(end: Option<&RunEnd>) -> (Option<&'static str>, Option<String>) {
    match end {
        None => (None, None),
        Some(RunEnd::Done) => (Some("done"), None),
        Some(RunEnd::Failed(error)) => (Some("failed"), Some(error.replace('\0', ""))),
    }
}

pub(super) async fn open(client: &Client, source: &str) -> Result<Vec<Run>, Error> {
    let sql =
        format!("select {COLUMNS} from rowcall.run where source = $1 and finished_at is null order by id");
    client.query(&sql, &[&source]).await?.iter().map(read).collect()
}

pub(super) async fn begin(client: &Client, source: &str, id: RunId, base: Lsn) -> Result<bool, Error> {
    Ok(client.execute(BEGIN, &[&source, &id.0, &pg_lsn(base)]).await? > 0)
}

pub(super) async fn ask(client: &Client, source: &str, request: &RunRequest) -> Result<RunId, Error> {
    let RunRequest { kind, entity, options, origin } = request;
    let values: [&(dyn ToSql + Sync); 5] =
        [&source, &kind.name(), &entity.as_deref(), &json(options), &&**origin];
    Ok(RunId(client.query_one(ASK, &values).await?.get(0)))
}

pub(super) async fn was_asked(
    client: &Client,
    source: &str,
    kind: RunKind,
    entity: Option<&str>,
    origin: &str,
) -> Result<bool, Error> {
    Ok(client.query_one(ASKED, &[&source, &kind.name(), &entity, &origin]).await?.get(0))
}

/// At most so many keys of a route that are linked, over any connection, in the order of their bytes,
/// behind `after`.
pub async fn linked_keys(
    client: &Client,
    route: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Arc<str>>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = match after {
        Some(after) => client.query(LINKED_KEYS, &[&route, &after, &limit]).await?,
        None => client.query(FIRST_LINKED_KEYS, &[&route, &limit]).await?,
    };
    Ok(rows.iter().map(|row| Arc::from(row.get::<_, &str>(0))).collect())
}

/// A row of [`COLUMNS`].
pub(super) fn read(row: &Row) -> Result<Run, Error> {
    let count = |at: usize| row.get::<_, i64>(at).unsigned_abs();
    Ok(Run {
        id: RunId(row.get(0)),
        source: Arc::from(row.get::<_, &str>(1)),
        kind: row.try_get::<_, Named<_>>(2)?.0,
        entity: row.get::<_, Option<&str>>(3).map(Arc::from),
        options: row.try_get::<_, Json<Map<String, Value>>>(4)?.0,
        origin: Arc::from(row.get::<_, &str>(5)),
        state: row.try_get::<_, Named<_>>(6)?.0,
        cursor: row.get(7),
        counts: RunCounts { read: count(8), applied: count(9), skipped: count(10), parked: count(11) },
        expected: row.get::<_, Option<i64>>(12).map(i64::unsigned_abs),
        base: row.get::<_, Option<PgLsn>>(13).map(lsn),
        error: row.get(14),
        requested_at: row.get(15),
        started_at: row.get(16),
        finished_at: row.get(17),
        updated_at: row.get(18),
        report: row.get(19),
    })
}

/// Stored by its name. A newer version may have more of them than this one knows.
struct Named<T>(T);

impl<'a, T: FromStr<Err = UnknownName>> FromSql<'a> for Named<T> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(<&str>::from_sql(of, raw)?.parse()?))
    }

    accepts!(TEXT);
}

#[cfg(test)]
mod tests {
    use crate::model::{RunKind, RunState};

    #[test]
    fn kinds_and_states_are_named_in_the_table_as_in_the_model() {
        let table = super::super::migrations_sql();
        let names = RunKind::ALL.map(RunKind::name).into_iter().chain(RunState::ALL.map(RunState::name));
        for name in names {
            assert!(table.contains(&format!("'{name}'")), "{name}");
        }
    }
}
