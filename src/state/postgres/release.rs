//! Letting waiting changes go on: a child once its parent is linked, or its key has gone on without
//! it; a deleted parent once its children are not linked.

use super::{ordinal, park::columns, pg_lsn};
use crate::{
    model::ChangeId,
    state::{RELEASED_AT_ONCE, RouteKey, Settlement},
};
use std::collections::BTreeSet;
use tokio_postgres::{Client, Error, Statement, types::PgLsn};

/// Whether `p` waits for its parent in vain: that is not linked, or an older delete of it is parked,
/// and nothing is parked that brings it and is older than one of `p`'s own key which stands behind
/// `p`, does not name that parent and says all that `p` says. By then the row had gone on without that
/// parent; what is newer is another object. What is merged names the same parents: the oldest of it
/// tells when the row had gone on (that of a run's row only names the run).
macro_rules! in_vain {
    () => {
        "(not exists (
            select from rowcall.link l
            where l.route = p.waits_for_route and l.key = p.waits_for_key and not l.gone)
           and exists (
            select from rowcall.parked n
            where n.route = p.route and n.key = p.key and n.holds
              and (n.commit_lsn, n.ordinal) > (p.commit_lsn, p.ordinal)
              and (n.deletes or not coalesce(n.change -> 'row' @> '[{\"unchanged\": true}]', true))
              and not coalesce(n.parents ? (p.waits_for_route || '/' || p.waits_for_key), false)
              and not exists (
                select from rowcall.parked d
                where d.route = p.waits_for_route and d.key = p.waits_for_key
                  and case when n.called_ordinal < 1::bigint << 62
                           then (d.commit_lsn, d.ordinal) < (n.called_lsn, n.called_ordinal)
                           else (d.commit_lsn, d.ordinal) < (n.commit_lsn, n.ordinal) end)))"
    };
}

pub(super) use in_vain;

/// Whether the parked change `c` of a child keeps a younger delete of its parent waiting: see
/// [`crate::state::Leaving`].
macro_rules! keeps_parent {
    ($delete_may_be_sent:literal) => {
        concat!(
            "(c.state not in ('rejected', 'dead') and not exists (
                select from rowcall.parked h
                where h.route = c.route and h.key = c.key and h.state in ('rejected', 'dead') and h.holds
                  and (h.commit_lsn, h.ordinal) < (c.commit_lsn, c.ordinal))
              or not (",
            $delete_may_be_sent,
            " and c.state in ('rejected', 'dead') and c.answers = '[]')
              and (c.answers <> '[]' or c.doubt and not ",
            $delete_may_be_sent,
            " or exists (
                select from rowcall.link o where o.route = c.route and o.key = c.key and not o.gone)
              or (select h.answers <> '[]' or h.doubt and not ",
            $delete_may_be_sent,
            " from rowcall.parked h where h.route = c.route and h.key = c.key and h.holds
                  order by h.commit_lsn, h.ordinal limit 1)))"
        )
    };
}

pub(super) use keeps_parent;

const IN_VAIN: &str = concat!(
    "select ",
    in_vain!(),
    " from unnest($1::text[], $2::text[], $3::pg_lsn[], $4::bigint[], $5::text[], $6::text[]) with ordinality
     as p (route, key, commit_lsn, ordinal, waits_for_route, waits_for_key, at)
     order by at"
);

/// Whether each of these parked changes would wait for this parent in vain.
pub(super) async fn wait_in_vain(
    client: &Client,
    waits: &[(RouteKey, ChangeId, RouteKey)],
) -> Result<Vec<bool>, Error> {
    let (routes, keys) = columns(waits.iter().map(|(at, ..)| at));
    let commits: Vec<PgLsn> = waits.iter().map(|(_, id, _)| pg_lsn(id.commit)).collect();
    let ordinals: Vec<i64> = waits.iter().map(|(_, id, _)| ordinal(*id)).collect();
    let (parents, parent_keys) = columns(waits.iter().map(|(.., parent)| parent));
    let rows = client.query(IN_VAIN, &[&routes, &keys, &commits, &ordinals, &parents, &parent_keys]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether the waiting change `p` has nothing to wait for. An older delete of the parent that is
/// parked comes first: the link that is there now goes with it. Only rows of these routes are children,
/// where it is known which are deleted at all.
macro_rules! free {
    ($routes:literal) => {
        concat!(
            "case p.reason when 'children' then not exists (
            select from rowcall.link l
            where l.parents ? (p.waits_for_route || '/' || p.waits_for_key) and not l.gone
              and (",
            $routes,
            "::text[] is null or l.route = any(",
            $routes,
            ")))
           and not exists (
            select from rowcall.parked c
            where c.parents ? (p.waits_for_route || '/' || p.waits_for_key)
              and (c.commit_lsn, c.ordinal) < (p.commit_lsn, p.ordinal)
              and (",
            $routes,
            "::text[] is null or c.route = any(",
            $routes,
            "))
              and ",
            keeps_parent!("p.doubt"),
            ")
         else ",
            in_vain!(),
            " or exists (
            select from rowcall.link l
            where l.route = p.waits_for_route and l.key = p.waits_for_key and not l.gone)
           and not exists (
            select from rowcall.parked d
            where d.route = p.waits_for_route and d.key = p.waits_for_key and d.deletes and d.holds
              and (d.commit_lsn, d.ordinal) < (p.commit_lsn, p.ordinal))
         end"
        )
    };
}

/// The waiting changes that go on, so many of them at once.
const RELEASE: &str = concat!(
    "update rowcall.parked p set state = 'retrying', next_attempt = now(), updated_at = now()
     from (
        select p.id from unnest($1::text[], $2::text[]) as t (route, key)
        join rowcall.parked p on p.waits_for_route = t.route and p.waits_for_key = t.key
        where p.state = 'waiting' and ",
    free!("$4"),
    " limit $3
     ) f
     where p.id = f.id"
);

/// So many keys are enough for one sweep: the next one finds the rest.
const FREE: &str = concat!(
    "select distinct p.waits_for_route, p.waits_for_key from rowcall.parked p
     where p.source = $1 and p.state = 'waiting' and ",
    free!("$2"),
    " limit 1000"
);

pub(super) async fn prepare(client: &Client) -> Result<Statement, Error> {
    client.prepare(RELEASE).await
}

/// Keys whose waiting changes may go on.
pub(super) async fn free(
    client: &Client,
    source: &str,
    deleting: Option<&[String]>,
) -> Result<Vec<RouteKey>, Error> {
    let rows = client.query(FREE, &[&source, &deleting]).await?;
    Ok(rows.iter().map(|row| key(row.get(0), row.get(1))).collect())
}

fn key(route: &str, key: &str) -> RouteKey {
    RouteKey { route: route.into(), key: key.into() }
}

/// What a settlement stirs: what it says itself, and what the changes it parks wait for, since that
/// may have come meanwhile.
pub(super) fn stirred(settlement: &Settlement) -> BTreeSet<&RouteKey> {
    let parked = settlement.parkings.iter().filter_map(|it| it.parked.waits_for.as_ref());
    settlement.stirred.iter().chain(parked).collect()
}

pub(super) async fn release(
    client: &Client,
    statement: &Statement,
    deleting: Option<&[String]>,
    keys: impl IntoIterator<Item = &RouteKey>,
) -> Result<u64, Error> {
    let (routes, keys) = columns(keys);
    if routes.is_empty() {
        return Ok(0);
    }
    let most = i64::try_from(RELEASED_AT_ONCE).unwrap_or(i64::MAX);
    client.execute(statement, &[&routes, &keys, &most, &deleting]).await
}
