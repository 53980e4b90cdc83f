//! Reading the parked changes whose time has come.

use super::{failed, lsn, stored_change};
use crate::{
    model::{Answered, ChangeId},
    state::{Due, RouteKey, StateError},
};
use std::sync::Arc;
use tokio_postgres::Row;

/// Only the oldest of a key may run.
const DUE: &str = "\
select p.route, p.key, p.commit_lsn, p.ordinal, p.change::text, p.answers::text,
       p.called_lsn, p.called_ordinal
from rowcall.parked p
where p.source = $1 and p.route = any($3) and p.state = 'retrying' and p.next_attempt <= now()
  and not exists (
    select from rowcall.parked older
    where older.route = p.route and older.key = p.key
      and (older.commit_lsn, older.ordinal) < (p.commit_lsn, p.ordinal))
order by p.next_attempt, p.commit_lsn, p.ordinal
limit $2";

pub(super) async fn due(
    client: &tokio_postgres::Client,
    source: &str,
    routes: &[Arc<str>],
    limit: usize,
) -> Result<Vec<Due>, StateError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let routes: Vec<&str> = routes.iter().map(|route| &**route).collect();
    let rows =
        client.query(DUE, &[&source, &limit, &routes]).await.map_err(failed("reading parked changes"))?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Due, StateError> {
    let (route, key): (&str, &str) = (row.get(0), row.get(1));
    let id = ChangeId { commit: lsn(row.get(2)), ordinal: row.get::<_, i64>(3).unsigned_abs() };
    let broken = |error: serde_json::Error| StateError {
        doing: "reading parked changes",
        message: format!("the parked change {id} of route `{route}`, key `{key}` is damaged: {error}"),
    };
    let answers: Vec<Answered> = serde_json::from_str(row.get(5)).map_err(broken)?;
    Ok(Due {
        at: RouteKey { route: Arc::from(route), key: Arc::from(key) },
        change: stored_change::read(id, row.get(4)).map_err(broken)?,
        answers,
        called: ChangeId { commit: lsn(row.get(6)), ordinal: row.get::<_, i64>(7).unsigned_abs() },
    })
}
