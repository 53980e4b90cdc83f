//! Puts the log of calls together: what is taken out of a record, the way it goes, where it is kept.

use super::{App, AppError, call_log_status::LogWatch, clock};
use crate::{
    call_log::{
        CallLogError, CallLogSink, CallLogStore, Direct, Line, Outlet, Pipeline, PipelineOptions, Prepare,
        Record, Redaction, Seal, Spool, SqliteCallLog,
        mongodb::MongoCallLog,
        rabbitmq::{Address, RabbitOutlet},
    },
    log_keeper::Keeper,
    model::Span,
};
use jiff::SignedDuration;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::interval};

/// How long records gather for the file, if nobody waits for them: few large transactions cost less.
const GATHER: Duration = Duration::from_millis(20);
/// So many of them at most.
const AT_ONCE: usize = 1_000;
/// How long what is in memory may take to go out at a stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How often what is too old is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// The log of calls of a running process.
pub(super) struct RunningCallLog {
    /// How it stands.
    pub(super) watch: Arc<LogWatch>,
    pipeline: Arc<Pipeline>,
    /// Stops the keeper in this process.
    stop: watch::Sender<bool>,
    keeping: JoinSet<()>,
    forgetting: JoinSet<()>,
}

/// What must not be told, by remote.
pub(super) struct Redactions {
    all: Redaction,
    by_remote: BTreeMap<String, Redaction>,
}

impl Redactions {
    pub(super) fn of(&self, remote: &str) -> &Redaction {
        self.by_remote.get(remote).unwrap_or(&self.all)
    }
}

/// Where records go in the end, as far as this process brings them.
struct LogEnd {
    outlet: Box<dyn Outlet>,
    /// In words.
    place: String,
    /// The file, if it is one of this process.
    embedded: Option<SqliteCallLog>,
}

impl RunningCallLog {
    /// Who takes records.
    pub(super) fn sink(&self) -> Arc<dyn CallLogSink> {
        Arc::clone(&self.pipeline) as _
    }

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
        if !settings.enabled {
            return Ok(None);
        }
        let (mut keeping, mut forgetting) = (JoinSet::new(), JoinSet::new());
        let stop = watch::Sender::new(false);
        let mut keeper = None;
        if let (Some(rabbitmq), Some(mongodb), true) =
            (&settings.rabbitmq, &settings.mongodb, settings.keeper)
        {
            let store = Arc::new(MongoCallLog::new(mongodb).map_err(wrong("mongodb"))?);
            let place = format!("MongoDB, {}", store.place());
            let here = Keeper::new(rabbitmq, store).map_err(wrong("rabbitmq"))?;
            keeper = Some((place, here.counts()));
            let stopped = stop.subscribe();
            keeping.spawn(async move { here.run(stopped).await });
        }
        let end = self.call_log_end()?;
        if let Some(embedded) = &end.embedded {
            forgetting.spawn(forget(embedded.clone(), settings.sqlite.keep));
        }
        let goes_to = end.place.clone();
        let pipeline = self.pipeline(end, self.spool().await?)?;
        let spool = settings.spool.as_ref().map(|it| it.max.0);
        let watch = LogWatch { goes_to, pipeline: Arc::clone(&pipeline), spool, keeper };
        Ok(Some(RunningCallLog { watch: Arc::new(watch), pipeline, stop, keeping, forgetting }))
    }

    /// The same for a command, which may work beside a service: the spool is the service's, and so is
    /// keeping and forgetting.
    pub(super) fn start_command_log(&self) -> Result<Option<RunningCallLog>, AppError> {
        if !self.loaded.config.call_log.enabled {
            return Ok(None);
        }
        let end = self.call_log_end()?;
        let goes_to = end.place.clone();
        let pipeline = self.pipeline(end, None)?;
        let watch = LogWatch { goes_to, pipeline: Arc::clone(&pipeline), spool: None, keeper: None };
        let (watch, stop) = (Arc::new(watch), watch::Sender::new(false));
        let (keeping, forgetting) = (JoinSet::new(), JoinSet::new());
        Ok(Some(RunningCallLog { watch, pipeline, stop, keeping, forgetting }))
    }

    fn call_log_end(&self) -> Result<LogEnd, AppError> {
        let settings = &self.loaded.config.call_log;
        if let Some(rabbitmq) = &settings.rabbitmq {
            let place = format!("RabbitMQ, {}", Address::new(rabbitmq).map_err(wrong("rabbitmq"))?);
            let outlet = Box::new(RabbitOutlet::new(rabbitmq).map_err(wrong("rabbitmq"))?);
            return Ok(LogEnd { outlet, place, embedded: None });
        }
        if let Some(mongodb) = &settings.mongodb {
            let store = MongoCallLog::new(mongodb).map_err(wrong("mongodb"))?;
            let place = format!("MongoDB, {}", store.place());
            return Ok(LogEnd { outlet: Box::new(Direct(Arc::new(store))), place, embedded: None });
        }
        let path = self.call_log_path();
        let cure = "`call_log.sqlite.path` names another place, `call_log.enabled: false` keeps no log";
        let store =
            SqliteCallLog::open(&path).map_err(|error| AppError::Failed(format!("{error}; {cure}")))?;
        let outlet = Box::new(Direct(Arc::new(store.clone())));
        Ok(LogEnd { outlet, place: format!("the file {}", path.display()), embedded: Some(store) })
    }

    fn pipeline(&self, end: LogEnd, spool: Option<Spool>) -> Result<Arc<Pipeline>, AppError> {
        let required = self.loaded.config.call_log.required;
        let mut options = PipelineOptions { required, ..PipelineOptions::default() };
        if end.embedded.is_some() && !required {
            (options.gather, options.batch) = (GATHER, AT_ONCE);
        }
        Ok(Arc::new(Pipeline::start(end.outlet, self.prepare()?, spool, options)))
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
        let keeper = Keeper::new(rabbitmq, store).map_err(wrong("rabbitmq"))?;
        let exporting = self.start_telemetry()?;
        tracing::info!("keeping the log of calls");
        keeper.run(stop).await;
        if let Some(exporting) = exporting {
            exporting.close().await;
        }
        Ok(())
    }

    /// What must not be told of each remote's calls.
    pub(super) fn redactions(&self) -> Result<Redactions, AppError> {
        let config = &self.loaded.config;
        let common = &config.call_log.redact;
        let of = |redact| Redaction::new([common].into_iter().chain(redact)).map_err(AppError::failed);
        let all = of(None)?;
        let mut by_remote = BTreeMap::new();
        for (name, remote) in config.remotes.iter().filter(|(_, remote)| remote.redact.is_some()) {
            by_remote.insert(name.clone(), of(remote.redact.as_ref())?);
        }
        Ok(Redactions { all, by_remote })
    }

    /// Makes of a record what leaves the process.
    fn prepare(&self) -> Result<Prepare, AppError> {
        let redactions = self.redactions()?;
        let (seal, limit) = (self.seal()?, self.loaded.config.call_log.body_limit.0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Arc::new(move |mut record: Record<'_>| {
            let redaction = redactions.of(&record.remote);
            #[cfg(debug_assertions)]
            let redaction =
                if crate::engine::broken("unredacted") { &Redaction::default() } else { redaction };
            redaction.apply(&mut record, limit);
            if let Some(seal) = &seal {
                seal.close(&mut record, Seal::nonce);
            }
            Line::from(record)
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
