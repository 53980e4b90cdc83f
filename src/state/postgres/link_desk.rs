//! Links as a person looks at them: of a key, and from a remote's id back to its key.

use super::lsn;
use crate::{
    model::{ChangeId, ParkReason, ParkedState},
    state::RouteKey,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::{Client, Error, types::Json};

/// What is known of a key at a remote.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LinkLine {
    /// The route.
    pub route: String,
    /// The key.
    pub key: String,
    /// What was saved of it: the remote's ids and the like.
    pub saved: Map<String, Value>,
    /// The newest change that is applied.
    pub change: String,
    /// It was deleted at the remote.
    pub gone: bool,
    /// When it was written last.
    pub synced_at: Timestamp,
}

/// A change of a key that is parked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ParkedLine {
    /// The route.
    pub route: String,
    /// The key.
    pub key: String,
    /// The change.
    pub change: String,
    /// Where it stands.
    pub state: Option<ParkedState>,
    /// Why.
    pub reason: Option<ParkReason>,
}

const COLUMNS: &str = "l.route, l.key, l.saved, l.commit_lsn, l.ordinal, l.gone, l.synced_at";

/// All links are read for it: an index would cost each change, and a person asks seldom.
const BY_VALUE: &str = "\
from rowcall.link l
where (jsonb_path_query_array(saved, '$.*[*]') @> $1 or jsonb_path_query_array(saved, '$.*[*]') @> $2)
  and ($3::text is null or split_part(l.route, '.', 1) = $3)
order by l.route, l.key limit $4";

const BY_KEY: &str = "\
join unnest($1::text[], $2::text[]) as k (route, key) on l.route = k.route and l.key = k.key
order by l.route, l.key";

const PARKED: &str = "\
select p.route, p.key, p.commit_lsn, p.ordinal, p.state, p.reason from rowcall.parked p
join unnest($1::text[], $2::text[]) as k (route, key) on p.route = k.route and p.key = k.key
order by p.route, p.key, p.commit_lsn, p.ordinal limit $3";

/// The links in which this was saved, as a text or as a number, under whatever name.
pub async fn links_with(
    client: &Client,
    value: &str,
    entity: Option<&str>,
    limit: i64,
) -> Result<Vec<LinkLine>, Error> {
    let text = Value::String(value.to_owned());
    let number = serde_json::from_str(value).ok().filter(Value::is_number);
    let number = number.unwrap_or_else(|| text.clone());
    let sql = format!("select {COLUMNS} {BY_VALUE}");
    let rows = client.query(&sql, &[&Json(&text), &Json(&number), &entity, &limit]).await?;
    Ok(rows.iter().map(read_link).collect())
}

/// The links of these keys, as far as there are any.
pub async fn links_of(client: &Client, keys: &[RouteKey]) -> Result<Vec<LinkLine>, Error> {
    let (routes, names) = columns(keys);
    let rows =
        client.query(&format!("select {COLUMNS} from rowcall.link l {BY_KEY}"), &[&routes, &names]).await?;
    Ok(rows.iter().map(read_link).collect())
}

/// What is parked of these keys, in order within a key.
pub async fn parked_of(client: &Client, keys: &[RouteKey], limit: i64) -> Result<Vec<ParkedLine>, Error> {
    let (routes, names) = columns(keys);
    let rows = client.query(PARKED, &[&routes, &names, &limit]).await?;
    let read = |row: &tokio_postgres::Row| ParkedLine {
        route: row.get(0),
        key: row.get(1),
        change: ChangeId { commit: lsn(row.get(2)), ordinal: row.get::<_, i64>(3).unsigned_abs() }
            .to_string(),
        state: ParkedState::from_name(row.get(4)),
        reason: ParkReason::from_name(row.get(5)),
    };
    Ok(rows.iter().map(read).collect())
}

fn columns(keys: &[RouteKey]) -> (Vec<&str>, Vec<&str>) {
    keys.iter().map(|it| (&*it.route, &*it.key)).unzip()
}

fn read_link(row: &tokio_postgres::Row) -> LinkLine {
    LinkLine {
        route: row.get(0),
        key: row.get(1),
        saved: row.get::<_, Json<Map<String, Value>>>(2).0,
        change: ChangeId { commit: lsn(row.get(3)), ordinal: row.get::<_, i64>(4).unsigned_abs() }
            .to_string(),
        gone: row.get(5),
        synced_at: row.get(6),
    }
}
