//! Named checkpoints, as commands and the service read and write them.

use super::{lsn, pg_lsn};
use crate::model::Lsn;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::{Client, Error, Row};

/// A named checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Mark {
    /// Of which source.
    pub source: String,
    /// Its name, once a source.
    pub name: String,
    /// The replication slot that keeps the log for it.
    pub slot: String,
    /// Every transaction that ends after this can be read from it.
    pub lsn: Lsn,
    /// By the clock of the state database.
    pub created_at: Timestamp,
    /// Why the service gave it up, if it did.
    pub given_up: Option<String>,
}

/// What a position of the log means in time: whatever is committed from then on comes there or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayPoint {
    /// The position.
    pub lsn: Lsn,
    /// By the clock of the source.
    pub at: Timestamp,
}

/// Works on named checkpoints over any connection to the state database.
#[derive(Clone, Copy, Debug)]
pub struct MarkDesk<'a> {
    /// The connection.
    pub client: &'a Client,
}

const COLUMNS: &str = "source, name, slot, lsn, created_at, given_up";

impl MarkDesk<'_> {
    /// A source's checkpoints, the oldest first.
    pub async fn list(&self, source: &str) -> Result<Vec<Mark>, Error> {
        let sql =
            format!("select {COLUMNS} from rowcall.checkpoint_mark where source = $1 order by lsn, name");
        self.client.query(&sql, &[&source]).await?.iter().map(read).collect()
    }

    /// Says that a checkpoint is about to be made; `false` if there is one of that name.
    pub async fn announce(&self, source: &str, name: &str, slot: &str, at: Lsn) -> Result<bool, Error> {
        let sql = "insert into rowcall.checkpoint_mark (source, name, slot, lsn) values ($1, $2, $3, $4)
                   on conflict do nothing";
        Ok(self.client.execute(sql, &[&source, &name, &slot, &pg_lsn(at)]).await? > 0)
    }

    /// Where its slot stands now that it is made, and how the checkpoint is remembered.
    pub async fn place(&self, source: &str, name: &str, at: Lsn) -> Result<Option<Mark>, Error> {
        let sql = format!(
            "update rowcall.checkpoint_mark set lsn = $3 where source = $1 and name = $2 returning {COLUMNS}"
        );
        self.client.query_opt(&sql, &[&source, &name, &pg_lsn(at)]).await?.as_ref().map(read).transpose()
    }

    /// The service drops its slot; the row stays, for a person to see why.
    pub async fn give_up(&self, source: &str, name: &str, why: &str) -> Result<(), Error> {
        let sql = "update rowcall.checkpoint_mark set given_up = coalesce(given_up, $3)
                    where source = $1 and name = $2";
        self.client.execute(sql, &[&source, &name, &why]).await.map(drop)
    }

    /// Forgets a checkpoint whose slot is gone.
    pub async fn forget(&self, source: &str, name: &str) -> Result<(), Error> {
        let sql = "delete from rowcall.checkpoint_mark where source = $1 and name = $2";
        self.client.execute(sql, &[&source, &name]).await.map(drop)
    }

    /// What is known of positions in time, the oldest first.
    pub async fn points(&self, source: &str) -> Result<Vec<ReplayPoint>, Error> {
        let sql = "select lsn, at from rowcall.replay_point where source = $1 order by lsn";
        let rows = self.client.query(sql, &[&source]).await?;
        rows.iter().map(|row| Ok(ReplayPoint { lsn: lsn(row.try_get(0)?), at: row.try_get(1)? })).collect()
    }

    /// Remembers one; the earliest time of a position stays.
    pub async fn add_point(&self, source: &str, point: ReplayPoint) -> Result<(), Error> {
        let sql =
            "insert into rowcall.replay_point (source, lsn, at) values ($1, $2, $3) on conflict do nothing";
        self.client.execute(sql, &[&source, &pg_lsn(point.lsn), &point.at]).await.map(drop)
    }

    /// Forgets those before a position, or all of them.
    pub async fn forget_points(&self, source: &str, before: Option<Lsn>) -> Result<(), Error> {
        let sql = "delete from rowcall.replay_point where source = $1 and ($2::pg_lsn is null or lsn < $2)";
        self.client.execute(sql, &[&source, &before.map(pg_lsn)]).await.map(drop)
    }

    /// What time it is by the clock that wrote when they were made.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        self.client.query_one("select clock_timestamp()", &[]).await?.try_get(0)
    }
}

fn read(row: &Row) -> Result<Mark, Error> {
    Ok(Mark {
        source: row.try_get(0)?,
        name: row.try_get(1)?,
        slot: row.try_get(2)?,
        lsn: lsn(row.try_get(3)?),
        created_at: row.try_get(4)?,
        given_up: row.try_get(5)?,
    })
}
