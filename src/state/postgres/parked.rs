//! Reading the parked changes whose time has come.

use super::{failed, lsn, ordinal, pg_lsn, stored_change};
use crate::{
    model::{Answered, ChangeId, RunId},
    state::{Again, Due, Place, RouteKey, StateError, Wanted},
};
use jiff::Timestamp;
use std::sync::Arc;
use tokio_postgres::{Row, types::PgLsn};

/// Route by route, so that none has to look past another's. Only the oldest that holds its key may
/// run, and an insert half of a key change only once its delete half has been sent, or waits for
/// children, which may have to move to the new key first; positions at zero are of another database, where halves are not known any more.
///
/// The running sum is taken over the few rows that are left by the limit.
const DUE: &str = "\
select d.route, d.key, d.commit_lsn, d.ordinal, d.change, d.answers, d.called_lsn, d.called_ordinal,
       d.attempts, d.doubt, d.born, d.next_attempt, d.replayed_to, d.requests,
       d.replayed_run
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::pg_lsn[], $7::bigint[], $8::text[])
     as w (route, at_most, bytes, after_due, after_lsn, after_ordinal, after_key)
cross join lateral (
    select *, sum(octet_length(l.change) + octet_length(l.answers))
              over (order by l.next_attempt, l.commit_lsn, l.ordinal, l.key) as used,
           row_number() over (order by l.next_attempt, l.commit_lsn, l.ordinal, l.key) as number
    from (
        select p.route, p.key, p.commit_lsn, p.ordinal, p.change::text, p.answers::text, p.called_lsn,
               p.called_ordinal, p.attempts, p.doubt, p.born, p.next_attempt, p.replayed_to,
               p.requests, p.replayed_run
        from rowcall.parked p
        where p.source = $1 and p.route = w.route and p.state = 'retrying' and p.next_attempt <= now()
          and (p.next_attempt, p.commit_lsn, p.ordinal, p.key)
              > (w.after_due, w.after_lsn, w.after_ordinal, w.after_key)
          and not exists (
            select from rowcall.parked older
            where older.route = p.route and older.key = p.key and older.holds
              and (older.commit_lsn, older.ordinal) < (p.commit_lsn, p.ordinal))
          and not (p.ordinal % 2 = 1 and p.commit_lsn > '0/0' and p.change ->> 'op' = 'insert' and exists (
            select from rowcall.parked half
            where half.route = p.route and half.commit_lsn = p.commit_lsn and half.ordinal = p.ordinal - 1
              and half.change ->> 'op' = 'delete' and half.state in ('retrying', 'queued')))
        order by p.next_attempt, p.commit_lsn, p.ordinal, p.key
        limit w.at_most
    ) l
) d
where d.number = 1 or d.used <= w.bytes
order by d.next_attempt, d.commit_lsn, d.ordinal, d.key";

pub(super) async fn due(
    client: &tokio_postgres::Client,
    source: &str,
    wanted: &[Wanted],
) -> Result<(Vec<Due>, Vec<Damaged>), StateError> {
    let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    let after = |it: &Wanted| it.after.clone().unwrap_or_else(before_all);
    let routes: Vec<&str> = wanted.iter().map(|it| &*it.route).collect();
    let limits: Vec<i64> = wanted.iter().map(|it| number(it.limit)).collect();
    let bytes: Vec<i64> = wanted.iter().map(|it| number(it.bytes)).collect();
    let after: Vec<Place> = wanted.iter().map(after).collect();
    let times: Vec<Timestamp> = after.iter().map(|it| it.due).collect();
    let commits: Vec<PgLsn> = after.iter().map(|it| pg_lsn(it.id.commit)).collect();
    let ordinals: Vec<i64> = after.iter().map(|it| ordinal(it.id)).collect();
    let keys: Vec<&str> = after.iter().map(|it| &*it.key).collect();
    let rows = client
        .query(DUE, &[&source, &routes, &limits, &bytes, &times, &commits, &ordinals, &keys])
        .await
        .map_err(failed("reading parked changes"))?;
    let (mut due, mut damaged) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let at = RouteKey { route: Arc::from(row.get::<_, &str>(0)), key: Arc::from(row.get::<_, &str>(1)) };
        let id = ChangeId { commit: lsn(row.get(2)), ordinal: row.get::<_, i64>(3).unsigned_abs() };
        match read(row, at.clone(), id) {
            Ok(read) => due.push(read),
            Err(error) => damaged.push(Damaged { at, id, error: error.to_string() }),
        }
    }
    Ok((due, damaged))
}

/// A parked change of which cannot be read what is stored.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) at: RouteKey,
    pub(super) id: ChangeId,
    pub(super) error: String,
}

/// No key is empty there, and no change of ours is this old.
fn before_all() -> Place {
    Place { due: Timestamp::UNIX_EPOCH, id: ChangeId::default(), key: Arc::from("") }
}

fn read(row: &Row, at: RouteKey, id: ChangeId) -> Result<Due, serde_json::Error> {
    let answers: Vec<Answered> = serde_json::from_str(row.get(5))?;
    let key = Arc::clone(&at.key);
    Ok(Due {
        at,
        change: stored_change::read(id, row.get(4))?,
        answers,
        called: ChangeId { commit: lsn(row.get(6)), ordinal: row.get::<_, i64>(7).unsigned_abs() },
        attempts: row.get::<_, i32>(8).unsigned_abs(),
        requests: row.get::<_, i32>(13).unsigned_abs(),
        doubt: row.get(9),
        born: row.get(10),
        replayed: row
            .get::<_, Option<PgLsn>>(12)
            .map(|until| Again { until: lsn(until), run: row.get::<_, Option<i64>>(14).map(RunId) }),
        place: Place { due: row.get(11), id, key },
    })
}
