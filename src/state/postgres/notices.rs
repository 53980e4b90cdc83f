//! What was told to whom: the states of checks, and the ends of runs.

use super::runs;
use crate::{model::RunId, state::Run};
use jiff::Timestamp;
use tokio_postgres::{Client, Error, types::ToSql};

/// Works on the state database over a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct NoticeDesk<'a> {
    /// Any connection to the state database.
    pub client: &'a Client,
}

/// What a target was told last of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldNotice {
    /// Whom.
    pub target: String,
    /// Of which check.
    pub name: String,
    /// The state: `ok`, `warn` or `fail`.
    pub state: String,
    /// Since when it is in it.
    pub since: Timestamp,
    /// When that was told.
    pub told_at: Timestamp,
}

/// Several instances may write: the newest counts.
const TELL: &str = "\
insert into rowcall.notice (target, name, state, since, told_at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
on conflict (target, name) do update
set state = excluded.state, since = excluded.since, told_at = excluded.told_at
where notice.told_at <= excluded.told_at";

/// Runs that have been over for longer are not told any more.
const ENDED: &str = "\
from (select COLUMNS from rowcall.run where source = $1 and finished_at > now() - interval '1 day') r
join rowcall.notice_run b on b.source = $1 and b.run = 0 and b.target = any($2) and r.finished_at >= b.told_at
where not exists (
    select from rowcall.notice_run d where d.target = b.target and d.source = $1 and d.run = r.id)
order by r.finished_at, r.id, b.target";

impl NoticeDesk<'_> {
    /// Everything that was told.
    pub async fn told(&self) -> Result<Vec<ToldNotice>, Error> {
        let sql = "select target, name, state, since, told_at from rowcall.notice";
        let rows = self.client.query(sql, &[]).await?;
        let read = |row: &tokio_postgres::Row| ToldNotice {
            target: row.get(0),
            name: row.get(1),
            state: row.get(2),
            since: row.get(3),
            told_at: row.get(4),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Remembers what was told.
    pub async fn tell(&self, told: &[ToldNotice]) -> Result<(), Error> {
        if told.is_empty() {
            return Ok(());
        }
        fn column<'a, T>(told: &'a [ToldNotice], of: impl Fn(&'a ToldNotice) -> T) -> Vec<T> {
            told.iter().map(of).collect()
        }
        let targets = column(told, |it| it.target.as_str());
        let names = column(told, |it| it.name.as_str());
        let states = column(told, |it| it.state.as_str());
        let (since, at) = (column(told, |it| it.since), column(told, |it| it.told_at));
        let values: [&(dyn ToSql + Sync); 5] = [&targets, &names, &states, &since, &at];
        self.client.execute(TELL, &values).await.map(drop)
    }

    /// Forgets what was told to others, or of other things.
    pub async fn keep_only(&self, targets: &[String], names: &[String]) -> Result<(), Error> {
        let sql = "delete from rowcall.notice where not (target = any($1) and name = any($2))";
        self.client.execute(sql, &[&targets, &names]).await.map(drop)
    }

    /// From now on these targets hear of runs of the source, and no others do.
    pub async fn follow_runs(&self, source: &str, targets: &[String]) -> Result<(), Error> {
        let sql = "delete from rowcall.notice_run where source = $1 and not target = any($2)";
        self.client.execute(sql, &[&source, &targets]).await?;
        let sql = "insert into rowcall.notice_run (target, source, run)
                   select target, $1, 0 from unnest($2::text[]) target on conflict do nothing";
        self.client.execute(sql, &[&source, &targets]).await.map(drop)
    }

    /// The runs that are over and were not told, each with whom it was not told.
    pub async fn ended_runs(&self, source: &str, targets: &[String]) -> Result<Vec<(String, Run)>, Error> {
        let sql = format!("select r.*, b.target {}", ENDED.replace("COLUMNS", runs::COLUMNS));
        let rows = self.client.query(&sql, &[&source, &targets]).await?;
        // The target stands behind the run's columns.
        let read = |row: &tokio_postgres::Row| Ok((row.get(row.len() - 1), runs::read(row)?));
        rows.iter().map(read).collect()
    }

    /// Remembers that these were told.
    pub async fn tell_runs(&self, source: &str, told: &[(String, RunId)]) -> Result<(), Error> {
        let (targets, runs): (Vec<&str>, Vec<i64>) = told.iter().map(|(it, run)| (&**it, run.0)).unzip();
        let sql = "insert into rowcall.notice_run (target, source, run)
                   select target, $1, run from unnest($2::text[], $3::bigint[]) as t (target, run)
                   on conflict do nothing";
        self.client.execute(sql, &[&source, &targets, &runs]).await?;
        // They are too old to be told by now.
        let sql = "delete from rowcall.notice_run
                   where source = $1 and run <> 0 and told_at < now() - interval '2 days'";
        self.client.execute(sql, &[&source]).await.map(drop)
    }
}
