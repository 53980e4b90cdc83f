//! What must hold all the time, looked at while everything goes on.

use crate::harness::Postgres;
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// The source may forget only what is settled: what its slot has confirmed is never ahead of the checkpoint,
/// and neither goes back. Given back once it is told to end: how often it looked, or what it saw.
pub fn never_ahead(postgres: &Postgres, mut ends: watch::Receiver<bool>) -> JoinSet<Result<u32, String>> {
    let url = postgres.url();
    let mut watching = JoinSet::new();
    watching.spawn(async move {
        let (mut looks, mut before) = (0, String::from("0/0"));
        loop {
            tokio::select! {
                _ = ends.wait_for(|it| *it) => return Ok(looks),
                () = sleep(Duration::from_millis(25)) => {}
            }
            let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else {
                continue;
            };
            let mut driving = JoinSet::new();
            driving.spawn(connection);
            // The slot first: the checkpoint may move on in between, but only ahead.
            let slot =
                "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = 'rowcall'";
            let Ok(Some(slot)) = client.query_opt(slot, &[]).await else { continue };
            let slot: String = slot.get(0);
            let sql = format!(
                "select lsn::text, '{slot}'::pg_lsn <= lsn, lsn >= '{before}'::pg_lsn from rowcall.checkpoint"
            );
            let Ok(Some(row)) = client.query_opt(&sql, &[]).await else { continue };
            let (lsn, behind, forward): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
            if !behind || !forward {
                return Err(format!(
                    "the slot is confirmed to {slot}, the checkpoint at {lsn}, before at {before}"
                ));
            }
            (looks, before) = (looks + 1, lsn);
        }
    });
    watching
}
