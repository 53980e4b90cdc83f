//! What a target is told, and how it is written.

use super::names::{RUN, SERVICE, runbook};
use crate::{
    health::State,
    model::{RunCounts, RunId, RunKind, RunState, one_line},
};
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The version of what is written: another only where a field changes its meaning or goes.
const VERSION: u8 = 1;
/// No reason is longer.
const LONGEST: usize = 500;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something was well and is not any more.
    Problem,
    /// It is better or worse, and not well.
    Changed,
    /// It is well again.
    Recovered,
    /// A run is over.
    RunEnded,
    /// The service ends, since it needs a person.
    Stopped,
    /// Somebody tries whether notices arrive.
    Test,
}

impl Event {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Changed => "changed",
            Self::Recovered => "recovered",
            Self::RunEnded => "run_ended",
            Self::Stopped => "stopped",
            Self::Test => "test",
        }
    }
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedRun {
    /// Its number.
    pub id: RunId,
    /// The source it belongs to.
    pub source: Arc<str>,
    /// What it did.
    pub kind: RunKind,
    /// For which entity; `None` for all of the source's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<Arc<str>>,
    /// `done`, `failed` or `cancelled`.
    pub end: RunState,
    /// Why it failed.
    #[serde(skip)]
    pub why: Option<String>,
    /// What it did.
    #[serde(flatten)]
    pub counts: RunCounts,
    /// How much an audit found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<u64>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

impl EndedRun {
    /// How bad that is.
    pub fn state(&self) -> State {
        match (self.end, self.findings) {
            (RunState::Failed, _) => State::Fail,
            (RunState::Done, None | Some(0)) => State::Ok,
            _ => State::Warn,
        }
    }

    /// What came of it, in a sentence.
    fn reason(&self) -> String {
        let Self { id, kind, end, counts, .. } = self;
        let of = self.entity.as_ref().map_or_else(|| format!("source {}", self.source), |it| it.to_string());
        let mut text = format!("run {id} ({} of {of}) ", kind.name());
        text.push_str(match end {
            RunState::Done => "is done",
            RunState::Failed => "has failed",
            _ => "was cancelled",
        });
        if let Some(why) = &self.why {
            text.push_str(&format!(": {why}"));
        }
        let RunCounts { read, applied, skipped, parked } = counts;
        text.push_str(&match self.findings {
            Some(found) => format!("; {read} read, {found} findings"),
            None => format!("; {read} read, {applied} applied, {skipped} skipped, {parked} parked"),
        });
        text
    }
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A check is in this state.
    Check {
        /// Its name.
        name: String,
        /// The state, as far as the target cares.
        state: State,
        /// Why.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// A run is over.
    Run(EndedRun),
    /// The service ends, for this reason.
    Stopped(String),
    /// Somebody tries whether notices arrive.
    Test,
}

impl Subject {
    /// The name it is told by.
    pub fn name(&self) -> &str {
        match self {
            Self::Check { name, .. } => name,
            Self::Run(_) => RUN,
            Self::Stopped(_) => SERVICE,
            Self::Test => "test",
        }
    }

    /// How it is.
    pub fn state(&self) -> State {
        match self {
            Self::Check { state, .. } => *state,
            Self::Run(run) => run.state(),
            Self::Stopped(_) => State::Fail,
            Self::Test => State::Ok,
        }
    }
}

/// A notice as it is written: `docs/notifications.md` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice<'a> {
    /// The version of this form.
    pub v: u8,
    /// The same whenever this notice is told, and no other notice's.
    pub id: &'a str,
    /// When it was made.
    pub at: Timestamp,
    /// What has happened.
    pub event: Event,
    /// Of what.
    pub name: &'a str,
    /// How that is.
    pub state: State,
    /// How it was when it was told last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<State>,
    /// Why it is so.
    pub reason: String,
    /// Since when it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Who says it: host and process.
    pub instance: &'a str,
    /// Where it says what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<&'static str>,
    /// All of it in one line, for a person.
    pub text: String,
    /// The run that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<&'a EndedRun>,
}

impl<'a> Notice<'a> {
    /// What is told of this subject to somebody who was told `was` last.
    pub fn of(subject: &'a Subject, id: &'a str, at: Timestamp, was: State, instance: &'a str) -> Self {
        let (name, state) = (subject.name(), subject.state());
        let (event, reason) = match subject {
            Subject::Check { reason, .. } => (change(was, state), reason.clone()),
            Subject::Run(run) => (Event::RunEnded, run.reason()),
            Subject::Stopped(why) => (Event::Stopped, why.clone()),
            Subject::Test => (Event::Test, "somebody tries whether notices arrive".to_owned()),
        };
        let reason = one_line(&reason, LONGEST);
        let (was, since) = match subject {
            Subject::Check { since, .. } => (Some(was), Some(*since)),
            _ => (None, None),
        };
        let said = match (event, state) {
            (Event::RunEnded | Event::Test, _) => reason.clone(),
            (Event::Stopped, _) => format!("the service has stopped and needs a person: {reason}"),
            (Event::Recovered, _) => format!("{name} is well again: {reason}"),
            (_, State::Fail) => format!("{name} fails: {reason}"),
            _ => format!("{name} warns: {reason}"),
        };
        let run = match subject {
            Subject::Run(run) => Some(run),
            _ => None,
        };
        Self {
            v: VERSION,
            id,
            at,
            event,
            name,
            state,
            was,
            reason,
            since,
            instance,
            runbook: runbook(name, state == State::Fail).filter(|_| state != State::Ok),
            text: format!("Rowcall at {instance}: {said}"),
            run,
        }
    }

    /// The same by name, for whoever reads variables: `ROWCALL_EVENT` and so on.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let moment = |at: Option<Timestamp>| at.map(|it| it.to_string()).unwrap_or_default();
        let text = |it: &str| it.replace('\0', "");
        vec![
            ("ROWCALL_ID", text(self.id)),
            ("ROWCALL_AT", moment(Some(self.at))),
            ("ROWCALL_EVENT", self.event.name().to_owned()),
            ("ROWCALL_NAME", text(self.name)),
            ("ROWCALL_STATE", self.state.name().to_owned()),
            ("ROWCALL_WAS", self.was.map(State::name).unwrap_or_default().to_owned()),
            ("ROWCALL_REASON", text(&self.reason)),
            ("ROWCALL_SINCE", moment(self.since)),
            ("ROWCALL_INSTANCE", text(self.instance)),
            ("ROWCALL_RUNBOOK", self.runbook.unwrap_or_default().to_owned()),
            ("ROWCALL_TEXT", text(&self.text)),
        ]
    }
}

fn change(was: State, state: State) -> Event {
    match (was, state) {
        (_, State::Ok) => Event::Recovered,
        (State::Ok, _) => Event::Problem,
        _ => Event::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(subject: &Subject, was: State) -> Value {
        let notice = Notice::of(subject, "7", Timestamp::UNIX_EPOCH, was, "app-1:42");
        serde_json::to_value(&notice).expect("JSON")
    }

    fn check(state: State, reason: &str) -> Subject {
        let (name, reason) = ("remote.bank".to_owned(), reason.to_owned());
        Subject::Check { name, state, reason, since: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_problem_is_written_with_all_that_is_known_of_it() {
        let epoch = "1970-01-01T00:00:00Z";
        let expected = json!({
            "v": 1, "id": "7", "at": epoch, "event": "problem", "name": "remote.bank", "state": "fail", "was": "ok",
            "reason": "the breaker has been open for 30s: it answers 503", "since": epoch, "instance": "app-1:42",
            "runbook": "docs/runbook.md#breaker-open",
            "text": "Rowcall at app-1:42: remote.bank fails: the breaker has been open for 30s: it answers 503"
        });
        assert_eq!(
            written(&check(State::Fail, "the breaker has been open for 30s: it answers 503"), State::Ok),
            expected
        );
    }

    #[test]
    fn what_has_happened_follows_from_what_was_told_last() {
        let event = |was, state| written(&check(state, "so"), was)["event"].as_str().map(str::to_owned);
        for (was, state, expected) in [
            (State::Ok, State::Warn, "problem"),
            (State::Warn, State::Fail, "changed"),
            (State::Fail, State::Warn, "changed"),
            (State::Fail, State::Ok, "recovered"),
        ] {
            assert_eq!(event(was, state).as_deref(), Some(expected));
        }
        let recovered = written(&check(State::Ok, "it takes calls"), State::Fail);
        assert_eq!(recovered["text"], "Rowcall at app-1:42: remote.bank is well again: it takes calls");
        assert!(recovered.get("runbook").is_none());
    }

    fn run(end: RunState, why: Option<&str>, findings: Option<u64>) -> EndedRun {
        EndedRun {
            id: RunId(7),
            source: "main".into(),
            kind: if findings.is_some() { RunKind::Audit } else { RunKind::Snapshot },
            entity: Some("loan".into()),
            end,
            why: why.map(str::to_owned),
            counts: RunCounts { read: 3, applied: 2, skipped: 1, parked: 0 },
            findings,
            finished_at: None,
        }
    }

    #[test]
    fn the_end_of_a_run_says_how_it_ended() {
        for (run, state, text) in [
            (
                run(RunState::Done, None, None),
                State::Ok,
                "run 7 (snapshot of loan) is done; 3 read, 2 applied, 1 skipped, 0 parked",
            ),
            (
                run(RunState::Failed, Some("no table"), None),
                State::Fail,
                "run 7 (snapshot of loan) has failed: no table; 3 read, 2 applied, 1 skipped, 0 parked",
            ),
            (
                run(RunState::Done, None, Some(2)),
                State::Warn,
                "run 7 (audit of loan) is done; 3 read, 2 findings",
            ),
        ] {
            assert_eq!(run.state(), state);
            let written = written(&Subject::Run(run), State::Ok);
            assert_eq!((&written["reason"], &written["event"]), (&json!(text), &json!("run_ended")));
            assert_eq!(written["run"]["id"], 7);
        }
    }

    #[test]
    fn a_reason_is_one_line_and_not_endless_and_a_variable_holds_no_nul() {
        let notice = check(State::Warn, &format!("a\nb\0{}", "x".repeat(5_000)));
        let notice = Notice::of(&notice, "7", Timestamp::UNIX_EPOCH, State::Ok, "a:1");
        assert!(notice.reason.starts_with("a b") && notice.reason.chars().count() <= LONGEST + 1);
        assert!(notice.variables().iter().all(|(_, value)| !value.contains(['\0', '\n'])));
    }
}
