//! One audit, from its run in the state database to its last finding.

use super::AuditOptions;
use crate::{
    app::{
        AppError,
        audit::{Manner, repair_request, subjects},
        plan::SourcePlan,
    },
    audit::{AuditError, Auditor, Finding, Pacing, Place, Report, Subject, Summary, tally},
    capture::Budget,
    engine::{CallLog, stopped},
    model::{RunCounts, RunEnd, RunId, RunKind, RunProgress},
    state::{Run, Settlement, StateError, StateStore},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// How much longer than other calls a question has to wait before it goes first: behind every priority.
const BEHIND: Duration = Duration::from_secs(600);
/// Such a part of what the remote takes at once.
const SHARE: usize = 2;
/// Such a part of the byte budget, and how many bytes of rows are read at once within it.
const MEMORY: usize = 8;
const PIECE: (usize, usize) = (64 << 10, 4 << 20);
/// How long until what failed for a while is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// So many keys are repaired by one run.
const REPAIRED: usize = 1_000;

/// How far an audit is; stored with its run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// Routes that are done.
    done: BTreeSet<Arc<str>>,
    /// The route that is looked at, and where it is.
    route: Arc<str>,
    place: Place,
    /// How many of its rows were looked at.
    rows: u64,
    /// What is to be sent again, or deleted, and not asked for yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    send: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    delete: Vec<String>,
}

impl Cursor {
    /// Turns to a route; `None` if nothing of it is left to be looked at. What is sampled goes on with
    /// other rows, as many as are left.
    fn turn_to(&mut self, route: &Arc<str>, pacing: Pacing) -> Option<Pacing> {
        if self.done.contains(route) {
            return None;
        }
        if self.route != *route {
            (self.route, self.place, self.rows) = (Arc::clone(route), Place::Begin, 0);
        }
        if self.place == Place::Over {
            return None;
        }
        let Some(sample) = pacing.sample else { return Some(pacing) };
        let seen = u32::try_from(self.rows).unwrap_or(u32::MAX);
        let sample = NonZeroU32::new(sample.get().saturating_sub(seen))?;
        Some(Pacing { sample: Some(sample), ..pacing })
    }

    fn repairs(&mut self, finding: &Finding) {
        match finding.finding.repair() {
            Some(RunKind::Prune) => self.delete.push(finding.key.clone()),
            Some(_) => self.send.push(finding.key.clone()),
            None => {}
        }
    }
}

#[derive(Clone)]
struct Standing {
    cursor: Cursor,
    report: Report,
}

impl Standing {
    fn of(run: &Run) -> Result<Self, Broken> {
        let stored = |value: &Option<Value>| value.clone().unwrap_or_else(|| Map::new().into());
        let unreadable = |error| Broken::Failed(format!("how far it was cannot be read: {error}"));
        let cursor = serde_json::from_value(stored(&run.cursor)).map_err(unreadable)?;
        let report = serde_json::from_value(stored(&run.report)).map_err(unreadable)?;
        Ok(Self { cursor, report })
    }
}

/// Why it does not go on.
enum Broken {
    Stopped,
    /// Another try may do.
    Passing(String),
    /// It never will.
    Failed(String),
}

impl From<AuditError> for Broken {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Stopped => Self::Stopped,
            AuditError::Source(error) => AppError::from(error).into(),
            AuditError::State(_) => Self::Passing(error.to_string()),
            AuditError::Remote { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<AppError> for Broken {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Unreachable(message) => Self::Passing(message),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<StateError> for Broken {
    fn from(error: StateError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Carries the audits of one source.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) plan: Arc<SourcePlan>,
    pub(super) store: Arc<dyn StateStore>,
    pub(super) budget: Budget,
    pub(super) call_log: CallLog,
}

impl Carrier {
    /// Carries one until it is over, or is to stop.
    pub(super) async fn carry_on(self, run: Run, mut stop: watch::Receiver<bool>) {
        let (mut standing, mut away) = (None, false);
        loop {
            let message = match self.carry(&run, &mut standing, &stop).await {
                Ok(()) | Err(Broken::Stopped) => return,
                Err(Broken::Failed(why)) => match self.fail(run.id, why).await {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                },
                Err(Broken::Passing(message)) => message,
            };
            if !std::mem::replace(&mut away, true) {
                tracing::warn!(source = self.plan.name, run = %run.id, "the audit goes on later: {message}");
            }
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = sleep(AGAIN) => {}
            }
        }
    }

    async fn carry(
        &self,
        run: &Run,
        standing: &mut Option<Standing>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Broken> {
        let begins = run.cursor.is_none() && standing.is_none();
        let standing = match standing {
            Some(standing) => standing,
            None => standing.insert(Standing::of(run)?),
        };
        let (entity, options) = self.asked(run)?;
        let piece = (self.budget.limit() / MEMORY / Subject::held(1)).clamp(PIECE.0, PIECE.1);
        // It takes no room from the stream beyond this (invariant 5).
        let _room = self.budget.set_apart(Subject::held(piece));
        let manner = Manner {
            served: true,
            call_log: self.call_log.clone(),
            run: Some(run.id),
            stop: Some(stop.clone()),
            behind: BEHIND,
            share: SHARE,
            piece,
        };
        let subjects = subjects(&self.plan, &[entity.to_owned()], &manner).await?;
        let pacing = Pacing { sample: options.sample, rate: options.rate, ..Pacing::default() };
        let mut auditors = Vec::new();
        let mut expected = 0;
        for subject in subjects {
            let route = Arc::clone(&subject.route.name);
            let auditor = Auditor::new(subject, pacing);
            if begins {
                let links = if options.sample.is_none() { self.store.linked(&route).await? } else { 0 };
                expected += auditor.rows_expected().await? + links;
            }
            auditors.push(auditor);
        }
        if begins {
            tracing::info!(source = self.plan.name, run = %run.id, entity, "an audit begins");
            self.tell(run.id, RunCounts::default(), standing, Some(expected)).await?;
        }
        for auditor in auditors {
            let route = Arc::clone(auditor.route());
            if let Some(pacing) = standing.cursor.turn_to(&route, pacing) {
                let auditor = auditor.going_on(pacing, standing.cursor.place.clone());
                self.go_through(run, entity, &options, auditor, standing).await?;
            }
            standing.cursor.done.insert(route);
        }
        self.finish(run, entity, standing).await
    }

    /// What is to be audited, and how.
    fn asked<'a>(&self, run: &'a Run) -> Result<(&'a str, AuditOptions), Broken> {
        let entity = run.entity.as_deref().unwrap_or_default();
        let Some(settings) = self.plan.entity(entity) else {
            let source = &self.plan.name;
            let message = format!("entity `{entity}` is not in the configuration of source `{source}`");
            return Err(Broken::Failed(message));
        };
        if settings.read.is_none() {
            let message = format!(
                "entity `{entity}` has no `read`: say under `entities.{entity}.read` how its remote is asked for one object"
            );
            return Err(Broken::Failed(message));
        }
        let options = serde_json::from_value(Value::Object(run.options.clone()));
        let unreadable = |error| Broken::Failed(format!("its options cannot be read: {error}"));
        Ok((entity, options.map_err(unreadable)?))
    }

    /// Everything at one remote. What was found counts once it is stored.
    async fn go_through(
        &self,
        run: &Run,
        entity: &str,
        options: &AuditOptions,
        mut auditor: Auditor,
        standing: &mut Standing,
    ) -> Result<(), Broken> {
        loop {
            let before = auditor.summary;
            let Some(findings) = auditor.next().await? else { return Ok(()) };
            let mut next = standing.clone();
            let after = auditor.summary;
            next.cursor.place = auditor.place().clone();
            next.cursor.rows += after.rows - before.rows;
            next.report.changing += after.changing - before.changing;
            for finding in findings {
                if options.repair {
                    next.cursor.repairs(&finding);
                }
                next.report.add(finding);
            }
            self.repair(entity, &mut next, REPAIRED).await?;
            self.tell(run.id, counts(before, after), &next, None).await?;
            *standing = next;
        }
    }

    /// Asks for runs where so many keys have come together. After a crash in between they are asked for
    /// again, which does no harm.
    async fn repair(&self, entity: &str, next: &mut Standing, least: usize) -> Result<(), Broken> {
        let Standing { cursor, report } = next;
        for (kind, keys) in [(RunKind::Snapshot, &mut cursor.send), (RunKind::Prune, &mut cursor.delete)] {
            if keys.len() >= least {
                let run = self.store.ask_run(&repair_request(entity, kind, keys)).await?;
                keys.clear();
                report.repaired_by(run);
            }
        }
        Ok(())
    }

    async fn finish(&self, run: &Run, entity: &str, standing: &mut Standing) -> Result<(), Broken> {
        let mut next = standing.clone();
        self.repair(entity, &mut next, 1).await?;
        let progress = RunProgress { end: Some(RunEnd::Done), ..progress(run.id, &next) };
        self.settle(progress).await?;
        let (source, id, found) = (&self.plan.name, run.id, tally(&next.report.found));
        if next.report.found.is_empty() {
            tracing::info!(source, run = %id, entity, "the audit is done: {found}");
        } else {
            tracing::warn!(
                source,
                run = %id,
                entity,
                "the audit found what is not in step: {found}; `rowcall runs show {id}` shows the first of it"
            );
        }
        *standing = next;
        Ok(())
    }

    async fn tell(
        &self,
        run: RunId,
        counts: RunCounts,
        standing: &Standing,
        expected: Option<u64>,
    ) -> Result<(), StateError> {
        self.settle(RunProgress { counts, expected, ..progress(run, standing) }).await
    }

    /// Ends it, and says why.
    pub(super) async fn fail(&self, run: RunId, why: String) -> Result<(), StateError> {
        tracing::warn!(source = self.plan.name, %run, "the audit failed: {why}");
        let (counts, end) = (RunCounts::default(), Some(RunEnd::Failed(why)));
        self.settle(RunProgress { run, cursor: None, counts, expected: None, report: None, end }).await
    }

    async fn settle(&self, progress: RunProgress) -> Result<(), StateError> {
        self.store.settle(Settlement { runs: vec![progress], ..Settlement::default() }).await.map(drop)
    }
}

fn progress(run: RunId, standing: &Standing) -> RunProgress {
    let cursor = serde_json::to_value(&standing.cursor).ok();
    let report = serde_json::to_value(&standing.report).ok();
    RunProgress { run, cursor, counts: RunCounts::default(), expected: None, report, end: None }
}

/// What a piece adds: what agrees counts as applied, what was not compared as skipped, and findings only as
/// read.
fn counts(before: Summary, after: Summary) -> RunCounts {
    let read = after.rows + after.links - before.rows - before.links;
    let skipped = after.skipped + after.changing - before.skipped - before.changing;
    let found = after.findings - before.findings;
    RunCounts { read, applied: read.saturating_sub(skipped + found), skipped, parked: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;

    fn cursor(place: Place, rows: u64) -> Cursor {
        Cursor { route: "loan.bank".into(), place, rows, ..Cursor::default() }
    }

    #[test]
    fn it_goes_on_where_it_was_and_a_sample_with_as_many_rows_as_are_left() {
        let sampled = |rows| Pacing { sample: NonZeroU32::new(rows), ..Pacing::default() };
        let left = |cursor: &mut Cursor, route: &str, pacing: Pacing| {
            cursor.turn_to(&route.into(), pacing).map(|it| it.sample.map(NonZeroU32::get))
        };
        let rows = Place::Rows(Some(vec!["7".to_owned()]));
        let mut all = cursor(rows.clone(), 200);
        assert_eq!(left(&mut all, "loan.bank", Pacing::default()), Some(None));
        assert_eq!((&all.place, all.rows), (&rows, 200));
        assert_eq!(left(&mut cursor(rows.clone(), 200), "loan.bank", sampled(250)), Some(Some(50)));
        assert_eq!(left(&mut cursor(rows.clone(), 250), "loan.bank", sampled(250)), None);
        assert_eq!(left(&mut cursor(Place::Over, 30), "loan.bank", sampled(250)), None, "there are no more");
        let mut other = cursor(rows, 200);
        assert_eq!(left(&mut other, "loan.mirror", sampled(250)), Some(Some(250)));
        assert_eq!(other, Cursor { route: "loan.mirror".into(), ..Cursor::default() });
        other.done.insert("loan.bank".into());
        assert_eq!(left(&mut other, "loan.bank", Pacing::default()), None);
    }

    #[test]
    fn what_can_be_repaired_is_remembered_by_what_repairs_it() {
        let mut cursor = Cursor::default();
        for (key, finding) in
            [("1", Kind::Missing), ("2", Kind::Extra), ("3", Kind::Parked), ("4", Kind::Different)]
        {
            let text = |it: &str| it.to_owned();
            let (source, entity, route, key) = (text("main"), text("loan"), text("loan"), text(key));
            cursor.repairs(&Finding { source, entity, route, key, finding, fields: vec![], message: None });
        }
        assert_eq!(
            (cursor.send, cursor.delete),
            (vec!["1".to_owned(), "4".to_owned()], vec!["2".to_owned()])
        );
    }

    #[test]
    fn what_a_piece_adds_is_the_difference() {
        let before = Summary { rows: 200, skipped: 3, changing: 1, links: 10, findings: 9 };
        let after = Summary { rows: 300, skipped: 5, changing: 2, links: 20, findings: 11 };
        let expected = RunCounts { read: 110, applied: 105, skipped: 3, parked: 0 };
        assert_eq!(counts(before, after), expected);
    }
}
