//! Runs, for commands that look at them, work on them or wait for them.

use super::{App, AppError, state::connect};
use crate::{
    model::RunId,
    postgres::{self, Client},
    state::{
        Run,
        postgres::{RunDesk, RunFilter},
    },
};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Some runs, read again and again, over connections that are made anew when they break.
pub struct RunWatch {
    app: App,
    /// By the source whose state database has them.
    wanted: BTreeMap<String, Vec<RunId>>,
    clients: BTreeMap<String, Client>,
}

/// How runs stood at one time.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The time, by the clock of the state database.
    pub at: Timestamp,
    /// The runs, in the order of their numbers.
    pub runs: Vec<Run>,
}

impl App {
    /// Watches these runs of these sources.
    pub fn watch_runs(&self, runs: impl IntoIterator<Item = (String, RunId)>) -> RunWatch {
        let mut wanted: BTreeMap<String, Vec<RunId>> = BTreeMap::new();
        for (source, id) in runs {
            wanted.entry(source).or_default().push(id);
        }
        RunWatch { app: self.clone(), wanted, clients: BTreeMap::new() }
    }

    /// Connects to the state database of one source.
    pub async fn state_of(&self, source: &str) -> Result<Client, AppError> {
        let plans = self.plans()?;
        let plan = plans.iter().find(|it| it.name == source);
        let unknown = || AppError::Failed(format!("there is no source `{source}` in the configuration"));
        connect(plan.ok_or_else(unknown)?).await
    }
}

impl RunWatch {
    /// How the runs stand now. After a failure another try may do.
    pub async fn look(&mut self) -> Result<Seen, AppError> {
        let mut seen = Seen { at: Timestamp::UNIX_EPOCH, runs: Vec::new() };
        for (source, ids) in &self.wanted {
            let client = match self.clients.remove(source).filter(|it| !it.is_closed()) {
                Some(client) => client,
                None => self.app.state_of(source).await?,
            };
            let desk = RunDesk { client: &client };
            let filter = RunFilter { ids: ids.clone(), ..RunFilter::default() };
            let failed = |error| AppError::Unreachable(postgres::explain(&error));
            seen.runs.extend(desk.list(&filter, i64::MAX).await.map_err(failed)?);
            seen.at = desk.now().await.map_err(failed)?;
            self.clients.insert(source.clone(), client);
        }
        seen.runs.sort_by_key(|it| it.id);
        Ok(seen)
    }
}
