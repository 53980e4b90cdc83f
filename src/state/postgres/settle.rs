//! One settlement, one transaction, one round trip.

use super::{
    Client, failed, lsn, ordinal,
    park::{Heads, Park},
    parked::Damaged,
    pg_lsn, release, remote_status, runs, write_back,
};
use crate::{
    model::{ChangeId, Lsn},
    postgres,
    state::{Checkpoint, RouteCounts, RouteKey, Saved, Settled, Settlement, StateError},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio_postgres::{
    Error, Statement,
    types::{PgLsn, ToSql},
};

const LINKS: &str = "\
insert into rowcall.link as l
    (route, key, saved, commit_lsn, ordinal, gone, parents, content, replayed_lsn, replayed_ordinal)
select route, key, saved::jsonb, commit_lsn, ordinal, gone, parents::jsonb, content, replayed_lsn, replayed_ordinal
from unnest($1::text[], $2::text[], $3::text[], $4::pg_lsn[], $5::bigint[], $6::boolean[], $7::text[],
            $8::bigint[], $9::pg_lsn[], $10::bigint[])
     as t (route, key, saved, commit_lsn, ordinal, gone, parents, content, replayed_lsn, replayed_ordinal)
on conflict (route, key) do update
set saved = excluded.saved, commit_lsn = excluded.commit_lsn, ordinal = excluded.ordinal,
    gone = excluded.gone, parents = excluded.parents, content = excluded.content,
    replayed_lsn = excluded.replayed_lsn, replayed_ordinal = excluded.replayed_ordinal,
    synced_at = now()";

const RESOLVE: &str = "\
delete from rowcall.parked p
using unnest($1::text[], $2::text[], $3::pg_lsn[], $4::bigint[]) as t (route, key, commit_lsn, ordinal)
where (p.route, p.key, p.commit_lsn, p.ordinal) = (t.route, t.key, t.commit_lsn, t.ordinal)";

const COUNTS: &str = "\
insert into rowcall.route_status as s
    (source, route, applied, skipped, parked, in_flight, backing_off, last_error, last_error_at)
select $1, route, applied, skipped, parked, in_flight, backing_off, error,
       case when error is not null then now() end
from unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])
     as t (route, applied, skipped, parked, in_flight, backing_off, error)
on conflict (route) do update
set source = excluded.source, applied = s.applied + excluded.applied,
    skipped = s.skipped + excluded.skipped, parked = s.parked + excluded.parked,
    in_flight = excluded.in_flight, backing_off = excluded.backing_off,
    last_error = coalesce(excluded.last_error, s.last_error),
    last_error_at = coalesce(excluded.last_error_at, s.last_error_at), updated_at = now()";

/// Gone links are kept only until no redelivery can reach them any more, and no parked change that
/// is older than the delete. A commit may begin where the last settled one ended. A replay must not
/// bring back what was deleted since it began, nor what it has deleted itself, if it goes on after a crash.
const FORGET: &str = "\
delete from rowcall.link l
where l.gone and l.commit_lsn < least($2, (
      select min(r.base_lsn) from rowcall.run r
      where r.source = $1 and r.kind = 'replay' and r.finished_at is null))
  and l.route in (select route from rowcall.route_status where source = $1)
  and not exists (select from rowcall.parked p where p.route = l.route and p.key = l.key)
  and (l.replayed_lsn is null or not exists (
      select from rowcall.run r where r.source = $1 and r.kind = 'replay' and r.finished_at is null))";

const CHECKPOINT: &str = "\
update rowcall.checkpoint
set lsn = greatest(lsn, $2), committed_at = greatest(committed_at, $3), updated_at = now()
where source = $1 returning lsn";

const PENDING: &str = "\
update rowcall.instance set pending_since = $2, received_lsn = coalesce($3, received_lsn), seen_at = now()
where source = $1";

/// Positions of another database, or another timeline, say nothing about this one: by them its
/// changes would be taken for old ones and left out. So it is where the checkpoint goes back, since the
/// database may be an older copy of itself. And changes that were sent just before may be
/// among those given up, so nothing is certain any more of what the remotes were told.
const BIND: &str = "\
with moved as (
    select from rowcall.checkpoint where source = $1 and ((system_id, timeline) <> ($2, $3) or lsn > $5)
), renumbered as (
    -- Their order within the key is kept, ahead of everything that is still to come.
    update rowcall.parked p
    set commit_lsn = '0/0', ordinal = n.ordinal, called_lsn = '0/0', called_ordinal = n.ordinal, merges = false,
        replayed_to = null, replayed_run = null
    from (
        select id, commit_lsn,
               row_number() over (partition by route, key order by commit_lsn, ordinal)
               + coalesce(max(ordinal) filter (where commit_lsn = '0/0') over (partition by route, key), 0) as ordinal
        from rowcall.parked where source = $1
    ) n
    where exists (select from moved) and p.id = n.id and n.commit_lsn > '0/0'
), forgotten as (
    update rowcall.link
    set commit_lsn = case when exists (select from moved) then '0/0' else commit_lsn end,
        ordinal = case when exists (select from moved) then 0 else ordinal end,
        content = null, replayed_lsn = null, replayed_ordinal = null
    where (exists (select from moved) or content is not null)
      and route in (select route from rowcall.route_status where source = $1)
), restarted as (
    -- A base that is ahead of this log would make what follows look old.
    update rowcall.run
    set state = case when state = 'running' then 'requested' else state end, base_lsn = null,
        started_at = null, cursor = null, expected = null, read = 0, applied = 0, skipped = 0,
        parked = 0, updated_at = now()
    where source = $1 and finished_at is null and kind <> 'replay' and exists (select from moved)
), bygone as (
    update rowcall.run
    set state = 'failed', finished_at = now(), updated_at = now(),
        error = 'the log that it was to send again is that of a former database'
    where source = $1 and finished_at is null and kind = 'replay' and exists (select from moved)
), pointless as (
    delete from rowcall.replay_point where source = $1 and exists (select from moved)
), strangers as (
    -- Ids of transactions are the former database's.
    update rowcall.write_back set transaction = null
    where source = $1 and transaction is not null and exists (select from moved)
)
insert into rowcall.checkpoint (source, system_id, timeline, slot, lsn, committed_at)
values ($1, $2, $3, $4, $5, $6)
on conflict (source) do update
set system_id = excluded.system_id, timeline = excluded.timeline, slot = excluded.slot,
    lsn = excluded.lsn, committed_at = excluded.committed_at, updated_at = now()";

const SPREAD: &str = "\
with whole as (
    delete from rowcall.parked where route = $1 and key = '' and commit_lsn = $2 and ordinal = $3
    returning *
), spread as (
    insert into rowcall.parked
        (source, route, key, commit_lsn, ordinal, change, state, reason, message,
         called_lsn, called_ordinal, lets_pass, doubt, next_attempt)
    select w.source, w.route, l.key, w.commit_lsn, w.ordinal, w.change, 'retrying', 'truncate',
           w.message, w.called_lsn, w.called_ordinal, w.lets_pass, w.doubt, now()
    from whole w join rowcall.link l on l.route = w.route and not l.gone
         and (l.commit_lsn, l.ordinal) < (w.commit_lsn, w.ordinal)
    on conflict do nothing
    returning 1
)
select count(*) from spread";

/// How many settlements pass between two clean-ups of gone links.
const FORGET_EVERY: u32 = 64;

/// The one connection that writes, with its statements prepared.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) source: String,
    links: Statement,
    resolve: Statement,
    park: Park,
    release: Statement,
    counts: Statement,
    remotes: Statement,
    runs: Statement,
    forget: Statement,
    checkpoint: Statement,
    pending: Statement,
    pub(super) owe: Statement,
    pub(super) forgive: Statement,
    settlements: u32,
    /// The routes whose rows are deleted at their remote, once that is known.
    pub(super) deleting: Option<Vec<String>>,
}

impl Writer {
    pub(super) async fn prepare(client: Client, source: &str) -> Result<Self, Error> {
        Ok(Self {
            links: client.prepare(LINKS).await?,
            resolve: client.prepare(RESOLVE).await?,
            park: Park::prepare(&client).await?,
            release: release::prepare(&client).await?,
            counts: client.prepare(COUNTS).await?,
            remotes: remote_status::prepare(&client).await?,
            runs: runs::prepare(&client).await?,
            forget: client.prepare(FORGET).await?,
            checkpoint: client.prepare(CHECKPOINT).await?,
            pending: client.prepare(PENDING).await?,
            owe: client.prepare(write_back::OWE).await?,
            forgive: client.prepare(write_back::FORGIVE).await?,
            client,
            source: source.to_owned(),
            settlements: 0,
            deleting: None,
        })
    }

    pub(super) async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Checkpoint { binding, lsn, committed_at } = checkpoint;
        let timeline = i32::try_from(binding.timeline).unwrap_or(i32::MAX);
        let at = pg_lsn(*lsn);
        self.client
            .execute(BIND, &[&self.source, &binding.system_id, &timeline, &binding.slot, &at, committed_at])
            .await?;
        Ok(())
    }

    pub(super) async fn align(&self, routes: &[(Arc<str>, bool)]) -> Result<(), Error> {
        let aligned = self.park.align(&self.client, routes).await;
        if aligned.is_err() {
            let _ = self.client.batch_execute("rollback").await;
        }
        aligned
    }

    pub(super) async fn set_apart(&self, damaged: &[Damaged]) -> Result<(), Error> {
        let set_apart = self.park.set_apart(&self.client, damaged).await;
        if set_apart.is_err() {
            let _ = self.client.batch_execute("rollback").await;
        }
        set_apart
    }

    pub(super) async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, Error> {
        let row = self.client.query_one(SPREAD, &[&route, &pg_lsn(id.commit), &ordinal(id)]).await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// Statements are sent without waiting for each other's answers; the commit is sent once all
    /// of them have succeeded.
    pub(super) async fn settle(&mut self, settlement: Settlement) -> Result<Settled, StateError> {
        self.settlements = self.settlements.wrapping_add(1);
        match self.write(settlement).await {
            Ok((Some(through), heads)) => {
                self.client.batch_execute("commit").await.map_err(failed("settling"))?;
                let Heads { held, leaving, oldest, released } = heads;
                Ok(Settled { saved: Saved(through), held, leaving, oldest, released })
            }
            failure => {
                // The connection may live on; its transaction must not.
                let _ = self.client.batch_execute("rollback").await;
                let lost = || format!("source `{}` has lost its checkpoint row", self.source);
                let message = failure.err().map_or_else(lost, |error| postgres::explain(&error));
                Err(StateError { doing: "settling", message })
            }
        }
    }

    /// What is parked comes before the links: whoever discards locks in that order too.
    async fn write(&self, mut settlement: Settlement) -> Result<(Option<Lsn>, Heads), Error> {
        let keys = Keys::of(&settlement);
        let parkings = std::mem::take(&mut settlement.parkings);
        // What is let go on is parked and comes last: whoever discards must be ahead of all this, or
        // behind it.
        let begin = if keys.stirred.is_empty() {
            "begin"
        } else {
            "begin; lock table rowcall.parked in row exclusive mode"
        };
        let begin = self.client.batch_execute(begin);
        if parkings.is_empty() {
            let ((), written) = tokio::try_join!(biased; begin, self.rest(&settlement, &keys))?;
            return Ok(written);
        }
        let ((), merged) = tokio::try_join!(biased; begin, self.park.merge(&self.client, parkings))?;
        self.park.store(&self.client, &self.source, &merged).await?;
        self.rest(&settlement, &keys).await
    }

    async fn rest(&self, settlement: &Settlement, keys: &Keys) -> Result<(Option<Lsn>, Heads), Error> {
        let (_, heads, _, _, released, _, _, _, _, rows) = tokio::try_join!(
            biased;
            self.resolved(settlement),
            self.park.heads(&self.client, &keys.touched),
            self.links(settlement),
            self.owe(&settlement.write_backs),
            release::release(&self.client, &self.release, self.deleting.as_deref(), &keys.stirred),
            self.counts(settlement),
            remote_status::write(&self.client, &self.remotes, &self.source, &settlement.remotes),
            runs::advance(&self.client, &self.runs, &self.source, &settlement.runs),
            self.forget(settlement),
            self.checkpoint(settlement),
        )?;
        Ok((rows, Heads { released, ..heads }))
    }

    async fn checkpoint(&self, settlement: &Settlement) -> Result<Option<Lsn>, Error> {
        let through = pg_lsn(settlement.through.unwrap_or_default());
        let received = settlement.received.map(pg_lsn);
        let pending: [&(dyn ToSql + Sync); 3] = [&self.source, &settlement.pending_since, &received];
        let checkpoint: [&(dyn ToSql + Sync); 3] = [&self.source, &through, &settlement.committed_at];
        let (_, rows) = tokio::try_join!(
            biased;
            self.client.execute(&self.pending, &pending),
            self.client.query(&self.checkpoint, &checkpoint),
        )?;
        Ok(rows.first().map(|row| lsn(row.get(0))))
    }

    async fn forget(&self, settlement: &Settlement) -> Result<(), Error> {
        if let Some(through) = settlement.through
            && self.settlements.is_multiple_of(FORGET_EVERY)
        {
            self.client.execute(&self.forget, &[&self.source, &pg_lsn(through)]).await?;
        }
        Ok(())
    }

    async fn links(&self, settlement: &Settlement) -> Result<(), Error> {
        let links = &settlement.links;
        if links.is_empty() {
            return Ok(());
        }
        let routes: Vec<&str> = links.iter().map(|(at, _)| &*at.route).collect();
        let keys: Vec<&str> = links.iter().map(|(at, _)| &*at.key).collect();
        let saved: Vec<String> = links.iter().map(|(_, link)| json(&link.saved)).collect();
        let commits: Vec<PgLsn> = links.iter().map(|(_, link)| pg_lsn(link.change.commit)).collect();
        let ordinals: Vec<i64> = links.iter().map(|(_, link)| ordinal(link.change)).collect();
        let gone: Vec<bool> = links.iter().map(|(_, link)| link.gone).collect();
        let parents: Vec<Option<String>> = links.iter().map(|(_, link)| parents(&link.parents)).collect();
        let content: Vec<Option<i64>> =
            links.iter().map(|(_, link)| link.content.map(|hash| hash.0.cast_signed())).collect();
        let replayed = links.iter().map(|(_, link)| link.replayed);
        let (replayed, again): (Vec<_>, Vec<_>) =
            replayed.map(|it| it.map(|id| (pg_lsn(id.commit), ordinal(id))).unzip()).unzip();
        let values: [&(dyn ToSql + Sync); 10] =
            [&routes, &keys, &saved, &commits, &ordinals, &gone, &parents, &content, &replayed, &again];
        self.client.execute(&self.links, &values).await?;
        Ok(())
    }

    async fn resolved(&self, settlement: &Settlement) -> Result<(), Error> {
        let resolved = &settlement.resolved;
        if resolved.is_empty() {
            return Ok(());
        }
        let routes: Vec<&str> = resolved.iter().map(|(at, _)| &*at.route).collect();
        let keys: Vec<&str> = resolved.iter().map(|(at, _)| &*at.key).collect();
        let commits: Vec<PgLsn> = resolved.iter().map(|(_, id)| pg_lsn(id.commit)).collect();
        let ordinals: Vec<i64> = resolved.iter().map(|(_, id)| ordinal(*id)).collect();
        self.client.execute(&self.resolve, &[&routes, &keys, &commits, &ordinals]).await?;
        Ok(())
    }

    pub(super) async fn sweep(&self, keys: &[RouteKey]) -> Result<u64, Error> {
        release::release(&self.client, &self.release, self.deleting.as_deref(), keys).await
    }

    async fn counts(&self, settlement: &Settlement) -> Result<(), Error> {
        let counts = &settlement.counts;
        if counts.is_empty() {
            return Ok(());
        }
        let numbers = |of: fn(&RouteCounts) -> u64| {
            let number = |(_, it): &(_, _)| i64::try_from(of(it)).unwrap_or(i64::MAX);
            counts.iter().map(number).collect::<Vec<i64>>()
        };
        let routes: Vec<&str> = counts.iter().map(|(route, _)| &**route).collect();
        let (applied, skipped) = (numbers(|it| it.applied), numbers(|it| it.skipped));
        let (parked, in_flight) = (numbers(|it| it.parked), numbers(|it| it.in_flight));
        let backing_off = numbers(|it| it.backing_off);
        let errors: Vec<Option<String>> = counts
            .iter()
            .map(|(_, it)| it.last_error.as_ref().map(|error| error.replace('\0', "")))
            .collect();
        let values: [&(dyn ToSql + Sync); 8] =
            [&self.source, &routes, &applied, &skipped, &parked, &in_flight, &backing_off, &errors];
        self.client.execute(&self.counts, &values).await?;
        Ok(())
    }
}

/// The keys that a settlement touches, and those whose waiting changes may go on by it.
struct Keys {
    touched: BTreeSet<RouteKey>,
    stirred: BTreeSet<RouteKey>,
}

impl Keys {
    fn of(settlement: &Settlement) -> Self {
        let parked = settlement.parkings.iter().map(|it| &it.at);
        let touched = settlement.resolved.iter().map(|(at, _)| at).chain(parked).cloned().collect();
        Self { touched, stirred: release::stirred(settlement).into_iter().cloned().collect() }
    }
}

/// What a row depends on, as it is stored; nothing for most.
pub(super) fn parents(keys: &[RouteKey]) -> Option<String> {
    let names: Vec<String> = keys.iter().map(|at| format!("{}/{}", at.route, at.key)).collect();
    (!names.is_empty()).then(|| json(&names))
}

/// Maps and answers of ours hold nothing that JSON cannot say.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    without_nul(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
}

/// `jsonb` cannot hold NUL. A backslash is taken with what it escapes: in `\\u0000` there is none.
fn without_nul(json: String) -> String {
    const NUL: &str = "\\u0000";
    if !json.contains(NUL) {
        return json;
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        kept.push_str(before);
        // What follows a backslash in JSON is ASCII.
        let (escape, behind) = match escape.strip_prefix(NUL) {
            Some(behind) => ("", behind),
            None => escape.split_at_checked(2).unwrap_or((escape, "")),
        };
        kept.push_str(escape);
        rest = behind;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::without_nul;
    use crate::model::ParkedState;

    #[test]
    fn nul_is_left_out_and_what_only_looks_like_it_stays() {
        for (text, kept) in [("a\0b\0", "ab"), ("\\u0000", "\\u0000"), ("\\\0\"", "\\\""), ("\0\\", "\\")] {
            let json = without_nul(serde_json::json!([text]).to_string());
            assert_eq!(serde_json::from_str::<Vec<String>>(&json).expect(&json), [kept], "{text:?}");
        }
    }

    #[test]
    fn a_state_is_named_in_the_table_as_in_the_model() {
        let table = super::super::migrations_sql();
        for state in ParkedState::ALL {
            assert!(table.contains(&format!("'{}'", state.name())), "{state:?}");
        }
    }
}
