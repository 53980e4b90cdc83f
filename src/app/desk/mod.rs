//! What an operator can ask and do on the admin address: what the commands do.

mod ask;
mod parked;
mod runs;

use super::{App, AppError, calls::CallArchive, clock, halts::HaltOrder, state::StateConnection};
use crate::{
    admin::{
        Admin, Desk, DeskError, RunWanted,
        view::{
            CheckpointLine, Configuration, Finding, Lineage, LineageOf, ParkedDetail, ParkedPage, Status,
        },
    },
    call_log::{CallQuery, CallRecord, Found, RecordId},
    config,
    model::{Halt, HaltOf, RunId},
    postgres,
    state::{
        Run, RunCommand,
        postgres::{
            Filter, Mark, NewOperation, Operation, OperationDesk, OperationEnd, Page, RunFilter, Total,
        },
    },
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;

/// So many calls are looked through for what a remote calls something, where no link knows it.
const LOOK: usize = 40_000;

impl App {
    /// Listens at `admin.listen`, unless that is `off`.
    pub(super) async fn start_admin(&self) -> Result<Option<Admin>, AppError> {
        let (desk, vitals) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Admin::start(&self.loaded.config.admin, desk, vitals).await.map_err(AppError::failed)
    }

    /// Where operations are written down: in the state database of the first source.
    pub(super) async fn first_state(&self) -> Result<postgres::Client, AppError> {
        let plans = self.plans()?;
        // A configuration has a source.
        let none = || AppError::Failed("there is no source in the configuration".to_owned());
        super::state::connect(plans.first().ok_or_else(none)?).await
    }
}

impl From<AppError> for DeskError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Configuration(_) => Self::Wrong(error.to_string()),
            AppError::Failed(message) => Self::Refused(message),
            AppError::Unreachable(message) => Self::Unreachable(message),
        }
    }
}

fn sql(error: tokio_postgres::Error) -> DeskError {
    let passes = error.code().is_none_or(|code| matches!(code.code().get(..2), Some("08" | "53" | "57")));
    let message = postgres::explain(&error);
    if passes { DeskError::Unreachable(message) } else { DeskError::Failed(message) }
}

fn log(error: impl std::fmt::Display) -> DeskError {
    DeskError::Unreachable(error.to_string())
}

/// The state databases that may be meant: that of a source, or all of them.
fn of_source<'a>(
    connections: &'a mut [StateConnection],
    source: Option<&str>,
) -> Result<Vec<&'a mut StateConnection>, DeskError> {
    let is = |it: &StateConnection| source.is_none_or(|source| it.sources.iter().any(|it| it == source));
    if let Some(source) = source
        && !connections.iter().any(&is)
    {
        return Err(DeskError::Wrong(format!("there is no source `{source}` in the configuration")));
    }
    Ok(connections.iter_mut().filter(|it| is(it)).collect())
}

fn ambiguous(what: &str) -> DeskError {
    DeskError::Wrong(format!("{what} is in several state databases: say with `source` which is meant"))
}

async fn find(archive: &CallArchive, query: &CallQuery) -> Result<Found, DeskError> {
    let mut found = archive.store.search(query).await.map_err(log)?;
    found.calls.iter_mut().for_each(|record| archive.open(record));
    Ok(found)
}

#[async_trait]
impl Desk for App {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    async fn status(&self) -> Result<Status, DeskError> {
        Ok(App::status(self).await?)
    }

    async fn check(&self) -> Result<Vec<Finding>, DeskError> {
        Ok(App::check(self).await?)
    }

    fn configuration(&self) -> Configuration {
        let (file, yaml) = (self.loaded.file.clone(), config::show(&self.loaded));
        Configuration { file, yaml, settings: config::shown(&self.loaded) }
    }

    async fn runs(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, DeskError> {
        runs::list(self, filter, limit).await
    }

    async fn run(&self, id: RunId, source: Option<&str>) -> Result<Run, DeskError> {
        runs::show(self, id, source).await
    }

    async fn command_run(
        &self,
        id: RunId,
        source: Option<&str>,
        command: RunCommand,
    ) -> Result<Run, DeskError> {
        runs::command(self, id, source, command).await
    }

    async fn start(&self, wanted: RunWanted) -> Result<Vec<Run>, DeskError> {
        let asked = ask::ask(self, wanted).await?;
        let mut runs = Vec::with_capacity(asked.len());
        for (source, id) in asked {
            runs.push(runs::show(self, id, Some(&source)).await?);
        }
        Ok(runs)
    }

    async fn parked(&self, filter: &Filter, page: &Page, limit: i64) -> Result<ParkedPage, DeskError> {
        parked::list(self, filter, page, limit).await
    }

    async fn parked_count(&self, filter: &Filter) -> Result<i64, DeskError> {
        parked::count(self, filter).await
    }

    async fn parked_totals(&self, filter: &Filter) -> Result<Vec<Total>, DeskError> {
        parked::totals(self, filter).await
    }

    async fn parked_change(&self, id: i64, source: Option<&str>) -> Result<ParkedDetail, DeskError> {
        parked::show(self, id, source).await
    }

    async fn retry(&self, filter: &Filter) -> Result<u64, DeskError> {
        parked::act(self, filter, parked::Act::Retry).await
    }

    async fn discard(&self, filter: &Filter) -> Result<u64, DeskError> {
        parked::act(self, filter, parked::Act::Discard).await
    }

    async fn calls(&self, query: &CallQuery) -> Result<Found, DeskError> {
        find(&self.call_archive().await?, query).await
    }

    async fn call(&self, id: &str) -> Result<CallRecord, DeskError> {
        let archive = self.call_archive().await?;
        let found = archive.store.get(&RecordId(id.into())).await.map_err(log)?;
        let mut record =
            found.ok_or_else(|| DeskError::Missing(format!("there is no call `{id}` in the log")))?;
        archive.open(&mut record);
        Ok(record)
    }

    async fn lineage(&self, of: LineageOf) -> Result<Lineage, DeskError> {
        Ok(App::lineage(self, &self.call_archive().await?, of, Some(LOOK)).await?)
    }

    async fn checkpoints(&self, source: Option<&str>) -> Result<Vec<CheckpointLine>, DeskError> {
        Ok(self.list_checkpoints(source).await?)
    }

    async fn create_checkpoint(&self, name: &str, source: Option<&str>) -> Result<Mark, DeskError> {
        Ok(App::create_checkpoint(self, name, source).await?)
    }

    async fn drop_checkpoint(&self, name: &str, source: Option<&str>) -> Result<String, DeskError> {
        let known = self.list_checkpoints(source).await?;
        if !known.iter().any(|it| it.mark.name == name) {
            return Err(DeskError::Missing(format!("there is no checkpoint `{name}`")));
        }
        Ok(App::drop_checkpoint(self, name, source).await?)
    }

    async fn pause(
        &self,
        what: HaltOf,
        name: &str,
        who: &str,
        reason: Option<&str>,
    ) -> Result<Halt, DeskError> {
        let (name, who, reason) = (name.to_owned(), who.to_owned(), reason.map(str::to_owned));
        Ok(self.order_halt(&HaltOrder { what, name, who, reason, pause: true }).await?)
    }

    async fn resume(&self, what: HaltOf, name: &str) -> Result<Halt, DeskError> {
        let (name, who) = (name.to_owned(), String::new());
        Ok(self.order_halt(&HaltOrder { what, name, who, reason: None, pause: false }).await?)
    }

    async fn begin_operation(&self, operation: &NewOperation) -> Result<i64, DeskError> {
        let client = self.first_state().await?;
        OperationDesk { client: &client }.begin(operation).await.map_err(sql)
    }

    async fn end_operation(&self, id: i64, end: &OperationEnd) -> Result<(), DeskError> {
        let client = self.first_state().await?;
        OperationDesk { client: &client }.end(id, end).await.map_err(sql)
    }

    async fn operations(
        &self,
        action: Option<&str>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Operation>, DeskError> {
        let client = self.first_state().await?;
        OperationDesk { client: &client }.list(action, before, limit).await.map_err(sql)
    }
}
