use super::shout::Shout;
use crate::call_log::{Cap, Line, Spool, SpoolError};
use std::{future, mem, time::Duration};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};

/// After that long what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The spool, as seen by one who may not wait for a disk: it is visited on a thread of its own, once at
/// a time.
#[derive(Debug, Default)]
pub(super) struct Depot {
    /// As long as nobody visits it.
    spool: Option<Spool>,
    visiting: Option<JoinHandle<(Spool, Visited)>>,
    /// How many records in it have not been read.
    pub(super) unread: u64,
    /// What was read has been sent.
    pub(super) confirm: bool,
    /// Not before then is anything added again, after that failed.
    pub(super) append_at: Option<Instant>,
    /// Not before then is anything read again, after that failed.
    pub(super) read_at: Option<Instant>,
    shout: Shout,
}

/// What is done in one go: what was read counts as sent, if it was; this is added; then there is read.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) append: Vec<Line>,
    /// So many of these are in hand.
    pub(super) in_hand: usize,
    pub(super) cap: Cap,
    /// Up to so many records, and bytes.
    pub(super) read: Option<(usize, usize)>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Visited {
    /// Whether what was to be added is there, if anything was.
    pub(super) appended: Option<bool>,
    /// What was read.
    pub(super) read: Vec<Line>,
    /// What went wrong.
    pub(super) error: Option<SpoolError>,
    has_read: bool,
    has_freed: bool,
}

impl Depot {
    pub(super) fn new(spool: Option<Spool>) -> Self {
        Self { unread: spool.as_ref().map_or(0, Spool::unread), spool, ..Self::default() }
    }

    pub(super) fn is_visited(&self) -> bool {
        self.visiting.is_some()
    }

    /// The spool, if there is one and nobody visits it.
    pub(super) fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Nothing is to be tried again later.
    pub(super) fn is_well(&self) -> bool {
        self.append_at.is_none() && self.read_at.is_none()
    }

    pub(super) fn begin(&mut self, visit: Visit) {
        let Some(mut spool) = self.spool.take() else { return };
        let confirm = mem::take(&mut self.confirm);
        self.visiting = Some(spawn_blocking(move || {
            let visited = go(&mut spool, &visit, confirm);
            (spool, visited)
        }));
    }

    /// Returns when the visit under way is over; never if there is none. Nothing if the visitor died, and
    /// the spool with it.
    pub(super) async fn visited(&mut self, now: impl Fn() -> Instant) -> Option<Visited> {
        let Some(visiting) = &mut self.visiting else { return future::pending().await };
        let over = visiting.await;
        self.visiting = None;
        let Ok((spool, visited)) = over else {
            (self.unread, self.confirm) = (0, false);
            return None;
        };
        let again = now() + AGAIN;
        self.unread = spool.unread();
        self.spool = Some(spool);
        if visited.has_freed {
            self.append_at = None;
        }
        if let Some(is_there) = visited.appended {
            self.append_at = (!is_there).then_some(again);
        }
        self.read_at = (!visited.has_read).then_some(again);
        self.tell(&visited, now());
        Some(visited)
    }

    fn tell(&mut self, visited: &Visited, now: Instant) {
        if let Some(error) = &visited.error {
            if self.shout.is_due(now) {
                tracing::error!("{error}");
            }
        } else if visited.appended == Some(true) && self.shout.is_over() {
            tracing::info!("the call log's spool takes records again");
        }
    }

    /// Leaves the directory to the next process.
    pub(super) async fn close(&mut self) {
        let Some(spool) = self.spool.take() else { return };
        match spawn_blocking(move || spool.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("some of the call log will be sent once more: {error}"),
            Err(error) => tracing::error!(%error, "closing the call log's spool panicked, which is a bug"),
        }
    }
}

fn go(spool: &mut Spool, visit: &Visit, confirm: bool) -> Visited {
    let before = spool.bytes();
    let confirmed = if confirm { spool.confirm() } else { Ok(()) };
    let has_freed = spool.bytes() < before;
    let appended = (!visit.append.is_empty()).then(|| spool.append(&visit.append, visit.in_hand, visit.cap));
    let read = visit.read.map(|(records, bytes)| spool.read(records, bytes)).transpose();
    let has_read = read.is_ok();
    let is_there = appended.as_ref().map(Result::is_ok);
    let (read, unread) = match read {
        Ok(read) => (read.unwrap_or_default(), None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let error = appended.and_then(Result::err).or(unread).or(confirmed.err());
    Visited { appended: is_there, read, error, has_read, has_freed }
}
