//! `rowcall run`: every source with its supervisor, until told to stop.

use super::{
    App, AppError,
    call_log::RunningCallLog,
    call_log_status::LogWatch,
    notices::{Notifying, follow_ends},
    plan::SourcePlan,
    session,
    session::SessionError,
    state,
};
use crate::{
    call_log::CallLogSink,
    capture::Budget,
    engine::{Limits, stopped},
    health::Stage,
    model::ByteSize,
    notify::Notifier,
    postgres,
    state::postgres::{InstanceState, Lease, PostgresStore, read_tallies, report_call_log, report_instance},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A session that lasted this long had nothing to do with the failure before it.
const STEADY: Duration = Duration::from_secs(60);
/// How often a standby tries to take over.
const STANDBY: Duration = Duration::from_secs(1);
/// How long saying how a session ended may take.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often a running instance says that it is alive.
const ALIVE: Duration = Duration::from_secs(5);

impl App {
    /// Replicates, and serves the admin address, until `stop` becomes true (or its sender is gone), or a
    /// person is needed.
    pub async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), AppError> {
        self.validate()?;
        let notifying = self.start_notify()?;
        let result = self.attended(stop, notifying.as_ref()).await;
        // Last: it is told how the others end.
        if let Some(notifying) = notifying {
            notifying.close(result.as_ref().err()).await;
        }
        result
    }

    /// Replicates, and serves the admin address.
    async fn attended(
        &self,
        stop: watch::Receiver<bool>,
        notifying: Option<&Notifying>,
    ) -> Result<(), AppError> {
        let admin = self.start_admin().await?;
        let result = self.replicate_telling(stop, notifying).await;
        // How the rest ends can be watched there.
        if let Some(admin) = admin {
            admin.close().await;
        }
        result
    }

    /// Replicates without the admin address, and tells nobody.
    pub async fn replicate(&self, stop: watch::Receiver<bool>) -> Result<(), AppError> {
        self.replicate_telling(stop, None).await
    }

    async fn replicate_telling(
        &self,
        stop: watch::Receiver<bool>,
        notifying: Option<&Notifying>,
    ) -> Result<(), AppError> {
        let plans = self.plans()?;
        let limits = &self.loaded.config.limits;
        let memory = ByteSize(limits.memory.0 / plans.len().max(1) as u64);
        let limits = Limits { memory, ..limits.clone() };
        let running = self.start_call_log().await?;
        let logging = Logging {
            sink: self.told(running.as_ref().map(RunningCallLog::sink))?,
            watch: running.as_ref().map(|it| Arc::clone(&it.watch)),
        };
        self.vitals.attend(&plans, logging.watch.clone());
        let exporting = self.start_telemetry()?;
        let all = watch::Sender::new(false);
        let mut looking = JoinSet::new();
        let app = self.clone();
        looking.spawn(async move { app.vitals.findings.keep(&app).await });
        if let Some(notifying) = notifying {
            looking.spawn(notifying.watch(self, all.subscribe()));
        }
        let mut supervisors = JoinSet::new();
        for plan in plans {
            let mut stop_one = all.subscribe();
            let (limits, logging) = (limits.clone(), logging.clone());
            let notifier = notifying.map(|it| it.notifier.clone());
            supervisors.spawn(async move {
                supervise(&plan, &limits, &logging, notifier.as_ref(), &mut stop_one).await
            });
        }
        let mut stop = stop;
        let mut result = Ok(());
        loop {
            tokio::select! {
                ended = supervisors.join_next() => match ended {
                    None => break,
                    Some(ended) => {
                        let ended = ended.unwrap_or_else(|error| Err(AppError::failed(error)));
                        if ended.is_err() && result.is_ok() {
                            result = ended;
                        }
                        // One source that needs a person stops the process, in order: a supervisor
                        // of processes, or a person, must hear of it.
                        all.send_replace(true);
                    }
                },
                () = stopped(&mut stop), if !*all.borrow() => {
                    all.send_replace(true);
                }
            }
        }
        looking.abort_all();
        if let Some(running) = running {
            running.close().await;
        }
        // Last: it is told how the others end.
        if let Some(exporting) = exporting {
            exporting.close().await;
        }
        result
    }
}

/// What every source is told of the log of calls.
#[derive(Clone)]
struct Logging {
    /// Where records go.
    sink: Option<Arc<dyn CallLogSink>>,
    watch: Option<Arc<LogWatch>>,
}

async fn supervise(
    plan: &SourcePlan,
    limits: &Limits,
    logging: &Logging,
    notifier: Option<&Notifier>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), AppError> {
    let mut wait = FIRST_WAIT;
    plan.vitals.is(Stage::Starting, None);
    loop {
        let started = Instant::now();
        match hold(plan, limits, logging, notifier, stop).await {
            Ok(()) => return Ok(()),
            Err(SessionError::Final(message)) => return Err(AppError::Failed(message)),
            Err(SessionError::Passing(message)) => {
                if started.elapsed() >= STEADY {
                    wait = FIRST_WAIT;
                }
                plan.meter.broken.one();
                plan.vitals.is(Stage::Reconnecting, Some(&message));
                tracing::warn!(source = plan.name, again_in_ms = wait.as_millis() as u64, "{message}");
                tokio::select! {
                    () = sleep(wait) => {}
                    () = stopped(stop) => return Ok(()),
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Waits for the source's lease and streams while it is held.
async fn hold(
    plan: &SourcePlan,
    limits: &Limits,
    logging: &Logging,
    notifier: Option<&Notifier>,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), SessionError> {
    let client = postgres::connect(&plan.state).await?;
    state::check_schema(plan, &client).await?;
    let mut standby = false;
    let store = loop {
        match PostgresStore::open(&plan.state, &plan.name).await? {
            Lease::Held(store) => break Arc::new(*store),
            Lease::Taken if !standby => {
                standby = true;
                plan.vitals.is(Stage::Standby, None);
                tracing::info!(
                    source = plan.name,
                    "another instance holds this source: waiting as its standby"
                );
            }
            Lease::Taken => {}
        }
        tokio::select! {
            () = sleep(STANDBY) => {}
            () = stopped(stop) => return Ok(()),
        }
    };
    if standby {
        plan.vitals.is(Stage::Starting, None);
    }
    // Freed with what the session still holds when it ends.
    let budget = Budget::new(usize::try_from(limits.memory.0).unwrap_or(usize::MAX));
    let name = instance();
    let (end, mut ending) = watch::channel(false);
    let mut session = pin!(session::run(plan, store, limits, &budget, logging.sink.as_ref(), &mut ending));
    let mut alive = pin!(stay_alive(plan, &client, &name, logging.watch.as_deref()));
    let mut telling = pin!(follow_ends(plan, &client, notifier));
    let (mut lost, mut until) = (None, Instant::now());
    let ended = loop {
        tokio::select! {
            ended = &mut session => break ended,
            // It ends in order all the same: a request that is under way leaves its record (invariant 6).
            error = &mut alive, if lost.is_none() => {
                lost = Some(error);
                until = Instant::now() + limits.drain.0 + LAST_WORDS;
                end.send_replace(true);
            }
            never = &mut telling => match never {},
            // What it waits for may be as dead.
            () = sleep_until(until), if lost.is_some() => break Ok(()),
            () = stopped(stop), if !*end.borrow() => drop(end.send_replace(true)),
        }
    };
    let result = match (ended, lost) {
        (Ok(()), Some(lost)) => Err(lost),
        (ended, _) => ended,
    };
    let state = match &result {
        Ok(()) => InstanceState::Stopped,
        Err(SessionError::Final(_)) => InstanceState::Stopped,
        Err(SessionError::Passing(_)) => InstanceState::Reconnecting,
    };
    // The connection may be dead without anyone having said so.
    match timeout(LAST_WORDS, report_instance(&client, &plan.name, &name, state, None)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = postgres::explain(&error);
            tracing::debug!(source = plan.name, error, "the state could not be reported");
        }
        Err(_) => tracing::debug!(source = plan.name, "the state could not be reported in time"),
    }
    result
}

/// Reports for as long as the session lasts; ends only with a failure.
async fn stay_alive(
    plan: &SourcePlan,
    client: &postgres::Client,
    name: &str,
    log: Option<&LogWatch>,
) -> SessionError {
    let mut count_at = Instant::now();
    loop {
        let reporting = async {
            report_instance(client, &plan.name, name, InstanceState::Running, None).await?;
            let status = log.and_then(|log| serde_json::to_value(log.status()).ok());
            match status {
                Some(status) => report_call_log(client, &plan.name, &status).await,
                None => Ok(()),
            }
        };
        let counting = async {
            reporting.await?;
            let began = Instant::now();
            if began >= count_at {
                plan.vitals.counted(read_tallies(client, &plan.name).await?);
                // However many are parked, counting them takes little of the database's time.
                count_at = Instant::now() + began.elapsed() * 20;
            }
            Ok(())
        };
        if let Err(error) = counting.await {
            return SessionError::Passing(format!("the state database: {}", postgres::explain(&error)));
        }
        sleep(ALIVE).await;
    }
}

/// What this process is called: its host and its number there.
pub(super) fn instance() -> String {
    format!("{}:{}", host(), std::process::id())
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
