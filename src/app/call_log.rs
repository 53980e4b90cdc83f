//! Puts the log of calls together: what is taken out of a record, the way it goes, where it is kept.

use super::{App, AppError, clock};
use crate::{
    call_log::{
        CallLogError, CallLogStore, CallRecord, Direct, Line, Outlet, Pipeline, PipelineOptions, Prepare,
        Redaction, Seal, Spool, SqliteCallLog, mongodb::MongoCallLog, rabbitmq::RabbitOutlet,
    },
    engine::CallLog,
    log_keeper::Keeper,
    model::Span,
};
use jiff::SignedDuration;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::interval};

/// How long what is in memory may take to go out at a stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// The log of calls of a running process.
pub(super) struct RunningCallLog {
    /// What the engine is given.
    pub(super) log: CallLog,
    pipeline: Arc<Pipeline>,
    /// Stops the keeper in this process.
    stop: watch::Sender<bool>,
    keeping: JoinSet<()>,
    forgetting: JoinSet<()>,
}

impl RunningCallLog {
    /// Lets out what is still in memory.
    pub(super) async fn close(mut self) {
        let gauges = self.pipeline.close(CLOSE_WITHIN).await;
        self.stop.send_replace(true);
        while self.keeping.join_next().await.is_some() {}
        self.forgetting.abort_all();
        tracing::debug!(written = gauges.written, sent = gauges.sent, "the call log is closed");
    }
}

impl App {
    /// Starts the log of calls of a service; `None` if none is kept.
    pub(super) async fn start_call_log(&self) -> Result<Option<RunningCallLog>, AppError> {
        let settings = &self.loaded.config.call_log;
        let spool = if settings.enabled { self.spool().await? } else { None };
        let Some((mut running, store)) = self.started(spool)? else { return Ok(None) };
        if let (Some(rabbitmq), Some(mongodb), true) =
            (&settings.rabbitmq, &settings.mongodb, settings.keeper)
        {
            let store = Arc::new(MongoCallLog::new(mongodb).map_err(wrong("mongodb"))?);
            let keeper = Keeper::new(rabbitmq, store).map_err(wrong("rabbitmq"))?;
            let stopped = running.stop.subscribe();
            running.keeping.spawn(async move { keeper.run(stopped).await });
        }
        if let Some(store) = store {
            running.forgetting.spawn(forget(store, settings.sqlite.keep));
        }
        Ok(Some(running))
    }

    /// The same for a command, which may work beside a service: the spool is the service's, and so is
    /// keeping and forgetting.
    pub(super) fn start_command_log(&self) -> Result<Option<RunningCallLog>, AppError> {
        Ok(self.started(None)?.map(|(running, _)| running))
    }

    fn started(
        &self,
        spool: Option<Spool>,
    ) -> Result<Option<(RunningCallLog, Option<SqliteCallLog>)>, AppError> {
        let settings = &self.loaded.config.call_log;
        if !settings.enabled {
            return Ok(None);
        }
        let mut embedded = None;
        let outlet: Box<dyn Outlet> = match (&settings.rabbitmq, &settings.mongodb) {
            (Some(rabbitmq), _) => Box::new(RabbitOutlet::new(rabbitmq).map_err(wrong("rabbitmq"))?),
            (None, Some(mongodb)) => {
                Box::new(Direct(Arc::new(MongoCallLog::new(mongodb).map_err(wrong("mongodb"))?)))
            }
            (None, None) => {
                let cure =
                    "`call_log.sqlite.path` names another place, `call_log.enabled: false` keeps no log";
                let store = SqliteCallLog::open(&self.call_log_path())
                    .map_err(|error| AppError::Failed(format!("{error}; {cure}")))?;
                Box::new(Direct(Arc::new(embedded.insert(store).clone())))
            }
        };
        let options = PipelineOptions { required: settings.required, ..PipelineOptions::default() };
        let pipeline = Arc::new(Pipeline::start(outlet, self.prepare()?, spool, options));
        let log = CallLog { sink: Arc::clone(&pipeline) as _, clock: clock::now };
        let (keeping, forgetting) = (JoinSet::new(), JoinSet::new());
        let running = RunningCallLog { log, pipeline, stop: watch::Sender::new(false), keeping, forgetting };
        Ok(Some((running, embedded)))
    }

    /// The spool, read and checked.
    async fn spool(&self) -> Result<Option<Spool>, AppError> {
        let Some(mut settings) = self.loaded.config.call_log.spool.clone() else { return Ok(None) };
        settings.path = self.beside_configuration(&settings.path);
        let opened = tokio::task::spawn_blocking(move || Spool::open(&settings)).await;
        opened.map_err(AppError::failed)?.map(Some).map_err(AppError::failed)
    }

    /// Takes records out of RabbitMQ and stores them, until `stop` becomes true or its sender is gone.
    pub async fn keep_log(&self, stop: watch::Receiver<bool>) -> Result<(), AppError> {
        let settings = &self.loaded.config.call_log;
        let (Some(rabbitmq), Some(mongodb)) = (&settings.rabbitmq, &settings.mongodb) else {
            let message = "a log keeper takes records out of `call_log.rabbitmq` and stores them in \
                           `call_log.mongodb`: both have to be in the configuration";
            return Err(AppError::Configuration(vec![message.to_owned()]));
        };
        let store = Arc::new(MongoCallLog::new(mongodb).map_err(wrong("mongodb"))?);
        tracing::info!("keeping the log of calls");
        Keeper::new(rabbitmq, store).map_err(wrong("rabbitmq"))?.run(stop).await;
        Ok(())
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

fn wrong(block: &'static str) -> impl Fn(CallLogError) -> AppError {
    move |error| AppError::Configuration(vec![format!("call_log.{block}: {error}")])
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
