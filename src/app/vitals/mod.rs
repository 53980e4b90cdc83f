//! How the process does: what the admin server's `/livez`, `/readyz`, `/healthz` and `/metrics` are answered
//! from. Facts are gathered here and judged in [`crate::health`]; what is counted lies in
//! [`crate::metrics`].

mod findings;
mod page;
mod process;
mod source;
mod track;
mod watched;

pub(super) use findings::Findings;
pub(super) use source::SourceVitals;

use super::{App, call_log_status::LogWatch, clock, plan::SourcePlan};
use crate::{
    admin,
    health::{self, Check, Report, State},
    metrics::{Meters, Page},
    remote::{Gate, Governor},
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// What is known of the running process.
#[derive(Default)]
pub(super) struct Vitals {
    pub(super) meters: Arc<Meters>,
    pub(super) findings: Findings,
    parts: Mutex<Parts>,
    /// Since when each check has been in its state.
    since: Mutex<BTreeMap<String, (State, Timestamp)>>,
    proofs: Mutex<watched::Proofs>,
}

/// What runs.
#[derive(Default)]
struct Parts {
    began: Timestamp,
    sources: Vec<Arc<SourceVitals>>,
    remotes: BTreeMap<String, Arc<Governor>>,
    /// The first source that calls each remote.
    callers: BTreeMap<String, String>,
    log: Option<Arc<LogWatch>>,
}

impl Vitals {
    /// These run from now on.
    pub(super) fn attend(&self, plans: &[SourcePlan], log: Option<Arc<LogWatch>>) {
        let mut parts = self.parts();
        parts.began = clock::now();
        parts.sources = plans.iter().map(|it| Arc::clone(&it.vitals)).collect();
        let remotes = plans.iter().flat_map(|it| &it.remotes);
        parts.remotes = remotes.map(|it| (it.name.clone(), Arc::clone(&it.governor))).collect();
        for plan in plans {
            for remote in &plan.remotes {
                parts.callers.entry(remote.name.clone()).or_insert_with(|| plan.name.clone());
            }
        }
        parts.log = log;
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dates those that do not say since when they are as they are.
    fn dated(&self, mut checks: Vec<Check>) -> Report {
        let (mut since, now) = (self.since.lock().unwrap_or_else(PoisonError::into_inner), clock::now());
        for check in &mut checks {
            let known = since.entry(check.name.clone()).or_insert((check.state, now));
            if known.0 != check.state {
                *known = (check.state, now);
            }
            check.since = check.since.or(Some(known.1));
        }
        Report::of(checks)
    }

    /// A person's word goes before what the governor knows: it is the engines' seats that are halted.
    fn gate(&self, remote: &str, gate: Gate) -> Gate {
        let halted = self.meters.sources().iter().any(|(_, it)| it.halted_at(remote).get() > 0);
        if halted { Gate::Halted } else { gate }
    }

    fn remotes(&self) -> Vec<Check> {
        let (parts, now) = (self.parts(), Instant::now());
        let check = |(name, governor): (&String, &Arc<Governor>)| {
            let standing = governor.standing(now);
            let shut = standing.since.map(|it| now.saturating_duration_since(it));
            let ill = governor.record().ill.map(|it| it.to_string());
            let gate = self.gate(name, standing.gate).name();
            let mut check = health::remote(name, &health::Remote { gate, shut, ill });
            check.since = shut.and_then(|it| clock::now().checked_sub(it).ok());
            check
        };
        parts.remotes.iter().map(check).collect()
    }

    fn log(&self, settings: &health::Settings) -> Vec<Check> {
        let Some(log) = self.parts().log.clone() else { return Vec::new() };
        let gauges = log.pipeline.gauges();
        let dated = |since: Instant| clock::now().checked_sub(since.elapsed()).ok();
        let broken = |name: &str, since: Option<Instant>| match since {
            Some(since) => {
                let reason =
                    format!("nothing has been taken for {} s; records wait", since.elapsed().as_secs());
                Check { since: dated(since), ..Check::new(name, State::Warn, reason) }
            }
            None => Check::new(name, State::Ok, "records are taken"),
        };
        let mut checks = vec![broken("call_log", gauges.outlet.map(|it| it.since))];
        if gauges.dropped > 0 {
            let reason = format!("{} records were dropped since the start, for want of room", gauges.dropped);
            checks.push(Check::new("call_log.dropped", State::Warn, reason));
        }
        checks.extend(log.spool.map(|max| {
            let spool = health::Spool { bytes: gauges.spool_bytes, max, fails: gauges.spool.is_some() };
            let since = gauges.spool.and_then(|it| dated(it.since));
            Check { since, ..health::spool(spool, settings) }
        }));
        if let Some((_, counts)) = &log.keeper {
            checks.push(broken("call_log.keeper", counts.failing().map(|(since, _)| since)));
        }
        checks
    }
}

#[async_trait]
impl admin::Vitals for App {
    fn lives(&self) -> Report {
        let checks = self.vitals.parts().sources.iter().map(|it| it.turning()).collect();
        self.vitals.dated(checks)
    }

    fn readiness(&self) -> Report {
        let checks: Vec<Check> = self.vitals.parts().sources.iter().map(|it| it.readiness()).collect();
        if checks.is_empty() {
            return self.vitals.dated(vec![Check::new("service", State::Fail, "starting")]);
        }
        self.vitals.dated(checks)
    }

    async fn health(&self) -> Report {
        let found = self.vitals.findings.newest().await;
        let settings = &self.loaded.config.admin.health;
        let sources = self.vitals.parts().sources.clone();
        let mut checks: Vec<Check> = sources.iter().map(|it| it.readiness()).collect();
        checks.extend(sources.iter().flat_map(|it| it.health()));
        checks.extend(self.vitals.remotes());
        checks.extend(self.vitals.log(settings));
        checks.extend(found);
        self.vitals.dated(checks)
    }

    fn metrics(&self) -> (&'static str, String) {
        (Page::CONTENT_TYPE, page::write(&self.vitals))
    }
}
