//! `rowcall status`: how far each source is, and what each route did.

use super::{App, AppError, clock, schedule::Planned, slot_watch::danger};
use crate::{
    admin::view::{CallLogLine, CallLogStatus, Lag, SourceLine, Status},
    capture::logical::inspect,
    model::{Halt, Lsn},
    postgres,
    state::postgres::{
        HaltDesk, RunDesk, RunFilter, read_call_log, read_remotes, read_schedules, read_status,
    },
};

impl App {
    /// Reads the state databases and asks each source about its slot.
    pub async fn status(&self) -> Result<Status, AppError> {
        let mut known = Vec::new();
        let plans = self.plans()?;
        let (mut routes, mut schedules) = (Vec::new(), Vec::new());
        let (mut remotes, mut call_logs) = (Vec::new(), Vec::new());
        let (mut runs, mut halts, mut read_at) = (Vec::new(), Vec::new(), None);
        for connection in self.state_connections().await? {
            let read = read_status(&connection.client, &connection.sources).await;
            let (sources, more) = read.map_err(|error| AppError::Failed(postgres::explain(&error)))?;
            known.extend(sources);
            routes.extend(more);
            let read = read_remotes(&connection.client, &connection.sources).await;
            remotes.extend(read.map_err(|error| AppError::Failed(postgres::explain(&error)))?);
            let read = read_call_log(&connection.client, &connection.sources).await;
            for (source, gauges, at) in read.map_err(|error| AppError::Failed(postgres::explain(&error)))? {
                // What another version reported may read otherwise.
                if let Ok(status) = serde_json::from_value::<CallLogStatus>(gauges) {
                    call_logs.push(CallLogLine { source, status: status.reported(at) });
                }
            }
            let read = HaltDesk { client: &connection.client }.list().await;
            for halt in read.map_err(|error| AppError::Failed(postgres::explain(&error)))? {
                let known = |it: &Halt| it.what == halt.what && it.name == halt.name;
                if !halts.iter().any(known) {
                    halts.push(halt);
                }
            }
            let desk = RunDesk { client: &connection.client };
            let open = RunFilter { sources: connection.sources.clone(), open: true, ..RunFilter::default() };
            let failed = |error| AppError::Failed(postgres::explain(&error));
            runs.extend(desk.list(&open, i64::MAX).await.map_err(failed)?.into_iter().rev());
            for plan in plans.iter().filter(|it| connection.sources.contains(&it.name)) {
                let planned = Planned::of(plan);
                if !planned.is_empty() {
                    let lasts = read_schedules(&connection.client, &plan.name).await.map_err(failed)?;
                    schedules.extend(planned.iter().map(|it| it.line(&plan.name, &lasts, clock::now())));
                }
            }
            read_at = Some(desk.now().await.map_err(failed)?);
        }
        let mut sources = Vec::new();
        for plan in plans {
            let state = known.iter().position(|it| it.source == plan.name).map(|at| known.swap_remove(at));
            let mut line = SourceLine {
                source: plan.name.clone(),
                state,
                lag_bytes: None,
                lag: Lag::default(),
                kept_bytes: None,
                wal_status: None,
                safe_bytes: None,
                danger: None,
                problem: None,
            };
            let slot = match postgres::connect(&plan.target).await {
                Ok(client) => inspect::slot(&client, &plan.slot).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match slot {
                Ok(Some(slot)) => {
                    line.lag_bytes = Some(slot.lag_bytes);
                    if let Some(confirmed) = slot.confirmed {
                        let newest = Lsn::new(confirmed.raw().saturating_add_signed(slot.lag_bytes));
                        line.lag = Lag::new(line.state.as_ref(), confirmed, newest, clock::now());
                    }
                    line.kept_bytes = Some(slot.kept_bytes);
                    line.safe_bytes = slot.safe_bytes;
                    line.danger = danger(&plan, &slot);
                    line.wal_status = Some(slot.wal_status);
                }
                Ok(None) => line.problem = Some(format!("replication slot `{}` does not exist", plan.slot)),
                Err(problem) => line.problem = Some(problem),
            }
            sources.push(line);
        }
        Ok(Status { sources, halts, remotes, call_logs, routes, runs, schedules, read_at })
    }
}
