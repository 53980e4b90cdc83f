//! A store in memory that does something before and after what the engine asks of it.

use crate::{
    model::{ChangeId, Lsn, RunId, RunKind, RunRequest},
    state::{
        Checkpoint, Due, KeyFilter, Known, Leaving, MemoryStore, Owed, Repaid, RouteKey, Run, Settled,
        Settlement, StateError, StateStore, Wanted,
    },
};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the engine asks for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Recall(&'a [RouteKey]),
    Settle,
    Due,
}

/// What is done then; the store has answered only when that is over.
#[async_trait]
pub(super) trait Hook: Send + Sync {
    async fn before(&self, _: Asked<'_>) {}
    async fn after(&self, _: Asked<'_>) {}
    /// What is to be settled now cannot be.
    async fn fails(&self) -> bool {
        false
    }
}

pub(super) struct Hooked<H> {
    near: Arc<MemoryStore>,
    pub(super) hook: H,
}

impl<H> Hooked<H> {
    pub(super) fn new(near: &Arc<MemoryStore>, hook: H) -> Arc<Self> {
        Arc::new(Self { near: Arc::clone(near), hook })
    }
}

/// Settles when it is let.
pub(super) struct Slow {
    pub(super) permits: Semaphore,
    /// What is known of this key is never told.
    pub(super) untold: Option<&'static str>,
}

impl Slow {
    /// Settles nothing yet.
    pub(super) fn new() -> Self {
        Self { permits: Semaphore::new(0), untold: None }
    }
}

#[async_trait]
impl Hook for Slow {
    async fn before(&self, asked: Asked<'_>) {
        match asked {
            Asked::Recall(keys) if keys.iter().any(|at| Some(&*at.key) == self.untold) => {
                std::future::pending().await
            }
            Asked::Settle => self.permits.acquire().await.expect("it is open").forget(),
            Asked::Recall(_) | Asked::Due => {}
        }
    }
}

#[async_trait]
impl<H: Hook> StateStore for Hooked<H> {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, StateError> {
        self.near.checkpoint().await
    }
    async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        self.near.bind(checkpoint).await
    }
    async fn recall(&self, keys: &[RouteKey]) -> Result<Vec<Known>, StateError> {
        self.hook.before(Asked::Recall(keys)).await;
        let known = self.near.recall(keys).await;
        self.hook.after(Asked::Recall(keys)).await;
        known
    }
    async fn key_filter(&self) -> Result<Option<KeyFilter>, StateError> {
        // Every key is asked about, or nothing could be done then.
        Ok(None)
    }
    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError> {
        self.hook.before(Asked::Settle).await;
        if self.hook.fails().await {
            return Err(StateError { doing: "settling", message: "the server is gone".to_owned() });
        }
        let settled = self.near.settle(settlement).await;
        self.hook.after(Asked::Settle).await;
        settled
    }
    async fn due(&self, wanted: &[Wanted]) -> Result<Vec<Due>, StateError> {
        self.hook.before(Asked::Due).await;
        let due = self.near.due(wanted).await;
        self.hook.after(Asked::Due).await;
        due
    }
    async fn owed(&self, limit: usize) -> Result<Vec<Owed>, StateError> {
        self.near.owed(limit).await
    }
    async fn repaid(&self, ended: &[(Owed, Repaid)]) -> Result<(), StateError> {
        self.near.repaid(ended).await
    }
    async fn children(
        &self,
        deletes: &[Leaving],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError> {
        self.near.children(deletes, routes).await
    }
    async fn in_vain(&self, waits: &[(RouteKey, ChangeId, RouteKey)]) -> Result<Vec<bool>, StateError> {
        self.near.in_vain(waits).await
    }
    async fn sweep(&self) -> Result<u64, StateError> {
        self.near.sweep().await
    }
    async fn linked(&self, route: &str) -> Result<u64, StateError> {
        self.near.linked(route).await
    }
    async fn linked_keys(
        &self,
        route: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StateError> {
        self.near.linked_keys(route, after, limit).await
    }
    async fn runs(&self) -> Result<Vec<Run>, StateError> {
        self.near.runs().await
    }
    async fn ask_run(&self, request: &RunRequest) -> Result<RunId, StateError> {
        self.near.ask_run(request).await
    }
    async fn was_asked(&self, kind: RunKind, entity: Option<&str>, origin: &str) -> Result<bool, StateError> {
        self.near.was_asked(kind, entity, origin).await
    }
    async fn begin_run(&self, id: RunId, base: Lsn) -> Result<bool, StateError> {
        self.near.begin_run(id, base).await
    }
    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError> {
        self.near.spread_truncate(route, id).await
    }
}
