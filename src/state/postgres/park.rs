//! What a settlement does with parked changes: merge, store, and let the next one of a key go on.

use super::{
    Client, lsn, ordinal,
    parked::Damaged,
    pg_lsn, recall, release,
    settle::{json, parents},
    stored_change,
};
use crate::{
    model::{ChangeId, ParkReason, Parked, ParkedState},
    state::{
        Hold, Parking, RouteKey,
        merge::{self, Merged, Tail},
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio_postgres::{
    Error, Row, Statement,
    types::{PgLsn, ToSql},
};

/// A redelivered change that is parked already, by itself or merged into a newer one, stays as it
/// is. The end of a retry (`again`) is kept only if the change is still there: a person may have
/// discarded it meanwhile.
const PARK: &str = "\
insert into rowcall.parked as p
    (source, route, key, commit_lsn, ordinal, change, answers, state, reason, message, attempts,
     called_lsn, called_ordinal, lets_pass, merges, born, doubt, waits_for_route, waits_for_key, parents,
     replayed_to, requests, replayed_run, next_attempt)
select $1, route, key, commit_lsn, ordinal, change::jsonb, answers::jsonb, state, reason, message, attempts,
       called_lsn, called_ordinal, lets_pass, merges, born, doubt, waits_for_route, waits_for_key, parents::jsonb,
       replayed_to, requests, replayed_run,
       case when state = 'retrying' then now() + wait * interval '1 millisecond' end
from unnest($2::text[], $3::text[], $4::pg_lsn[], $5::bigint[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::integer[], $12::pg_lsn[], $13::bigint[],
            $14::boolean[], $15::boolean[], $16::boolean[], $17::boolean[], $18::bigint[],
            $20::text[], $21::text[], $22::text[], $23::pg_lsn[], $24::integer[], $25::bigint[])
     as t (route, key, commit_lsn, ordinal, change, answers, state, reason, message, attempts,
           called_lsn, called_ordinal, lets_pass, merges, born, doubt, wait, waits_for_route, waits_for_key,
           parents, replayed_to, requests, replayed_run)
where $19 = exists (
    select from rowcall.parked known
    where known.route = t.route and known.key = t.key
      and (known.commit_lsn, known.ordinal) >= (t.commit_lsn, t.ordinal)
      and case when $19 then (known.commit_lsn, known.ordinal) = (t.commit_lsn, t.ordinal)
               else (known.called_lsn, known.called_ordinal) <= (t.commit_lsn, t.ordinal) end)
on conflict (route, key, commit_lsn, ordinal) do update
set answers = excluded.answers, state = excluded.state, reason = excluded.reason,
    message = excluded.message, attempts = excluded.attempts, lets_pass = excluded.lets_pass,
    doubt = excluded.doubt, requests = excluded.requests, next_attempt = excluded.next_attempt,
    waits_for_route = excluded.waits_for_route, waits_for_key = excluded.waits_for_key,
    parents = coalesce(excluded.parents, p.parents),
    updated_at = now()
where $19";

/// The newest parked change of each key, where a newer one may merge with it; the change itself only
/// as long as all of them together are not too much. A person who discards is kept out first, or what
/// merges with a discarded change would go with it.
const ALONE: &str = "lock table rowcall.parked in row exclusive mode";
const TAILS: &str = "\
select route, key, commit_lsn, ordinal, case when used <= $3 then change end, called_lsn, called_ordinal, born
from (
    select q.*, sum(octet_length(q.change)) over (order by q.at) as used
    from (
        select t.at, p.route, p.key, p.commit_lsn, p.ordinal, p.change::text, p.called_lsn, p.called_ordinal, p.born
        from unnest($1::text[], $2::text[]) with ordinality as t (route, key, at)
        cross join lateral (
            select * from rowcall.parked p where p.route = t.route and p.key = t.key
            order by p.commit_lsn desc, p.ordinal desc limit 1
        ) p
        where p.state = 'queued' and p.merges
        offset 0
    ) q
) q";

const REPLACE: &str = "\
update rowcall.parked p
set commit_lsn = t.commit_lsn, ordinal = t.ordinal, change = t.change::jsonb, born = t.born,
    parents = t.parents::jsonb, updated_at = now()
from unnest($1::text[], $2::text[], $3::pg_lsn[], $4::bigint[], $5::pg_lsn[], $6::bigint[], $7::text[],
            $8::boolean[], $9::text[])
     as t (route, key, old_lsn, old_ordinal, commit_lsn, ordinal, change, born, parents)
where (p.route, p.key, p.commit_lsn, p.ordinal) = (t.route, t.key, t.old_lsn, t.old_ordinal)";

/// For each key touched: whether it is still held, and its oldest delete that holds it; a queued head
/// becomes due, and so does one that waits for a parent although its row was never sent and is deleted
/// later, or in vain.
const HEADS: &str = concat!(
    "with head as (
    select t.route, t.key, p.commit_lsn, p.ordinal, p.state, p.reason,
           d.commit_lsn as delete_lsn, d.ordinal as delete_ordinal
    from unnest($1::text[], $2::text[]) as t (route, key)
    left join lateral (
        select commit_lsn, ordinal, state, reason from rowcall.parked p
        where p.route = t.route and p.key = t.key and p.holds order by commit_lsn, ordinal limit 1
    ) p on true
    left join lateral (
        select commit_lsn, ordinal from rowcall.parked d
        where d.route = t.route and d.key = t.key and d.deletes and d.holds order by commit_lsn, ordinal limit 1
    ) d on true
), due as (
    update rowcall.parked p set state = 'retrying', next_attempt = now(), updated_at = now()
    from head h where (h.state = 'queued' or (h.state = 'waiting' and h.reason = 'parent'
                       and (not p.doubt and (h.delete_lsn, h.delete_ordinal) > (h.commit_lsn, h.ordinal) and not exists (
                           select from rowcall.link l where l.route = p.route and l.key = p.key and not l.gone) or ",
    release::in_vain!(),
    ")))
      and (p.route, p.key, p.commit_lsn, p.ordinal) = (h.route, h.key, h.commit_lsn, h.ordinal)
)
select route, key, case
    when commit_lsn is not null then true
    when exists (select from rowcall.parked p where p.route = head.route and p.key = head.key) then false
end, delete_lsn, delete_ordinal, commit_lsn, ordinal from head"
);

/// What was parked under another `on_dead` follows the present one.
const ALIGN: &str = "\
update rowcall.parked p set lets_pass = not p.lets_pass
from unnest($1::text[], $2::boolean[]) as t (route, passes)
where p.route = t.route and p.state in ('rejected', 'dead')
  and p.lets_pass <> (t.passes and p.answers = '[]' and not (p.key = '' and p.reason = 'truncate'))
returning p.route, p.key";

/// What cannot be read is nobody's to carry: a person sees it, and the key's others follow `on_dead`.
const SET_APART: &str = "\
update rowcall.parked p
set state = 'dead', reason = 'damaged', message = t.message, next_attempt = null, updated_at = now()
from unnest($1::text[], $2::text[], $3::pg_lsn[], $4::bigint[], $5::text[])
     as t (route, key, commit_lsn, ordinal, message)
where (p.route, p.key, p.commit_lsn, p.ordinal) = (t.route, t.key, t.commit_lsn, t.ordinal)
  and p.state = 'retrying'";

/// Written at once, at most: their text is not counted against the byte budget.
const ROWS_AT_ONCE: usize = 1_024;
const BYTES_AT_ONCE: usize = 4 << 20;
/// Loaded at once to be merged with, at most: that is not counted against the byte budget either
/// (invariant 5). What is beyond is not merged, but queued.
const TAILS_BYTES: i64 = 4 << 20;

/// The statements, prepared.
#[derive(Debug)]
pub(super) struct Park {
    park: Statement,
    tails: Statement,
    replace: Statement,
    heads: Statement,
}

impl Park {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            park: client.prepare(PARK).await?,
            tails: client.prepare(TAILS).await?,
            replace: client.prepare(REPLACE).await?,
            heads: client.prepare(HEADS).await?,
        })
    }

    /// Merges what may merge, among each other and with what is parked already.
    pub(super) async fn merge(&self, client: &Client, parkings: Vec<Parking>) -> Result<Merged, Error> {
        let keys: BTreeSet<&RouteKey> =
            parkings.iter().filter(|it| merge::may_merge(it)).map(|it| &it.at).collect();
        if keys.is_empty() {
            return Ok(Merged { parkings, ..Merged::default() });
        }
        let (routes, names) = columns(keys.iter().copied());
        let parameters: [&(dyn ToSql + Sync); 3] = [&routes, &names, &TAILS_BYTES];
        let (_, rows) = tokio::try_join!(
            biased;
            client.batch_execute(ALONE),
            client.query(&self.tails, &parameters),
        )?;
        let tails: HashMap<RouteKey, Tail> = rows.iter().map(tail).collect();
        Ok(merge::merge(parkings, tails))
    }

    pub(super) async fn store(&self, client: &Client, source: &str, merged: &Merged) -> Result<(), Error> {
        for chunk in portions(merged.replacing.iter(), |(_, it)| it) {
            self.replace(client, &chunk).await?;
        }
        for again in [false, true] {
            for chunk in portions(merged.parkings.iter().filter(|it| it.again == again), |it| it) {
                self.park(client, source, &chunk, again).await?;
            }
        }
        Ok(())
    }

    async fn park(
        &self,
        client: &Client,
        source: &str,
        chosen: &[&Parking],
        again: bool,
    ) -> Result<(), Error> {
        let all = |of: fn(&Parking) -> String| chosen.iter().map(|it| of(it)).collect::<Vec<String>>();
        let flags = |of: fn(&Parking) -> bool| chosen.iter().map(|it| of(it)).collect::<Vec<bool>>();
        let (routes, keys) = columns(chosen.iter().map(|it| &it.at));
        let commits: Vec<PgLsn> = chosen.iter().map(|it| pg_lsn(it.change.id.commit)).collect();
        let ordinals: Vec<i64> = chosen.iter().map(|it| ordinal(it.change.id)).collect();
        let changes = all(|it| stored_change::write(&it.change));
        let answers = all(|it| json(&it.parked.answers));
        let states: Vec<&str> = chosen.iter().map(|it| it.parked.state.name()).collect();
        let reasons: Vec<&str> = chosen.iter().map(|it| it.parked.reason.name()).collect();
        let messages = all(|it| it.parked.message.replace('\0', ""));
        let counts = |of: fn(&Parking) -> u32| -> Vec<i32> {
            chosen.iter().map(|it| i32::try_from(of(it)).unwrap_or(i32::MAX)).collect()
        };
        let (attempts, requests) = (counts(|it| it.parked.attempts), counts(|it| it.parked.requests));
        let called: Vec<PgLsn> = chosen.iter().map(|it| pg_lsn(it.parked.called.commit)).collect();
        let called_ordinals: Vec<i64> = chosen.iter().map(|it| ordinal(it.parked.called)).collect();
        let (passing, merging) = (flags(|it| it.lets_pass), flags(|it| it.merges));
        let (born, doubt) = (flags(|it| it.born), flags(|it| it.parked.doubt));
        let waits: Vec<i64> = chosen.iter().map(|it| millis(it.parked.wait)).collect();
        let waits_for = |it: &&Parking| {
            let at = it.parked.waits_for.as_ref()?;
            Some((at.route.to_string(), at.key.to_string()))
        };
        let (waits_routes, waits_keys): (Vec<_>, Vec<_>) =
            chosen.iter().map(waits_for).map(Option::unzip).unzip();
        let parents: Vec<Option<String>> = chosen.iter().map(|it| parents(&it.parents)).collect();
        let replayed = || chosen.iter().map(|it| it.replayed);
        let until: Vec<Option<PgLsn>> = replayed().map(|it| it.map(|it| pg_lsn(it.until))).collect();
        let runs: Vec<Option<i64>> = replayed().map(|it| it?.run.map(|run| run.0)).collect();
        let values: [&(dyn ToSql + Sync); 25] = [
            &source,
            &routes,
            &keys,
            &commits,
            &ordinals,
            &changes,
            &answers,
            &states,
            &reasons,
            &messages,
            &attempts,
            &called,
            &called_ordinals,
            &passing,
            &merging,
            &born,
            &doubt,
            &waits,
            &again,
            &waits_routes,
            &waits_keys,
            &parents,
            &until,
            &requests,
            &runs,
        ];
        client.execute(&self.park, &values).await?;
        Ok(())
    }

    async fn replace(&self, client: &Client, chosen: &[&(ChangeId, Parking)]) -> Result<(), Error> {
        let (routes, keys) = columns(chosen.iter().map(|(_, it)| &it.at));
        let old_commits: Vec<PgLsn> = chosen.iter().map(|(old, _)| pg_lsn(old.commit)).collect();
        let old_ordinals: Vec<i64> = chosen.iter().map(|(old, _)| ordinal(*old)).collect();
        let commits: Vec<PgLsn> = chosen.iter().map(|(_, it)| pg_lsn(it.change.id.commit)).collect();
        let ordinals: Vec<i64> = chosen.iter().map(|(_, it)| ordinal(it.change.id)).collect();
        let changes: Vec<String> = chosen.iter().map(|(_, it)| stored_change::write(&it.change)).collect();
        let born: Vec<bool> = chosen.iter().map(|(_, it)| it.born).collect();
        let parents: Vec<Option<String>> = chosen.iter().map(|(_, it)| parents(&it.parents)).collect();
        let values: [&(dyn ToSql + Sync); 9] =
            [&routes, &keys, &old_commits, &old_ordinals, &commits, &ordinals, &changes, &born, &parents];
        client.execute(&self.replace, &values).await?;
        Ok(())
    }

    /// Makes what has given up hold its key, or no longer, as its route says now.
    pub(super) async fn align(&self, client: &Client, routes: &[(Arc<str>, bool)]) -> Result<(), Error> {
        let (names, passing): (Vec<&str>, Vec<bool>) = routes.iter().map(|(name, it)| (&**name, *it)).unzip();
        client.batch_execute("begin").await?;
        client.batch_execute(ALONE).await?;
        let rows = client.query(ALIGN, &[&names, &passing]).await?;
        self.heads(client, &rows.iter().map(route_key).collect()).await?;
        client.batch_execute("commit").await
    }

    /// Takes out of the way what cannot be read.
    pub(super) async fn set_apart(&self, client: &Client, damaged: &[Damaged]) -> Result<(), Error> {
        let (routes, keys) = columns(damaged.iter().map(|it| &it.at));
        let commits: Vec<PgLsn> = damaged.iter().map(|it| pg_lsn(it.id.commit)).collect();
        let ordinals: Vec<i64> = damaged.iter().map(|it| ordinal(it.id)).collect();
        let message = |it: &Damaged| {
            format!(
                "what is stored of this change cannot be read ({}): `rowcall parked discard` gives it up; then touch the row, \
                 so that its present state is sent",
                it.error
            )
        };
        let messages: Vec<String> = damaged.iter().map(message).collect();
        client.batch_execute("begin").await?;
        client.batch_execute(ALONE).await?;
        client.execute(SET_APART, &[&routes, &keys, &commits, &ordinals, &messages]).await?;
        self.heads(client, &damaged.iter().map(|it| it.at.clone()).collect()).await?;
        client.batch_execute("commit").await
    }

    pub(super) async fn heads(&self, client: &Client, touched: &BTreeSet<RouteKey>) -> Result<Heads, Error> {
        let mut heads = Heads::default();
        if touched.is_empty() {
            return Ok(heads);
        }
        let (routes, keys) = columns(touched);
        for row in &client.query(&self.heads, &[&routes, &keys]).await? {
            let at = route_key(row);
            let id = |column: usize| {
                let commit = row.get::<_, Option<PgLsn>>(column)?;
                Some(ChangeId { commit: lsn(commit), ordinal: row.get::<_, i64>(column + 1).unsigned_abs() })
            };
            heads.leaving.extend(id(3).map(|id| (at.clone(), id)));
            heads.oldest.extend(id(5).map(|id| (at.clone(), id)));
            heads.held.push((at, recall::hold(row.get(2))));
        }
        Ok(heads)
    }
}

/// How the keys that a settlement touched stand, and what goes on by it.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) held: Vec<(RouteKey, Hold)>,
    pub(super) leaving: Vec<(RouteKey, ChangeId)>,
    pub(super) oldest: Vec<(RouteKey, ChangeId)>,
    pub(super) released: u64,
}

pub(super) fn columns<'a>(keys: impl IntoIterator<Item = &'a RouteKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|at| (&*at.route, &*at.key)).unzip()
}

fn route_key(row: &Row) -> RouteKey {
    let (route, key): (&str, &str) = (row.get(0), row.get(1));
    RouteKey { route: Arc::from(route), key: Arc::from(key) }
}

/// Cut so that each part can be written at once.
fn portions<'a, T>(all: impl Iterator<Item = &'a T>, parking: fn(&T) -> &Parking) -> Vec<Vec<&'a T>> {
    let (mut portions, mut bytes) = (Vec::<Vec<&T>>::new(), 0);
    for it in all {
        match portions.last_mut() {
            Some(last) if last.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE => last.push(it),
            _ => {
                bytes = 0;
                portions.push(vec![it]);
            }
        }
        bytes += parking(it).change.bytes();
    }
    portions
}

fn millis(wait: Duration) -> i64 {
    i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
}

/// One that was not loaded, or cannot be read, is left alone: whoever takes it up says so.
fn tail(row: &Row) -> (RouteKey, Tail) {
    let at = route_key(row);
    let id = ChangeId { commit: lsn(row.get(2)), ordinal: row.get::<_, i64>(3).unsigned_abs() };
    let stored = row.get::<_, Option<&str>>(4);
    let Some(change) = stored.and_then(|stored| stored_change::read(id, stored).ok()) else {
        return (at, Tail::closed());
    };
    let parked = Parked {
        state: ParkedState::Queued,
        reason: ParkReason::Behind,
        message: String::new(),
        answers: Vec::new(),
        attempts: 0,
        requests: 0,
        called: ChangeId { commit: lsn(row.get(5)), ordinal: row.get::<_, i64>(6).unsigned_abs() },
        wait: Duration::ZERO,
        doubt: false,
        waits_for: None,
    };
    let parking = Parking {
        at: at.clone(),
        change: Arc::new(change),
        parked,
        again: false,
        lets_pass: false,
        merges: true,
        born: row.get(7),
        // What merges with it brings its own.
        parents: Vec::new(),
        replayed: None,
    };
    (at, Tail::stored(parking))
}
