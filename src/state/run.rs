use crate::model::{Lsn, RunCounts, RunEnd, RunId, RunKind, RunProgress, RunRequest, RunState};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A bounded piece of work as the state database has it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// The source it belongs to.
    pub source: Arc<str>,
    /// What it does.
    pub kind: RunKind,
    /// For which entity; `None` for all of the source's.
    pub entity: Option<Arc<str>>,
    /// How, by the kind's own names.
    pub options: Map<String, Value>,
    /// Who asked, such as `command`, `initial` or `schedule`.
    pub origin: Arc<str>,
    /// How it stands.
    pub state: RunState,
    /// Where it goes on after a restart; `None` before it has come anywhere.
    pub cursor: Option<Value>,
    /// What it has done so far.
    pub counts: RunCounts,
    /// How many it will have read in the end, about.
    pub expected: Option<u64>,
    /// What it has found so far; only audits find something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
    /// Where the log stood when it began; `None` before.
    pub base: Option<Lsn>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was begun.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

/// What a person does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCommand {
    /// Has it wait.
    Pause,
    /// Lets it go on.
    Resume,
    /// Ends it.
    Cancel,
}

/// No guess of what is left reaches further than this many seconds.
const FORESEEABLE: f64 = 1_000.0 * 3_600.0;

impl Run {
    /// One that was just asked for.
    pub fn requested(id: RunId, source: &str, request: RunRequest, now: Timestamp) -> Self {
        let RunRequest { kind, entity, options, origin } = request;
        Self {
            id,
            source: Arc::from(source),
            kind,
            entity,
            options,
            origin,
            state: RunState::Requested,
            cursor: None,
            counts: RunCounts::default(),
            expected: None,
            report: None,
            base: None,
            error: None,
            requested_at: now,
            started_at: None,
            finished_at: None,
            updated_at: now,
        }
    }

    /// How many seconds it took, or has taken so far.
    pub fn taken(&self, now: Timestamp) -> Option<f64> {
        let until = self.finished_at.unwrap_or(now);
        let taken = until.duration_since(self.started_at?).as_secs_f64();
        (taken > 0.0).then_some(taken)
    }

    /// Rows a second since it was begun; `None` before anything was read.
    pub fn per_second(&self, now: Timestamp) -> Option<f64> {
        (self.counts.read > 0).then_some(self.counts.read as f64 / self.taken(now)?)
    }

    /// How many seconds it will take yet, while it runs and it is known how far it has to go.
    pub fn seconds_left(&self, now: Timestamp) -> Option<f64> {
        let rows = self.expected?.checked_sub(self.counts.read)?;
        let goes_on = rows > 0 && self.state == RunState::Running;
        let left = rows as f64 / self.per_second(now)?;
        (goes_on && left < FORESEEABLE).then_some(left)
    }

    /// How much of what is expected was read. What is expected is an estimate: all of it is only what is
    /// done.
    pub fn percent(&self) -> Option<u64> {
        let expected = self.expected.filter(|it| *it > 0)?;
        let most = if self.state == RunState::Done { 100 } else { 99 };
        let percent = u128::from(self.counts.read) * 100 / u128::from(expected);
        Some(u64::try_from(percent).unwrap_or(most).min(most))
    }

    /// Begins it, if it is to be begun.
    pub fn begin(&mut self, base: Lsn, now: Timestamp) -> bool {
        let begins = self.state == RunState::Requested;
        if begins {
            self.state = RunState::Running;
            self.base.get_or_insert(base);
            self.started_at.get_or_insert(now);
            self.updated_at = now;
        }
        begins
    }

    /// Counts what it did. One that is over stays as it is but for that.
    pub fn advance(&mut self, progress: RunProgress, now: Timestamp) {
        self.counts.add(progress.counts);
        self.updated_at = now;
        if self.state.is_over() {
            return;
        }
        self.cursor = progress.cursor.or(self.cursor.take());
        self.expected = progress.expected.or(self.expected);
        self.report = progress.report.or(self.report.take());
        if let Some(end) = progress.end {
            (self.state, self.error) = match end {
                RunEnd::Done => (RunState::Done, None),
                RunEnd::Failed(error) => (RunState::Failed, Some(error)),
            };
            self.finished_at = Some(now);
        }
    }

    /// The state that this brings it to, or why it cannot be done.
    pub fn after(&self, command: RunCommand) -> Result<RunState, String> {
        let Self { id, state, .. } = self;
        match (command, state) {
            (_, RunState::Failed) => Err(format!("run {id} has failed already")),
            (_, over) if over.is_over() => Err(format!("run {id} is {} already", over.name())),
            (RunCommand::Cancel, _) => Ok(RunState::Cancelled),
            (RunCommand::Pause, RunState::Paused) => Err(format!("run {id} is paused already")),
            (RunCommand::Pause, _) => Ok(RunState::Paused),
            (RunCommand::Resume, RunState::Paused) if self.started_at.is_some() => Ok(RunState::Running),
            (RunCommand::Resume, RunState::Paused) => Ok(RunState::Requested),
            (RunCommand::Resume, _) => Err(format!("run {id} is {}, not paused", state.name())),
        }
    }

    /// Does that, if it can be done.
    pub fn obey(&mut self, command: RunCommand, now: Timestamp) -> Result<RunState, String> {
        self.state = self.after(command)?;
        self.finished_at = self.state.is_over().then_some(now);
        self.updated_at = now;
        Ok(self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::{RunCommand::*, *};
    use serde_json::json;

    fn run(state: RunState, begun: bool) -> Run {
        let (kind, origin) = (RunKind::Snapshot, Arc::from("command"));
        let request = RunRequest { kind, entity: None, options: Map::new(), origin };
        let mut run = Run::requested(RunId(7), "main", request, Timestamp::UNIX_EPOCH);
        if begun {
            run.begin(Lsn::new(100), Timestamp::UNIX_EPOCH);
        }
        Run { state, finished_at: state.is_over().then_some(Timestamp::UNIX_EPOCH), ..run }
    }

    #[test]
    fn what_a_person_may_do_depends_on_how_the_run_stands() {
        use RunState::*;
        let cases = [
            (Requested, false, Pause, Ok(Paused)),
            (Running, true, Pause, Ok(Paused)),
            (Paused, true, Pause, Err("run 7 is paused already")),
            (Paused, true, Resume, Ok(Running)),
            (Paused, false, Resume, Ok(Requested)),
            (Running, true, Resume, Err("run 7 is running, not paused")),
            (Requested, false, Resume, Err("run 7 is requested, not paused")),
            (Requested, false, Cancel, Ok(Cancelled)),
            (Running, true, Cancel, Ok(Cancelled)),
            (Paused, true, Cancel, Ok(Cancelled)),
            (Done, true, Pause, Err("run 7 is done already")),
            (Failed, true, Resume, Err("run 7 has failed already")),
            (Cancelled, false, Cancel, Err("run 7 is cancelled already")),
        ];
        for (state, begun, command, expected) in cases {
            let mut run = run(state, begun);
            let answer = run.obey(command, Timestamp::UNIX_EPOCH);
            assert_eq!(answer, expected.map_err(str::to_owned), "{state:?} {command:?}");
            assert_eq!(run.state, expected.unwrap_or(state));
            assert_eq!(run.finished_at.is_some(), run.state.is_over());
        }
    }

    #[test]
    fn what_was_cancelled_is_only_counted() {
        let mut run = run(RunState::Cancelled, true);
        let (was, cursor) = (run.clone(), Some(json!(1)));
        let counts = RunCounts { read: 3, applied: 1, skipped: 1, parked: 1 };
        let end = Some(RunEnd::Done);
        let report = Some(json!({}));
        let progress = RunProgress { run: RunId(7), cursor, counts, expected: Some(9), report, end };
        run.advance(progress, was.updated_at);
        assert_eq!(run, Run { counts, ..was });
    }

    #[test]
    fn what_is_paused_comes_on_by_what_was_under_way_and_may_end_by_it() {
        let mut run = run(RunState::Paused, true);
        let progress = |end| RunProgress {
            run: RunId(7),
            cursor: Some(json!(1)),
            counts: RunCounts::default(),
            expected: None,
            report: None,
            end,
        };
        run.advance(progress(None), Timestamp::UNIX_EPOCH);
        assert_eq!((run.state, &run.cursor), (RunState::Paused, &Some(json!(1))));
        run.advance(progress(Some(RunEnd::Failed("no".to_owned()))), Timestamp::UNIX_EPOCH);
        assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some("no")));
        assert!(run.finished_at.is_some());
    }
}
