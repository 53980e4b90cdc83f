//! Which schedules ask for a run now. They only ask: the coordinator has the run carried.

use super::{
    App, AppError, audits::AuditOptions, clock, coordinator::RunOptions, plan::SourcePlan, state::connect,
};
use crate::{
    admin::view::ScheduleLine,
    model::{Cron, RunId, RunRequest},
    postgres,
    routing::{Schedule, ScheduledRun},
    state::{
        Run, StateError, StateStore,
        postgres::{PostgresStore, RunDesk},
    },
};
use jiff::{Timestamp, tz::TimeZone};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);
/// How often old runs are forgotten.
const TIDY: Duration = Duration::from_secs(3_600);
/// Who asks.
const ORIGIN: &str = "schedule";

/// One schedule of one entity.
#[derive(Debug)]
pub(super) struct Planned {
    name: String,
    entity: String,
    settings: Schedule,
    cron: Cron,
    zone: TimeZone,
}

impl Planned {
    fn new(entity: &str, settings: &Schedule) -> Option<Self> {
        let (cron, zone) = settings.times().ok()?;
        let (name, entity) = (settings.name(entity), entity.to_owned());
        Some(Self { name, entity, settings: settings.clone(), cron, zone })
    }

    /// Those of a source's entities.
    pub(super) fn of(plan: &SourcePlan) -> Vec<Self> {
        let of_entity = |name: &String| {
            let schedules = plan.entity(name).map_or(&[][..], |it| &it.schedule.0);
            schedules.iter().filter_map(|it| Self::new(name, it)).collect::<Vec<_>>()
        };
        plan.entities.iter().flat_map(of_entity).collect()
    }

    pub(super) fn line(
        &self,
        source: &str,
        lasts: &BTreeMap<String, Timestamp>,
        now: Timestamp,
    ) -> ScheduleLine {
        let last = lasts.get(&self.name).copied();
        ScheduleLine {
            name: self.name.clone(),
            source: source.to_owned(),
            entity: self.entity.clone(),
            run: self.settings.run.name(),
            cron: self.settings.cron.clone(),
            zone: self.settings.zone.clone(),
            last,
            next: self.cron.next_after(last.unwrap_or(now), &self.zone),
        }
    }

    fn request(&self, origin: &str) -> RunRequest {
        let Schedule { run, force, rate, filter, query, sample, repair, .. } = self.settings.clone();
        let options = match run {
            ScheduledRun::Audit => AuditOptions { sample, repair, rate }.to_map(),
            _ => RunOptions { filter, query, force, rate, ..RunOptions::default() }.to_map(),
        };
        RunRequest {
            kind: run.into(),
            entity: Some(self.entity.as_str().into()),
            options,
            origin: origin.into(),
        }
    }

    /// What to do now. However often its time has come since, it asks once; and while a run like it is
    /// open it waits.
    fn decide(&self, last: Option<Timestamp>, open: &[Run], now: Timestamp) -> Decision {
        let Some(last) = last else { return Decision::Begin };
        let like = |run: &Run| {
            let query = run.options.get("query").and_then(|it| it.as_str());
            run.kind == self.settings.run.into()
                && query == self.settings.query.as_deref()
                && run.entity.as_deref() == Some(&*self.entity)
                && &*run.origin == ORIGIN
        };
        let due = self.cron.next_after(last, &self.zone).is_some_and(|next| next <= now);
        if due && !open.iter().any(like) { Decision::Ask } else { Decision::Wait }
    }
}

impl App {
    /// Asks for the run of a schedule now, and says of which source it is. A part of its name will do, if no other
    /// schedule's begins like that.
    pub async fn request_scheduled(
        &self,
        name: &str,
        source: Option<&str>,
        origin: &str,
    ) -> Result<(String, RunId), AppError> {
        let plans = self.chosen(source)?;
        let all: Vec<(&SourcePlan, Planned)> =
            plans.iter().flat_map(|plan| Planned::of(plan).into_iter().map(move |it| (plan, it))).collect();
        let exact: Vec<_> = all.iter().filter(|(_, it)| it.name == name).collect();
        let begun = || all.iter().filter(|(_, it)| it.name.starts_with(name)).collect();
        let found: Vec<_> = if exact.is_empty() { begun() } else { exact };
        let [(plan, planned)] = found[..] else {
            let known: Vec<String> =
                all.iter().map(|(plan, it)| format!("`{}` of source {}", it.name, plan.name)).collect();
            let many = if found.is_empty() { "there is no schedule" } else { "there are several schedules" };
            let message = format!("{many} `{name}`: there are {}", known.join(", "));
            return Err(AppError::Configuration(vec![message]));
        };
        let client = connect(plan).await?;
        let run = RunDesk { client: &client }.request(&plan.name, &planned.request(origin)).await;
        let run = run.map_err(|error| AppError::Unreachable(postgres::explain(&error)))?;
        Ok((plan.name.clone(), run))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// It is new: it counts from now.
    Begin,
    Ask,
    Wait,
}

/// Asks for the runs of one source's schedules.
pub(super) struct Scheduler {
    source: String,
    store: Arc<PostgresStore>,
    schedules: Vec<Planned>,
}

impl Scheduler {
    pub(super) fn new(plan: &SourcePlan, store: Arc<PostgresStore>) -> Self {
        Self { source: plan.name.clone(), store, schedules: Planned::of(plan) }
    }

    pub(super) async fn run(self, mut ends: watch::Receiver<bool>) {
        let (mut away, mut tidied) = (false, None::<Instant>);
        loop {
            let mut looked = self.look().await;
            if tidied.is_none_or(|it| it.elapsed() >= TIDY) {
                tidied = Some(Instant::now());
                looked = looked.and(self.store.forget_runs().await.map(drop));
            }
            match looked {
                Ok(()) => away = false,
                Err(error) if !std::mem::replace(&mut away, true) => {
                    tracing::warn!(source = self.source, %error, "schedules cannot be looked at for now");
                }
                Err(_) => {}
            }
            tokio::select! {
                _ = ends.wait_for(|it| *it) => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), StateError> {
        if self.schedules.is_empty() {
            return Ok(());
        }
        let lasts = self.store.schedules().await?;
        for schedule in &self.schedules {
            let now = clock::now();
            // Read anew for each: two of one entity may be due at once.
            let open = self.store.runs().await?;
            match schedule.decide(lasts.get(&schedule.name).copied(), &open, now) {
                Decision::Begin => self.store.begin_schedule(&schedule.name, now).await?,
                Decision::Ask => {
                    let asked =
                        self.store.ask_scheduled(&schedule.name, now, &schedule.request(ORIGIN)).await?;
                    if let Some(run) = asked {
                        let Planned { entity, .. } = schedule;
                        tracing::info!(source = self.source, entity, %run, "a scheduled run is asked for");
                    }
                }
                Decision::Wait => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunKind;

    #[test]
    fn a_schedule_asks_once_for_all_it_missed_and_not_beside_a_run_like_it() {
        let settings = Schedule {
            run: ScheduledRun::Snapshot,
            cron: "0 3 * * *".to_owned(),
            zone: "UTC".to_owned(),
            force: false,
            rate: None,
            filter: None,
            query: None,
            sample: None,
            repair: false,
        };
        let planned = Planned::new("loan", &settings).expect("a schedule");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let run = |kind, entity: &str, origin: &str| {
            let request = RunRequest { kind, entity: Some(entity.into()), ..planned.request(origin) };
            vec![Run::requested(RunId(1), "main", request, Timestamp::UNIX_EPOCH)]
        };
        let (early, late) = (at("2026-01-01T02:00:00Z"), at("2026-01-09T12:00:00Z"));
        for (last, open, now, expected) in [
            (None, vec![], late, Decision::Begin),
            (Some(early), vec![], at("2026-01-01T02:59:59Z"), Decision::Wait),
            (Some(early), vec![], at("2026-01-01T03:00:00Z"), Decision::Ask),
            (Some(early), vec![], late, Decision::Ask),
            (Some(late), vec![], late, Decision::Wait),
            (Some(early), run(RunKind::Snapshot, "loan", ORIGIN), late, Decision::Wait),
            (Some(early), run(RunKind::Prune, "loan", ORIGIN), late, Decision::Ask),
            (Some(early), run(RunKind::Snapshot, "other", ORIGIN), late, Decision::Ask),
            (Some(early), run(RunKind::Snapshot, "loan", "command"), late, Decision::Ask),
        ] {
            assert_eq!(planned.decide(last, &open, now), expected, "{last:?} {open:?} {now}");
        }
    }
}
