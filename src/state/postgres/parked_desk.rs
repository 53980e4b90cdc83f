//! What an operator does with parked changes: list, show, retry, discard.

use super::{lsn, pg_lsn, stored_change};
use crate::model::{Answered, Change, ChangeId, Lsn, ParkReason, ParkedState};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::{fmt, str::FromStr, time::Duration};
use tokio_postgres::{
    Client, Error, Row,
    types::{PgLsn, ToSql},
};

/// Which parked changes are meant. Everything left out matches.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// By their ids.
    pub ids: Vec<i64>,
    /// Of this route.
    pub route: Option<String>,
    /// Of this key.
    pub key: Option<String>,
    /// In this state.
    pub state: Option<ParkedState>,
    /// For this reason.
    pub reason: Option<ParkReason>,
    /// Parked for longer than this.
    pub older_than: Option<Duration>,
    /// Parked for no longer than this.
    pub newer_than: Option<Duration>,
}

/// How many changes of a route are parked in one state for one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Total {
    /// The route.
    pub route: String,
    /// Where they stand.
    pub state: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: i64,
    /// Since when the oldest of them.
    pub oldest: Timestamp,
}

/// One line of the list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Listed {
    /// What a person names it by.
    pub id: i64,
    /// Its source.
    pub source: String,
    /// Its route.
    pub route: String,
    /// Its key; empty for a truncate, which concerns every key.
    pub key: String,
    /// Commit position of its transaction.
    pub commit: Lsn,
    /// Its place in the transaction.
    pub ordinal: u64,
    /// What happened to the row.
    pub op: String,
    /// Where it stands.
    pub state: String,
    /// Why.
    pub reason: String,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// Attempts taken.
    pub attempts: i32,
    /// Since when.
    pub parked_at: Timestamp,
    /// The next attempt, if there is to be one.
    pub next_attempt: Option<Timestamp>,
}

/// A place in the list. What stood there may have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source, which says in which database the place is.
    pub source: String,
    route: String,
    key: String,
    commit: Lsn,
    ordinal: u64,
}

impl Place {
    fn values(&self) -> (&str, &str, PgLsn, i64) {
        (&self.route, &self.key, pg_lsn(self.commit), self.ordinal.cast_signed())
    }
}

impl Listed {
    /// Where it stands.
    pub fn place(&self) -> Place {
        let Self { source, route, key, commit, ordinal, .. } = self;
        let (source, route, key) = (source.clone(), route.clone(), key.clone());
        Place { source, route, key, commit: *commit, ordinal: *ordinal }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, route, key, commit, ordinal } = self;
        write!(f, "{}", json!([source, route, key, commit.to_string(), ordinal]))
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = serde_json::from_str::<(String, String, String, String, u64)>(text);
        let (source, route, key, commit, ordinal) = read.map_err(|error| error.to_string())?;
        let commit = commit.parse::<Lsn>().map_err(|error| error.to_string())?;
        if [&source, &route, &key].iter().any(|it| it.contains('\0')) || i64::try_from(ordinal).is_err() {
            return Err("no change is there".to_owned());
        }
        Ok(Self { source, route, key, commit, ordinal })
    }
}

/// A part of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Its beginning.
    First,
    /// What comes behind this.
    Behind(Place),
    /// The last of what comes before this.
    Before(Place),
    /// Its end.
    Last,
}

/// Everything about one parked change.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// The line of the list.
    #[serde(flatten)]
    pub listed: Listed,
    /// The change as it is stored.
    pub change: Value,
    /// The answers so far.
    pub answers: Value,
}

/// Works on the state database over a connection of its own; a running service notices by itself.
#[derive(Debug)]
pub struct ParkedDesk<'a> {
    /// Any connection to the state database.
    pub client: &'a mut Client,
}

const COLUMNS: &str = "\
p.id, p.route, p.key, p.commit_lsn, p.ordinal, p.change ->> 'op', p.state, p.reason, p.message,
p.attempts, p.parked_at, p.next_attempt, p.source";

const MATCHES: &str = "\
(cardinality($1::bigint[]) = 0 or p.id = any($1)) and ($2::text is null or p.route = $2)
and ($3::text is null or p.key = $3) and ($4::text is null or p.state = $4)
and ($5::text is null or p.reason = $5)
and ($6::float8 is null or p.parked_at < now() - make_interval(secs => $6))
and ($7::float8 is null or p.parked_at >= now() - make_interval(secs => $7))";

impl ParkedDesk<'_> {
    /// The oldest first within each key.
    pub async fn list(&self, filter: &Filter, page: &Page, limit: i64) -> Result<Vec<Listed>, Error> {
        let filter = filter.values();
        let mut values = filter.refs();
        values.push(&limit);
        let (place, than) = match page {
            Page::First | Page::Last => (None, ""),
            Page::Behind(place) => (Some(place.values()), ">"),
            Page::Before(place) => (Some(place.values()), "<"),
        };
        let mut within = String::new();
        if let Some((route, key, commit, ordinal)) = &place {
            within = format!("and (p.route, p.key, p.commit_lsn, p.ordinal) {than} ($9, $10, $11, $12)");
            values.extend([route as &(dyn ToSql + Sync), key, commit, ordinal]);
        }
        let backwards = matches!(page, Page::Before(_) | Page::Last);
        let order = ["p.route", "p.key", "p.commit_lsn", "p.ordinal"]
            .map(|it| if backwards { format!("{it} desc") } else { it.to_owned() })
            .join(", ");
        let sql = format!(
            "select {COLUMNS} from rowcall.parked p where {MATCHES} {within} order by {order} limit $8"
        );
        let mut listed: Vec<Listed> = self.client.query(&sql, &values).await?.iter().map(read).collect();
        if backwards {
            listed.reverse();
        }
        Ok(listed)
    }

    /// How many match, by route, state and reason.
    pub async fn totals(&self, filter: &Filter) -> Result<Vec<Total>, Error> {
        let sql = format!(
            "select p.route, p.state, p.reason, count(*), min(p.parked_at) from rowcall.parked p where {MATCHES}
             group by p.route, p.state, p.reason order by p.route, count(*) desc, p.state, p.reason"
        );
        let rows = self.client.query(&sql, &filter.values().refs()).await?;
        let total = |row: &Row| Total {
            route: row.get(0),
            state: row.get(1),
            reason: row.get(2),
            count: row.get(3),
            oldest: row.get(4),
        };
        Ok(rows.iter().map(total).collect())
    }

    /// How many match.
    pub async fn count(&self, filter: &Filter) -> Result<i64, Error> {
        let sql = format!("select count(*) from rowcall.parked p where {MATCHES}");
        Ok(self.client.query_one(&sql, &filter.values().refs()).await?.get(0))
    }

    /// One parked change; `None` if there is none of that id.
    pub async fn show(&self, id: i64) -> Result<Option<Shown>, Error> {
        let sql = format!("select {COLUMNS}, p.change, p.answers from rowcall.parked p where p.id = $1");
        let row = self.client.query_opt(&sql, &[&id]).await?;
        Ok(row.map(|row| Shown { listed: read(&row), change: row.get(13), answers: row.get(14) }))
    }

    /// One parked change itself and its answers, for a preview of what a retry would do.
    pub async fn change(&self, id: i64) -> Result<Option<(Change, Vec<Answered>)>, Error> {
        let sql = "select commit_lsn, ordinal, change::text, answers::text from rowcall.parked where id = $1";
        let row = self.client.query_opt(sql, &[&id]).await?;
        Ok(row.and_then(|row| {
            let id = ChangeId { commit: lsn(row.get(0)), ordinal: row.get::<_, i64>(1).unsigned_abs() };
            let change = stored_change::read(id, row.get(2)).ok()?;
            Some((change, serde_json::from_str(row.get(3)).ok()?))
        }))
    }

    /// Makes the matching ones due now; those behind an older one follow when it has ended.
    pub async fn retry(&mut self, filter: &Filter) -> Result<u64, Error> {
        let transaction = self.client.transaction().await?;
        // A settlement takes rows in another order: one has to wait for the other as a whole.
        transaction.batch_execute(ALONE).await?;
        let sql = format!(
            "update rowcall.parked p
             set state = 'retrying', next_attempt = now(), attempts = 0, updated_at = now()
             where {MATCHES} and p.state <> 'queued'"
        );
        let retried = transaction.execute(&sql, &filter.values().refs()).await?;
        transaction.commit().await?;
        Ok(retried)
    }

    /// Gives the matching ones up for good: they count as done, so that a redelivery does not
    /// bring them back, and what queued behind them goes on. One behind an older parked change
    /// does not count as done, or the older one would too. What was discarded may have been sent, so it
    /// is not certain any more what the remote was told.
    pub async fn discard(&mut self, filter: &Filter) -> Result<u64, Error> {
        let transaction = self.client.transaction().await?;
        // One of two that do not see each other would leave what it parks behind nothing, queued
        // for ever: a settlement waits until the discarding is done, and the other way round.
        transaction.batch_execute(ALONE).await?;
        let sql = format!(
            "with given_up as (
                delete from rowcall.parked p where {MATCHES} returning p.route, p.key, p.commit_lsn, p.ordinal
            ), {DISCARD}"
        );
        let row = transaction.query_one(&sql, &filter.values().refs()).await?;
        transaction.commit().await?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }
}

const ALONE: &str = "lock table rowcall.parked in share row exclusive mode";

/// All keys at once. Every part sees the table as it was, so what is left is told from what was
/// given up.
const DISCARD: &str = "\
left_over as (
    select p.route, p.key, p.commit_lsn, p.ordinal, p.state, p.holds
    from (select distinct route, key from given_up) k
    join rowcall.parked p on p.route = k.route and p.key = k.key
    where not exists (
        select from given_up g
        where (g.route, g.key, g.commit_lsn, g.ordinal) = (p.route, p.key, p.commit_lsn, p.ordinal))
), oldest as (
    select distinct on (route, key) route, key, commit_lsn, ordinal
    from left_over order by route, key, commit_lsn, ordinal
), done as (
    insert into rowcall.link as l (route, key, commit_lsn, ordinal, gone)
    select distinct on (g.route, g.key) g.route, g.key, g.commit_lsn, g.ordinal, true
    from given_up g left join oldest o on o.route = g.route and o.key = g.key
    where o.route is null or (g.commit_lsn, g.ordinal) < (o.commit_lsn, o.ordinal)
    order by g.route, g.key, g.commit_lsn desc, g.ordinal desc
    on conflict (route, key) do update
    set commit_lsn = excluded.commit_lsn, ordinal = excluded.ordinal, content = null
    where (l.commit_lsn, l.ordinal) < (excluded.commit_lsn, excluded.ordinal)
), head as (
    select distinct on (route, key) route, key, commit_lsn, ordinal, state
    from left_over where holds order by route, key, commit_lsn, ordinal
), next as (
    update rowcall.parked p set state = 'retrying', next_attempt = now(), updated_at = now()
    from head h
    where h.state = 'queued'
      and (p.route, p.key, p.commit_lsn, p.ordinal) = (h.route, h.key, h.commit_lsn, h.ordinal)
)
select count(*) from given_up";

/// A filter's values as parameters.
struct Values<'a> {
    filter: &'a Filter,
    state: Option<&'static str>,
    reason: Option<&'static str>,
    older_than: Option<f64>,
    newer_than: Option<f64>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn narrows(&self) -> bool {
        !self.ids.is_empty()
            || self.route.is_some()
            || self.key.is_some()
            || self.state.is_some()
            || self.reason.is_some()
            || self.older_than.is_some()
            || self.newer_than.is_some()
    }

    fn values(&self) -> Values<'_> {
        let (state, reason) = (self.state.map(ParkedState::name), self.reason.map(ParkReason::name));
        let seconds = |it: Option<Duration>| it.map(|it| it.as_secs_f64());
        let (older_than, newer_than) = (seconds(self.older_than), seconds(self.newer_than));
        Values { filter: self, state, reason, older_than, newer_than }
    }
}

impl Values<'_> {
    fn refs(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.filter.ids,
            &self.filter.route,
            &self.filter.key,
            &self.state,
            &self.reason,
            &self.older_than,
            &self.newer_than,
        ]
    }
}

fn read(row: &Row) -> Listed {
    Listed {
        id: row.get(0),
        route: row.get(1),
        key: row.get(2),
        commit: lsn(row.get(3)),
        ordinal: row.get::<_, i64>(4).unsigned_abs(),
        op: row.get::<_, Option<String>>(5).unwrap_or_default(),
        state: row.get(6),
        reason: row.get(7),
        message: row.get(8),
        attempts: row.get(9),
        parked_at: row.get(10),
        next_attempt: row.get(11),
        source: row.get(12),
    }
}
