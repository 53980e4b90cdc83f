use super::{Kept, MemoryStore};
use crate::{
    model::{RunId, RunProgress, RunRequest},
    state::{RouteKey, Run, RunCommand},
};
use jiff::{SignedDuration, Timestamp};
use std::{ops::Bound, sync::Arc};
use tokio::time::Instant;

impl MemoryStore {
    /// One run, also if it is over.
    pub fn run(&self, id: RunId) -> Option<Run> {
        self.kept().runs.get(&id).cloned()
    }

    /// What an operator's `runs pause`, `resume` and `cancel` do; or why it cannot be done.
    pub fn command_run(&self, id: RunId, command: RunCommand) -> Result<(), String> {
        let now = self.now();
        let mut kept = self.kept();
        let run = kept.runs.get_mut(&id).ok_or_else(|| format!("there is no run {id}"))?;
        run.obey(command, now).map(|_| ())
    }

    /// Its clock began with it.
    pub(super) fn now(&self) -> Timestamp {
        let since = SignedDuration::try_from(Instant::now() - self.began).unwrap_or_default();
        Timestamp::UNIX_EPOCH + since
    }
}

impl Kept {
    pub(super) fn ask_run(&mut self, request: RunRequest, now: Timestamp) -> RunId {
        let id = RunId(self.runs.len() as i64 + 1);
        // A store in memory has one source and no name for it.
        self.runs.insert(id, Run::requested(id, "memory", request, now));
        id
    }

    pub(super) fn advance(&mut self, runs: Vec<RunProgress>, now: Timestamp) {
        for progress in runs {
            if let Some(run) = self.runs.get_mut(&progress.run) {
                run.advance(progress, now);
            }
        }
    }

    pub(super) fn linked_keys(&self, route: &str, after: Option<&str>, limit: usize) -> Vec<Arc<str>> {
        let at = |key: &str| RouteKey { route: Arc::from(route), key: Arc::from(key) };
        let first = after.map_or_else(|| Bound::Included(at("")), |key| Bound::Excluded(at(key)));
        let of_route = self.links.range((first, Bound::Unbounded)).take_while(|(at, _)| &*at.route == route);
        of_route.filter(|(_, link)| !link.gone).map(|(at, _)| Arc::clone(&at.key)).take(limit).collect()
    }
}
