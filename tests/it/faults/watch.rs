//! What must hold all the time, looked at while everything goes on.

use crate::harness::{Postgres, postgres::Client};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// Looks all the time, until it is told to end.
pub struct Watching {
    over: watch::Sender<bool>,
    looking: JoinSet<Result<u32, String>>,
}

impl Watching {
    pub fn start(postgres: &Postgres) -> Self {
        let (over, ends) = watch::channel(false);
        let mut looking = JoinSet::new();
        looking.spawn(never_ahead(postgres.url(), ends));
        Self { over, looking }
    }

    /// How often it looked, or what it saw.
    pub async fn end(mut self) -> Result<u32, String> {
        self.over.send_replace(true);
        self.looking.join_next().await.expect("it looks").expect("it ends")
    }
}

/// The source may forget only what is settled: what its slot has confirmed is never ahead of the checkpoint,
/// which does not go back. (The slot may: a server that crashes forgets what it was told last.)
async fn never_ahead(url: String, mut ends: watch::Receiver<bool>) -> Result<u32, String> {
    let (mut looks, mut before) = (0, String::from("0/0"));
    loop {
        tokio::select! {
            _ = ends.wait_for(|it| *it) => return Ok(looks),
            () = sleep(Duration::from_millis(25)) => {}
        }
        let Ok(client) = Client::connect(&url).await else { continue };
        // The slot first: the checkpoint may move on in between, but only ahead.
        let slot = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = 'rowcall'";
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
}
