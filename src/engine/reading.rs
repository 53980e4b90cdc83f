//! What a change needs beyond itself: its row as it is now, what `fetch` asks for. Read once for all
//! attempts (invariant 3), and only once the change's own transaction can be seen.
//!
//! It is read without a slot of the remote, so that a slow source holds no part of its limits, and as
//! much at once as the reader takes ([`super::lanes::Desk`]).

use super::{
    carry::{Pass, Phase, READ_AGAIN, Verdict},
    lanes::value_bytes,
};
use crate::{
    capture::SourceError,
    model::{Change, Image, Outcome, ParkReason, ParkedState},
    routing::{Fetch, Route, split_key},
};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// What the change looks like once everything it needs is read. It is read once for all attempts,
/// so that the same call key always carries the same body.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) change: Arc<Change>,
    pub(super) fetched: Option<Arc<Value>>,
}

impl Pass {
    /// Reads it, unless a stop comes.
    pub(super) async fn read(&mut self, route: &Route) -> Result<Prepared, Verdict> {
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            prepared = self.prepare(route) => prepared,
            // A read may wait for a lock for ever, and nothing is lost by leaving it.
            () = stopping(&mut phase) => Err(Verdict::Interrupted),
        }
    }

    /// Reads what the change needs beyond itself.
    async fn prepare(&mut self, route: &Route) -> Result<Prepared, Verdict> {
        let mut change = Arc::clone(&self.work.change);
        if !self.work.has_to_be_read(route.fetch.is_some()) {
            return Ok(Prepared { change, fetched: None });
        }
        let reader = Arc::clone(&self.ground.reader);
        if let Some(transaction) = change.transaction {
            reader.seen(transaction).await.map_err(|error| self.unread(route, &error))?;
        }
        let parts = split_key(&self.key);
        if route.rereads(&change.table.name) {
            let key: Vec<_> = route.key.iter().cloned().zip(parts.iter().cloned()).collect();
            match reader.row(&route.table, &key).await {
                Ok(Some(new)) => {
                    self.keep(new.bytes());
                    let table = Arc::clone(&new.table);
                    change = Arc::new(Change { table, image: Image::Read { new }, ..Change::clone(&change) });
                }
                Ok(None) => {
                    let reason = Arc::from("the row is gone; its delete follows");
                    return Err(Verdict::Done(Outcome::Skipped { reason }));
                }
                Err(error) => return Err(self.unread(route, &error)),
            }
        }
        let fetched = match &route.fetch {
            Some(Fetch::Sql(sql)) => {
                let fetched = reader.fetch(sql, &parts).await.map_err(|error| self.unread(route, &error))?;
                self.keep(fetched.as_ref().map_or(0, value_bytes));
                fetched.map(Arc::new)
            }
            _ => None,
        };
        Ok(Prepared { change, fetched })
    }

    /// A query that cannot work is this change's fault; a lost connection is not.
    fn unread(&self, route: &Route, error: &SourceError) -> Verdict {
        let message = format!("reading what entity `{}` needs: {error}", route.name);
        if error.is_final() {
            return self.parked(ParkedState::Rejected, ParkReason::Template, message);
        }
        Verdict::Again { after: READ_AGAIN, error: message }
    }
}

pub(super) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}
