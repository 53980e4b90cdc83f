//! Puts the log of calls together: what is taken out of a record, the way it goes, where it is kept.

use super::{App, AppError, clock};
use crate::{
    call_log::{
        CallLogStore, CallRecord, Line, Outlet, Pipeline, PipelineOptions, Prepare, Redaction, Seal, Spool,
        SqliteCallLog,
    },
    engine::CallLog,
    model::Span,
};
use jiff::SignedDuration;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::interval};

/// How long what is in memory may take to go out at a stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// The log of calls of a running process.
pub(super) struct RunningCallLog {
    /// What the engine is given.
    pub(super) log: CallLog,
    pipeline: Arc<Pipeline>,
    _forgetting: JoinSet<()>,
}

impl RunningCallLog {
    /// Lets out what is still in memory.
    pub(super) async fn close(self) {
        let gauges = self.pipeline.close(CLOSE_WITHIN).await;
        tracing::debug!(written = gauges.written, sent = gauges.sent, "the call log is closed");
    }
}

impl App {
    /// Starts the log of calls; `None` if none is kept.
    pub(super) fn start_call_log(&self) -> Result<Option<RunningCallLog>, AppError> {
        let settings = &self.loaded.config.call_log;
        if !settings.enabled {
            return Ok(None);
        }
        let cure = "; `call_log.sqlite.path` names another place, `call_log.enabled: false` keeps no log";
        let store = SqliteCallLog::open(&self.call_log_path())
            .map_err(|error| AppError::Failed(format!("{error}{cure}")))?;
        let spool = settings.spool.as_ref().map(Spool::open).transpose().map_err(AppError::failed)?;
        let options = PipelineOptions { required: settings.required, ..PipelineOptions::default() };
        let outlet: Box<dyn Outlet> = Box::new(store.clone());
        let pipeline = Arc::new(Pipeline::start(outlet, self.prepare()?, spool, options));
        let mut forgetting = JoinSet::new();
        forgetting.spawn(forget(store, settings.sqlite.keep));
        let log = CallLog { sink: Arc::clone(&pipeline) as _, clock: clock::now };
        Ok(Some(RunningCallLog { log, pipeline, _forgetting: forgetting }))
    }

    /// Makes of a record what leaves the process.
    fn prepare(&self) -> Result<Prepare, AppError> {
        let config = &self.loaded.config;
        let common = &config.call_log.redact;
        let of = |redact| Redaction::new([common].into_iter().chain(redact)).map_err(AppError::failed);
        let all = of(None)?;
        let mut by_remote = BTreeMap::new();
        for (name, remote) in config.remotes.iter().filter(|(_, remote)| remote.redact.is_some()) {
            by_remote.insert(name.clone(), of(remote.redact.as_ref())?);
        }
        let (seal, limit) = (self.seal()?, config.call_log.body_limit.0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Arc::new(move |mut record: CallRecord| {
            by_remote.get(&*record.remote).unwrap_or(&all).apply(&mut record, limit);
            if let Some(seal) = &seal {
                seal.close(&mut record, Seal::nonce);
            }
            // It holds nothing that JSON cannot say.
            let json = serde_json::to_vec(&record).unwrap_or_default().into();
            Line { id: record.id, route: record.route, json }
        }))
    }
}

async fn forget(store: SqliteCallLog, Span(keep): Span) {
    let mut hours = interval(FORGET);
    loop {
        hours.tick().await;
        let age = SignedDuration::try_from(keep).ok();
        let Some(before) = age.and_then(|age| clock::now().checked_sub(age).ok()) else { return };
        match store.expire(before).await {
            Ok(0) => {}
            Ok(gone) => tracing::debug!(gone, "old calls are forgotten"),
            Err(error) => tracing::warn!(%error, "old calls are forgotten later"),
        }
    }
}
