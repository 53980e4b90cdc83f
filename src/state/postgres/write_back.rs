//! What is still to be written into the source's rows.

use super::{
    ordinal, pg_lsn,
    settle::{Writer, json},
};
use crate::state::{Owed, Owes, Owing, Repaid, RouteKey};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio_postgres::{
    Client, Error,
    types::{Json, PgLsn, ToSql},
};

/// What is owed already and not said anew is owed still. Where a delete of the key, or a truncate, is
/// parked behind the change, the row is another one by now.
pub(super) const OWE: &str = "\
insert into rowcall.write_back as w (source, route, key, \"values\", transaction)
select $1, route, key, \"values\"::jsonb, transaction
from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::pg_lsn[], $7::bigint[])
     as t (route, key, \"values\", transaction, commit_lsn, ordinal)
where not exists (
    select from rowcall.parked d
    where d.route = t.route and d.key in (t.key, '') and d.deletes
      and (d.commit_lsn, d.ordinal) > (t.commit_lsn, t.ordinal))
on conflict (route, key) do update
set source = excluded.source, \"values\" = w.\"values\" || excluded.\"values\",
    transaction = excluded.transaction, version = default, attempts = 0, error = null, next_attempt = now()";

/// The rows are gone to which this was owed.
pub(super) const FORGIVE: &str = "\
delete from rowcall.write_back w using unnest($1::text[], $2::text[]) as t (route, key)
where (w.route, w.key) = (t.route, t.key)";

/// All rows of these routes.
const FORGIVE_ALL: &str = "delete from rowcall.write_back where route = any($1)";

const OWED: &str = "\
select route, key, \"values\", transaction, version, attempts from rowcall.write_back
where source = $1 and next_attempt <= now() order by next_attempt, version limit $2";

const DONE: &str = "\
delete from rowcall.write_back w using unnest($1::text[], $2::text[], $3::bigint[]) as t (route, key, version)
where (w.route, w.key, w.version) = (t.route, t.key, t.version)";

const FAILED: &str = "\
update rowcall.write_back w
set attempts = w.attempts + 1, error = t.error, next_attempt = now() + t.again_in * interval '1 second'
from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::float8[])
     as t (route, key, version, error, again_in)
where (w.route, w.key, w.version) = (t.route, t.key, t.version)";

pub(super) async fn owed(client: &Client, source: &str, limit: usize) -> Result<Vec<Owed>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client.query(OWED, &[&source, &limit]).await?;
    let owed = |row: &tokio_postgres::Row| {
        let (route, key): (&str, &str) = (row.get(0), row.get(1));
        let Json(values): Json<Map<String, Value>> = row.get(2);
        let transaction = row.get::<_, Option<i64>>(3).and_then(|it| u32::try_from(it).ok());
        let at = RouteKey { route: Arc::from(route), key: Arc::from(key) };
        let attempts = row.get::<_, i32>(5).unsigned_abs();
        Owed { owing: Owing { at, values, transaction }, version: row.get(4), attempts }
    };
    Ok(rows.iter().map(owed).collect())
}

impl Writer {
    pub(super) async fn owe(&self, owes: &[Owes]) -> Result<(), Error> {
        self.forgive(owes).await?;
        let owes: Vec<&Owes> = owes.iter().filter(|it| !it.owing.values.is_empty()).collect();
        if owes.is_empty() {
            return Ok(());
        }
        let routes: Vec<&str> = owes.iter().map(|it| &*it.owing.at.route).collect();
        let keys: Vec<&str> = owes.iter().map(|it| &*it.owing.at.key).collect();
        let values: Vec<String> = owes.iter().map(|it| json(&it.owing.values)).collect();
        let transactions: Vec<Option<i64>> =
            owes.iter().map(|it| it.owing.transaction.map(i64::from)).collect();
        let commits: Vec<PgLsn> = owes.iter().map(|it| pg_lsn(it.change.commit)).collect();
        let ordinals: Vec<i64> = owes.iter().map(|it| ordinal(it.change)).collect();
        let values: [&(dyn ToSql + Sync); 7] =
            [&self.source, &routes, &keys, &values, &transactions, &commits, &ordinals];
        self.client.execute(&self.owe, &values).await?;
        Ok(())
    }

    async fn forgive(&self, owes: &[Owes]) -> Result<(), Error> {
        let gone = owes.iter().filter(|it| it.anew).map(|it| (&*it.owing.at.route, &*it.owing.at.key));
        let (whole, single): (Vec<_>, Vec<_>) = gone.partition(|(_, key)| key.is_empty());
        if !whole.is_empty() {
            let routes: Vec<&str> = whole.into_iter().map(|(route, _)| route).collect();
            self.client.execute(FORGIVE_ALL, &[&routes]).await?;
        }
        if !single.is_empty() {
            let (routes, keys): (Vec<&str>, Vec<&str>) = single.into_iter().unzip();
            self.client.execute(&self.forgive, &[&routes, &keys]).await?;
        }
        Ok(())
    }

    /// Each of the two is right by itself: what is lost of this is done again.
    pub(super) async fn repaid(&self, ended: &[(Owed, Repaid)]) -> Result<(), Error> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (owed, repaid) in ended {
            match repaid {
                Repaid::Done => done.push(owed),
                Repaid::Failed { again_in, error } => {
                    failed.push((owed, again_in.as_secs_f64(), error.as_str()))
                }
            }
        }
        if !done.is_empty() {
            let routes: Vec<&str> = done.iter().map(|it| &*it.owing.at.route).collect();
            let keys: Vec<&str> = done.iter().map(|it| &*it.owing.at.key).collect();
            let versions: Vec<i64> = done.iter().map(|it| it.version).collect();
            self.client.execute(DONE, &[&routes, &keys, &versions]).await?;
        }
        if !failed.is_empty() {
            let routes: Vec<&str> = failed.iter().map(|(it, ..)| &*it.owing.at.route).collect();
            let keys: Vec<&str> = failed.iter().map(|(it, ..)| &*it.owing.at.key).collect();
            let versions: Vec<i64> = failed.iter().map(|(it, ..)| it.version).collect();
            let errors: Vec<String> = failed.iter().map(|(.., error)| error.replace('\0', "")).collect();
            let waits: Vec<f64> = failed.iter().map(|(_, wait, _)| *wait).collect();
            self.client.execute(FAILED, &[&routes, &keys, &versions, &errors, &waits]).await?;
        }
        Ok(())
    }
}
