//! The real store: schema `rowcall` in Postgres.
//!
//! All writes go over one connection that holds an advisory lock for the source, the lease: a
//! process that lost it can write nothing more, so two instances never settle the same source.
//! Reads go through a small pool and are never waited for by writes.

mod call_log_status;
mod halts;
mod key_filter;
mod link_desk;
mod marks;
mod migrate;
mod notices;
mod operations;
mod park;
mod parked;
mod parked_desk;
mod recall;
mod release;
mod remote_status;
mod run_desk;
mod runs;
mod schedules;
mod settle;
mod status;
mod stored_change;
mod tallies;
mod write_back;

pub use call_log_status::{read_call_log, report_call_log};
pub use halts::HaltDesk;
pub use link_desk::{LinkLine, ParkedLine, links_of, links_with, parked_of};
pub use marks::{Mark, MarkDesk, ReplayPoint};
pub use migrate::{MIGRATIONS, Migration, migrate, migrations_sql, pending_migrations};
pub use notices::{NoticeDesk, ToldNotice};
pub use operations::{NewOperation, Operation, OperationDesk, OperationEnd};
pub use parked_desk::{Filter, Listed, Page, ParkedDesk, Place, Shown, Total};
pub use recall::recall;
pub use remote_status::{RemoteStatus, read_remotes};
pub use run_desk::{RunDesk, RunDeskError, RunFilter};
pub use runs::linked_keys;
pub use schedules::read_schedules;
pub use status::{
    InstanceState, InstanceStatus, ParkedCount, RouteStatus, SourceStatus, read_status, report_instance,
};
pub use tallies::{RunTally, Tallies, read_tallies};

use super::{
    Binding, Checkpoint, Due, KeyFilter, Known, Leaving, Owed, Repaid, RouteKey, Run, Settled, Settlement,
    StateError, StateStore, Wanted,
};
use crate::{
    model::{ChangeId, Halt, Lsn, RunId, RunKind, RunRequest},
    postgres::{self, Client, Pool, Target},
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use tokio_postgres::types::PgLsn;

/// Of which one may be busy for seconds, with reading which keys are known.
const READERS: usize = 3;

/// One source's state in Postgres, held under the source's lease.
#[derive(Debug)]
pub struct PostgresStore {
    source: String,
    writer: tokio::sync::Mutex<settle::Writer>,
    readers: Pool,
}

/// Whether the lease could be had.
#[derive(Debug)]
pub enum Lease {
    /// This process may settle the source.
    Held(Box<PostgresStore>),
    /// Another process holds it: wait as its standby.
    Taken,
}

impl PostgresStore {
    /// Tries to take the source's lease.
    pub async fn open(target: &Target, source: &str) -> Result<Lease, StateError> {
        let doing = "connecting to the state database";
        let told = |error: postgres::ConnectError| StateError { doing, message: error.to_string() };
        let client = postgres::connect(target).await.map_err(told)?;
        let readers = postgres::pool_of_lookups(target, READERS);
        let pending = pending_migrations(&client).await.map_err(failed("reading its migrations"))?;
        if !pending.is_empty() {
            let message = "schema `rowcall` is missing or older than this version: run `rowcall init`";
            return Err(StateError { doing: "checking its schema", message: message.to_owned() });
        }
        let sql = "select pg_try_advisory_lock(hashtextextended('rowcall.' || $1, 0))";
        let row = client.query_one(sql, &[&source]).await.map_err(failed("taking the source's lease"))?;
        if !row.get::<_, bool>(0) {
            return Ok(Lease::Taken);
        }
        // Of a holder whose connection is dead the server otherwise hears only after hours.
        let notice =
            "set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3";
        client.batch_execute(notice).await.map_err(failed("keeping the source's lease"))?;
        let writer = settle::Writer::prepare(client, source).await.map_err(failed("preparing statements"))?;
        let writer = tokio::sync::Mutex::new(writer);
        Ok(Lease::Held(Box::new(Self { source: source.to_owned(), writer, readers })))
    }

    /// Makes what has given up let later changes of its key pass, or hold them, as each route says
    /// now.
    pub async fn align(&self, routes: &[(Arc<str>, bool)]) -> Result<(), StateError> {
        let doing = "reading which routes go on";
        self.writer.lock().await.align(routes).await.map_err(failed(doing))
    }

    /// From now on only rows of these routes are children whose parents wait for them to go: what is not
    /// deleted at its remote never goes.
    pub async fn only_children(&self, deleting: &[Arc<str>]) {
        self.writer.lock().await.deleting = Some(deleting.iter().map(|it| it.to_string()).collect());
    }

    /// The source's named checkpoints, the oldest first.
    pub async fn marks(&self) -> Result<Vec<Mark>, StateError> {
        let doing = "reading checkpoints";
        let client = self.reader(doing).await?;
        MarkDesk { client: &client }.list(&self.source).await.map_err(failed(doing))
    }

    /// Remembers why the service drops a named checkpoint's slot.
    pub async fn give_up_mark(&self, name: &str, why: &str) -> Result<(), StateError> {
        let writer = self.writer.lock().await;
        let desk = MarkDesk { client: &writer.client };
        desk.give_up(&self.source, name, why).await.map_err(failed("giving up a checkpoint"))
    }

    /// What is known of positions of the log in time, the oldest first.
    pub async fn points(&self) -> Result<Vec<ReplayPoint>, StateError> {
        let doing = "reading points of the log";
        let client = self.reader(doing).await?;
        MarkDesk { client: &client }.points(&self.source).await.map_err(failed(doing))
    }

    /// Remembers one.
    pub async fn add_point(&self, point: ReplayPoint) -> Result<(), StateError> {
        let writer = self.writer.lock().await;
        let desk = MarkDesk { client: &writer.client };
        desk.add_point(&self.source, point).await.map_err(failed("remembering a point of the log"))
    }

    /// Forgets those before a position, or all of them.
    pub async fn forget_points(&self, before: Option<Lsn>) -> Result<(), StateError> {
        let writer = self.writer.lock().await;
        let desk = MarkDesk { client: &writer.client };
        desk.forget_points(&self.source, before).await.map_err(failed("forgetting points of the log"))
    }

    async fn reader(&self, doing: &'static str) -> Result<deadpool_postgres::Object, StateError> {
        self.readers.get().await.map_err(|error| StateError { doing, message: error.to_string() })
    }
}

/// Whether anybody holds the source's lease. It is not taken for that, or a service that starts at this
/// moment would find it taken, and so would others who ask.
pub async fn is_leased(client: &tokio_postgres::Client, source: &str) -> Result<bool, tokio_postgres::Error> {
    // Of an advisory lock's number `classid` is the upper half and `objid` the lower.
    let sql = "select exists (
        select from pg_locks join pg_database on pg_database.oid = pg_locks.database
        where locktype = 'advisory' and objsubid = 1 and granted and datname = current_database()
          and (classid::bigint << 32) | objid::bigint = hashtextextended('rowcall.' || $1, 0))";
    Ok(client.query_one(sql, &[&source]).await?.get(0))
}

/// Reads the source's checkpoint over any connection.
pub async fn read_checkpoint(
    client: &tokio_postgres::Client,
    source: &str,
) -> Result<Option<Checkpoint>, tokio_postgres::Error> {
    let sql = "select system_id, timeline, slot, lsn, committed_at from rowcall.checkpoint where source = $1";
    let row = client.query_opt(sql, &[&source]).await?;
    Ok(row.map(|row| Checkpoint {
        binding: Binding {
            system_id: row.get(0),
            timeline: row.get::<_, i32>(1).unsigned_abs(),
            slot: row.get(2),
        },
        lsn: lsn(row.get(3)),
        committed_at: row.get::<_, Option<Timestamp>>(4),
    }))
}

impl PostgresStore {
    /// The routes and remotes that are paused.
    pub async fn halts(&self) -> Result<Vec<Halt>, StateError> {
        let doing = "reading what is paused";
        HaltDesk { client: &*self.reader(doing).await? }.list().await.map_err(failed(doing))
    }
}

#[async_trait]
impl StateStore for PostgresStore {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, StateError> {
        let doing = "reading the checkpoint";
        let client = self.reader(doing).await?;
        read_checkpoint(&client, &self.source).await.map_err(failed(doing))
    }

    async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        self.writer.lock().await.bind(checkpoint).await.map_err(failed("binding the checkpoint"))
    }

    async fn recall(&self, keys: &[RouteKey]) -> Result<Vec<Known>, StateError> {
        let doing = "reading links";
        let client = self.reader(doing).await?;
        let statement = client.prepare_cached(recall::RECALL).await.map_err(failed(doing))?;
        recall::recall_by(&client, &statement, keys).await.map_err(failed(doing))
    }

    async fn key_filter(&self) -> Result<Option<KeyFilter>, StateError> {
        let doing = "reading which keys are known";
        key_filter::read(&*self.reader(doing).await?).await.map_err(failed(doing))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError> {
        self.writer.lock().await.settle(settlement).await
    }

    async fn due(&self, wanted: &[Wanted]) -> Result<Vec<Due>, StateError> {
        let doing = "reading parked changes";
        let (due, damaged) = parked::due(&*self.reader(doing).await?, &self.source, wanted).await?;
        if !damaged.is_empty() {
            // They are not due any more by this, so it is said once (invariant 4).
            for parked::Damaged { at, id, error } in &damaged {
                tracing::error!(route = &*at.route, key = &*at.key, change = %id, "a parked change cannot be read: {error}");
            }
            let doing = "parking what cannot be read";
            self.writer.lock().await.set_apart(&damaged).await.map_err(failed(doing))?;
        }
        Ok(due)
    }

    async fn owed(&self, limit: usize) -> Result<Vec<Owed>, StateError> {
        let doing = "reading what is to be written back";
        write_back::owed(&*self.reader(doing).await?, &self.source, limit).await.map_err(failed(doing))
    }

    async fn repaid(&self, ended: &[(Owed, Repaid)]) -> Result<(), StateError> {
        let doing = "remembering what was written back";
        self.writer.lock().await.repaid(ended).await.map_err(failed(doing))
    }

    async fn children(
        &self,
        deletes: &[Leaving],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError> {
        let doing = "reading what depends on deleted keys";
        recall::children(&*self.reader(doing).await?, deletes, routes).await.map_err(failed(doing))
    }

    async fn in_vain(&self, waits: &[(RouteKey, ChangeId, RouteKey)]) -> Result<Vec<bool>, StateError> {
        let doing = "reading whether a parent may still come";
        release::wait_in_vain(&*self.reader(doing).await?, waits).await.map_err(failed(doing))
    }

    async fn sweep(&self) -> Result<u64, StateError> {
        let doing = "looking for waiting changes that may go on";
        let deleting = self.writer.lock().await.deleting.clone();
        let client = self.reader(doing).await?;
        let found = release::free(&client, &self.source, deleting.as_deref()).await.map_err(failed(doing))?;
        if found.is_empty() {
            return Ok(0);
        }
        self.writer.lock().await.sweep(&found).await.map_err(failed(doing))
    }

    async fn linked(&self, route: &str) -> Result<u64, StateError> {
        let doing = "counting links";
        recall::linked(&*self.reader(doing).await?, route).await.map_err(failed(doing))
    }

    async fn linked_keys(
        &self,
        route: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StateError> {
        let doing = "listing links";
        runs::linked_keys(&*self.reader(doing).await?, route, after, limit).await.map_err(failed(doing))
    }

    async fn runs(&self) -> Result<Vec<Run>, StateError> {
        let doing = "reading runs";
        runs::open(&*self.reader(doing).await?, &self.source).await.map_err(failed(doing))
    }

    async fn ask_run(&self, request: &RunRequest) -> Result<RunId, StateError> {
        let writer = self.writer.lock().await;
        runs::ask(&writer.client, &self.source, request).await.map_err(failed("asking for a run"))
    }

    async fn was_asked(&self, kind: RunKind, entity: Option<&str>, origin: &str) -> Result<bool, StateError> {
        let doing = "looking for an earlier run";
        let client = self.reader(doing).await?;
        runs::was_asked(&client, &self.source, kind, entity, origin).await.map_err(failed(doing))
    }

    async fn begin_run(&self, id: RunId, base: Lsn) -> Result<bool, StateError> {
        let writer = self.writer.lock().await;
        runs::begin(&writer.client, &self.source, id, base).await.map_err(failed("beginning a run"))
    }

    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError> {
        self.writer.lock().await.spread_truncate(route, id).await.map_err(failed("spreading a truncate"))
    }
}

fn failed(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> StateError {
    move |error| StateError { doing, message: postgres::explain(&error) }
}

fn lsn(stored: PgLsn) -> Lsn {
    Lsn::new(stored.into())
}

fn pg_lsn(lsn: Lsn) -> PgLsn {
    PgLsn::from(lsn.raw())
}

/// Ordinals count rows of one transaction, which Postgres itself keeps far below this bound.
fn ordinal(id: ChangeId) -> i64 {
    i64::try_from(id.ordinal).unwrap_or(i64::MAX)
}
