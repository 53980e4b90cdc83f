//! Somebody who can be asked anything and has nothing: what is asked for is told back, as what there is not.

use jiff::Timestamp;
use rowcall::{
    admin::{
        Desk, DeskError, RunWanted, Vitals,
        view::{
            CheckpointLine, Configuration, Finding, Lineage, LineageOf, ParkedDetail, ParkedPage, Status,
        },
    },
    call_log::{CallQuery, CallRecord, Found},
    health::Report,
    model::{Halt, HaltOf, RunId},
    state::{
        Run, RunCommand,
        postgres::{Filter, Mark, NewOperation, Operation, OperationEnd, Page, RunFilter, Total},
    },
};
use std::{fmt::Debug, num::NonZeroU32};

pub struct Nothing;

fn none<T>(asked: impl Debug) -> Result<T, DeskError> {
    Err(DeskError::Missing(format!("there is none: {asked:?}")))
}

#[async_trait::async_trait]
impl Desk for Nothing {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    async fn status(&self) -> Result<Status, DeskError> {
        Ok(Status {
            sources: Vec::new(),
            halts: Vec::new(),
            remotes: Vec::new(),
            call_logs: Vec::new(),
            routes: Vec::new(),
            runs: Vec::new(),
            schedules: Vec::new(),
            read_at: None,
        })
    }

    async fn check(&self) -> Result<Vec<Finding>, DeskError> {
        Ok(Vec::new())
    }

    fn configuration(&self) -> Configuration {
        Configuration { file: String::new(), yaml: String::new(), settings: serde_json::Value::Null }
    }

    async fn runs(&self, _: &RunFilter, limit: i64) -> Result<Vec<Run>, DeskError> {
        assert!(limit > 0, "{limit}");
        Ok(Vec::new())
    }

    async fn run(&self, id: RunId, source: Option<&str>) -> Result<Run, DeskError> {
        none((id, source))
    }

    async fn command_run(&self, id: RunId, source: Option<&str>, to: RunCommand) -> Result<Run, DeskError> {
        none((id, source, to))
    }

    async fn start(&self, wanted: RunWanted) -> Result<Vec<Run>, DeskError> {
        let rate = match &wanted {
            RunWanted::Snapshot { rate, .. }
            | RunWanted::Prune { rate, .. }
            | RunWanted::Audit { rate, .. } => *rate,
            _ => NonZeroU32::new(1),
        };
        assert!(rate.is_none_or(|it| it.get() > 0));
        none(wanted)
    }

    async fn parked(&self, _: &Filter, _: &Page, limit: i64) -> Result<ParkedPage, DeskError> {
        assert!(limit > 0, "{limit}");
        Ok(ParkedPage::default())
    }

    async fn parked_count(&self, _: &Filter) -> Result<i64, DeskError> {
        Ok(0)
    }

    async fn parked_totals(&self, _: &Filter) -> Result<Vec<Total>, DeskError> {
        Ok(Vec::new())
    }

    async fn parked_change(&self, id: i64, source: Option<&str>) -> Result<ParkedDetail, DeskError> {
        none((id, source))
    }

    async fn retry(&self, filter: &Filter) -> Result<u64, DeskError> {
        none(filter)
    }

    async fn discard(&self, filter: &Filter) -> Result<u64, DeskError> {
        none(filter)
    }

    async fn calls(&self, query: &CallQuery) -> Result<Found, DeskError> {
        none(query)
    }

    async fn call(&self, id: &str) -> Result<CallRecord, DeskError> {
        none(id)
    }

    async fn lineage(&self, of: LineageOf) -> Result<Lineage, DeskError> {
        Ok(Lineage { of, objects: Vec::new(), notes: Vec::new() })
    }

    async fn checkpoints(&self, _: Option<&str>) -> Result<Vec<CheckpointLine>, DeskError> {
        Ok(Vec::new())
    }

    async fn create_checkpoint(&self, name: &str, source: Option<&str>) -> Result<Mark, DeskError> {
        none((name, source))
    }

    async fn drop_checkpoint(&self, name: &str, source: Option<&str>) -> Result<String, DeskError> {
        none((name, source))
    }

    async fn pause(&self, what: HaltOf, name: &str, who: &str, why: Option<&str>) -> Result<Halt, DeskError> {
        none((what, name, who, why))
    }

    async fn resume(&self, what: HaltOf, name: &str) -> Result<Halt, DeskError> {
        none((what, name))
    }

    async fn begin_operation(&self, _: &NewOperation) -> Result<i64, DeskError> {
        Ok(1)
    }

    async fn end_operation(&self, _: i64, _: &OperationEnd) -> Result<(), DeskError> {
        Ok(())
    }

    async fn operations(
        &self,
        _: Option<&str>,
        _: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Operation>, DeskError> {
        assert!(limit > 0, "{limit}");
        Ok(Vec::new())
    }
}

#[async_trait::async_trait]
impl Vitals for Nothing {
    fn lives(&self) -> Report {
        Report::of(Vec::new())
    }

    fn readiness(&self) -> Report {
        Report::of(Vec::new())
    }

    async fn health(&self) -> Report {
        Report::of(Vec::new())
    }

    fn metrics(&self) -> (&'static str, String) {
        ("text/plain", String::new())
    }
}
