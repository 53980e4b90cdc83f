//! Reading links ahead, many keys at a time.

use super::lsn;
use crate::{
    model::{ChangeId, ContentHash, Link},
    state::{Known, RouteKey},
};
use serde_json::{Map, Value};
use tokio_postgres::{Error, types::Json};

/// `order by` keeps the answers in the order asked, so that no key has to be looked up again.
const RECALL: &str = "\
select l.saved, l.commit_lsn, l.ordinal, l.gone,
       exists (select from rowcall.parked p where p.route = k.route and p.key = k.key), l.content
from unnest($1::text[], $2::text[]) with ordinality as k (route, key, at)
left join rowcall.link l on l.route = k.route and l.key = k.key
order by k.at";

/// What is known of these keys, in the order asked.
pub async fn recall(client: &tokio_postgres::Client, keys: &[RouteKey]) -> Result<Vec<Known>, Error> {
    let routes: Vec<&str> = keys.iter().map(|at| &*at.route).collect();
    let names: Vec<&str> = keys.iter().map(|at| &*at.key).collect();
    let rows = client.query(RECALL, &[&routes, &names]).await?;
    let known = |row: &tokio_postgres::Row| {
        let saved: Option<Json<Map<String, Value>>> = row.get(0);
        let link = saved.map(|Json(saved)| Link {
            saved,
            change: ChangeId { commit: lsn(row.get(1)), ordinal: row.get::<_, i64>(2).unsigned_abs() },
            gone: row.get(3),
            content: row.get::<_, Option<i64>>(5).map(|hash| ContentHash(hash.cast_unsigned())),
        });
        Known { link, held: row.get(4) }
    };
    Ok(rows.iter().map(known).collect())
}

pub(super) async fn linked(client: &tokio_postgres::Client, route: &str) -> Result<u64, Error> {
    let sql = "select count(*) from rowcall.link where route = $1 and not gone";
    Ok(client.query_one(sql, &[&route]).await?.get::<_, i64>(0).unsigned_abs())
}
