//! Reading links ahead, many keys at a time.

use super::{lsn, ordinal, pg_lsn, release::keeps_parent};
use crate::{
    model::{ChangeId, ContentHash, Link},
    state::{Hold, Known, Leaving, RouteKey},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio_postgres::{
    Error, ToStatement,
    types::{Json, PgLsn},
};

/// `order by` keeps the answers in the order asked, so that no key has to be looked up again.
pub(super) const RECALL: &str = "\
select l.saved, l.commit_lsn, l.ordinal, l.gone, l.parents, p.held, d.commit_lsn, d.ordinal,
       l.content, o.commit_lsn, o.ordinal, l.replayed_lsn, l.replayed_ordinal
from unnest($1::text[], $2::text[]) with ordinality as k (route, key, at)
left join rowcall.link l on l.route = k.route and l.key = k.key
cross join lateral (
    select bool_or(p.holds) as held from rowcall.parked p where p.route = k.route and p.key = k.key
) p
left join lateral (
    select d.commit_lsn, d.ordinal from rowcall.parked d
    where p.held is not null and d.route = k.route and d.key = k.key and d.deletes and d.holds
    order by d.commit_lsn, d.ordinal limit 1
) d on true
left join lateral (
    select o.commit_lsn, o.ordinal from rowcall.parked o
    where p.held and o.route = k.route and o.key = k.key and o.holds
    order by o.commit_lsn, o.ordinal limit 1
) o on true
order by k.at";

/// What depends on a deleted key: linked keys, and parked changes that are older than the delete and keep
/// it waiting.
const CHILDREN: &str = concat!(
    "\
with k as (
    select * from unnest($1::text[], $2::text[], $3::pg_lsn[], $4::bigint[], $6::boolean[])
             with ordinality as k (route, key, commit_lsn, ordinal, may_be_sent, at)
), child as (
    select k.at, l.route from k join rowcall.link l on l.parents ? (k.route || '/' || k.key)
    where not l.gone
    union all
    select k.at, c.route from k join rowcall.parked c on c.parents ? (k.route || '/' || k.key)
    where (c.commit_lsn, c.ordinal) < (k.commit_lsn, k.ordinal) and ",
    keeps_parent!("k.may_be_sent"),
    "
)
select at, route, count(*) from child where route = any($5) group by at, route order by at, route"
);

/// What is known of these keys, in the order asked.
pub async fn recall(client: &tokio_postgres::Client, keys: &[RouteKey]) -> Result<Vec<Known>, Error> {
    recall_by(client, RECALL, keys).await
}

/// The same by the statement as it is prepared.
pub(super) async fn recall_by(
    client: &tokio_postgres::Client,
    statement: &(impl ToStatement + ?Sized),
    keys: &[RouteKey],
) -> Result<Vec<Known>, Error> {
    let routes: Vec<&str> = keys.iter().map(|at| &*at.route).collect();
    let names: Vec<&str> = keys.iter().map(|at| &*at.key).collect();
    let rows = client.query(statement, &[&routes, &names]).await?;
    let known = |row: &tokio_postgres::Row| {
        let id = |at: usize| {
            let commit = row.get::<_, Option<PgLsn>>(at)?;
            Some(ChangeId { commit: lsn(commit), ordinal: row.get::<_, i64>(at + 1).unsigned_abs() })
        };
        let saved: Option<Json<Map<String, Value>>> = row.get(0);
        let link = saved.map(|Json(saved)| Link {
            saved,
            change: ChangeId { commit: lsn(row.get(1)), ordinal: row.get::<_, i64>(2).unsigned_abs() },
            gone: row.get(3),
            parents: row.get::<_, Option<Json<Vec<String>>>>(4).map_or_else(Vec::new, |it| parents(&it.0)),
            content: row.get::<_, Option<i64>>(8).map(|hash| ContentHash(hash.cast_unsigned())),
            replayed: id(11),
        });
        Known { link, hold: hold(row.get(5)), leaving: id(6), oldest: id(9) }
    };
    Ok(rows.iter().map(known).collect())
}

/// What the database says of a key's parked changes: whether any of them holds it.
pub(super) fn hold(any_holds: Option<bool>) -> Hold {
    match any_holds {
        None => Hold::Free,
        Some(false) => Hold::Passing,
        Some(true) => Hold::Held,
    }
}

/// A route's name has no `/`.
fn parents(names: &[String]) -> Vec<RouteKey> {
    let key = |name: &String| {
        let (route, key) = name.split_once('/')?;
        Some(RouteKey { route: Arc::from(route), key: Arc::from(key) })
    };
    names.iter().filter_map(key).collect()
}

pub(super) async fn children(
    client: &tokio_postgres::Client,
    deletes: &[Leaving],
    of: &[Arc<str>],
) -> Result<Vec<Vec<(Arc<str>, u64)>>, Error> {
    let routes: Vec<&str> = deletes.iter().map(|it| &*it.at.route).collect();
    let names: Vec<&str> = deletes.iter().map(|it| &*it.at.key).collect();
    let commits: Vec<PgLsn> = deletes.iter().map(|it| pg_lsn(it.change.commit)).collect();
    let ordinals: Vec<i64> = deletes.iter().map(|it| ordinal(it.change)).collect();
    let sent: Vec<bool> = deletes.iter().map(|it| it.may_be_sent).collect();
    let of: Vec<&str> = of.iter().map(|route| &**route).collect();
    let mut children = vec![Vec::new(); deletes.len()];
    for row in client.query(CHILDREN, &[&routes, &names, &commits, &ordinals, &of, &sent]).await? {
        let at = row.get::<_, i64>(0).unsigned_abs() as usize - 1;
        children[at].push((Arc::from(row.get::<_, &str>(1)), row.get::<_, i64>(2).unsigned_abs()));
    }
    Ok(children)
}

pub(super) async fn linked(client: &tokio_postgres::Client, route: &str) -> Result<u64, Error> {
    let sql = "select count(*) from rowcall.link where route = $1 and not gone";
    Ok(client.query_one(sql, &[&route]).await?.get::<_, i64>(0).unsigned_abs())
}
