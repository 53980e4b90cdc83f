//! How each remote stands: written with the settlements, read by anyone.

use super::status::ALIVE;
use crate::state::RemoteGauges;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use tokio_postgres::{Client, Error, Statement, types::ToSql};

/// One remote, as `rowcall status` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RemoteStatus {
    /// Its name in the configuration.
    pub remote: String,
    /// Whose changes wait.
    pub source: String,
    /// `ready`, `paused`, `open` or `half_open`.
    pub gate: String,
    /// Since when calls do not go through.
    pub since: Option<Timestamp>,
    /// Until when at least.
    pub until: Option<Timestamp>,
    /// What the remote did.
    pub why: Option<String>,
    /// The quota, if the remote told it.
    pub quota_limit: Option<i64>,
    /// How much of it is left.
    pub quota_left: Option<i64>,
    /// How many changes may be under way at once now.
    pub width: i32,
    /// How many at most.
    pub concurrency: i32,
    /// How many are.
    pub in_flight: i32,
    /// How many keys wait for it.
    pub waiting: i64,
    /// When the access token was asked for that calls carry, if they carry one.
    pub token_since: Option<Timestamp>,
    /// Until when it is good, if that was said.
    pub token_until: Option<Timestamp>,
}

/// Clocks differ, so moments travel as distances.
const WRITE: &str = "\
insert into rowcall.remote_status
    (source, remote, gate, since, until, why, quota_limit, quota_left, width, concurrency, in_flight, waiting,
     token_since, token_until)
select $1, remote, gate, now() - since * interval '1 second', now() + until * interval '1 second', why,
       quota_limit, quota_left, width, concurrency, in_flight, waiting,
       now() - token_age * interval '1 second', now() + token_left * interval '1 second'
from unnest($2::text[], $3::text[], $4::float8[], $5::float8[], $6::text[], $7::bigint[], $8::bigint[],
            $9::integer[], $10::integer[], $11::integer[], $12::bigint[], $13::float8[], $14::float8[])
     as t (remote, gate, since, until, why, quota_limit, quota_left, width, concurrency, in_flight, waiting,
           token_age, token_left)
on conflict (source, remote) do update
set gate = excluded.gate, since = excluded.since, until = excluded.until, why = excluded.why,
    quota_limit = excluded.quota_limit, quota_left = excluded.quota_left, width = excluded.width,
    concurrency = excluded.concurrency, in_flight = excluded.in_flight, waiting = excluded.waiting,
    token_since = excluded.token_since, token_until = excluded.token_until, updated_at = now()";

/// What was said by an instance that is not at work any more says nothing about now.
const READ: &str = "\
select remote, source, gate, s.since, until, why, quota_limit, quota_left, width, concurrency, in_flight, waiting,
       token_since, token_until
from rowcall.remote_status s join rowcall.instance i using (source)
where source = any($1) and i.state = 'running' and i.seen_at > now() - $2::text::interval
  and s.updated_at >= i.since
order by remote, source";

pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(WRITE).await
}

pub(super) async fn write(
    client: &Client,
    statement: &Statement,
    source: &str,
    remotes: &BTreeMap<Arc<str>, RemoteGauges>,
) -> Result<(), Error> {
    if remotes.is_empty() {
        return Ok(());
    }
    fn column<T>(remotes: &BTreeMap<Arc<str>, RemoteGauges>, of: impl Fn(&RemoteGauges) -> T) -> Vec<T> {
        remotes.values().map(of).collect()
    }
    let large = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let small = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let names: Vec<&str> = remotes.keys().map(|name| &**name).collect();
    let gates = column(remotes, |it| it.gate);
    let since = column(remotes, |it| it.since.map(|it| it.as_secs_f64()));
    let until = column(remotes, |it| it.until.map(|it| it.as_secs_f64()));
    let why = column(remotes, |it| it.why.as_ref().map(|it| it.replace('\0', "")));
    let limits = column(remotes, |it| it.quota_limit.map(large));
    let left = column(remotes, |it| it.quota_left.map(large));
    let widths = column(remotes, |it| small(it.width));
    let concurrency = column(remotes, |it| small(it.concurrency));
    let in_flight = column(remotes, |it| small(it.in_flight));
    let waiting = column(remotes, |it| large(it.waiting));
    let ages = column(remotes, |it| it.token_age.map(|it| it.as_secs_f64()));
    let lefts = column(remotes, |it| it.token_left.map(|it| it.as_secs_f64()));
    let values: [&(dyn ToSql + Sync); 14] = [
        &source,
        &names,
        &gates,
        &since,
        &until,
        &why,
        &limits,
        &left,
        &widths,
        &concurrency,
        &in_flight,
        &waiting,
        &ages,
        &lefts,
    ];
    client.execute(statement, &values).await?;
    Ok(())
}

/// How the remotes of these sources stand, as far as someone is at work on them.
pub async fn read_remotes(client: &Client, sources: &[String]) -> Result<Vec<RemoteStatus>, Error> {
    let rows = client.query(READ, &[&sources, &ALIVE]).await?;
    let read = |row: &tokio_postgres::Row| RemoteStatus {
        remote: row.get(0),
        source: row.get(1),
        gate: row.get(2),
        since: row.get(3),
        until: row.get(4),
        why: row.get(5),
        quota_limit: row.get(6),
        quota_left: row.get(7),
        width: row.get(8),
        concurrency: row.get(9),
        in_flight: row.get(10),
        waiting: row.get(11),
        token_since: row.get(12),
        token_until: row.get(13),
    };
    Ok(rows.iter().map(read).collect())
}
