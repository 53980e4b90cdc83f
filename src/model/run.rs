use super::{ChangeId, Lsn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, str::FromStr, sync::Arc};

/// A run's number in the state database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ordinals from here on number runs, not changes of a transaction.
const RUNS: u64 = 1 << 62;
/// Of those, the ones from here on number changes that a run sends again.
const AGAIN: u64 = 1 << 61;
/// How much of such an ordinal is the change's own; the run's number comes before it.
const OWN: u32 = 36;

impl RunId {
    /// Stands for the run in call keys: whenever a row of the run is sent, also after a restart that
    /// read it again, its calls have the same keys.
    pub fn as_change(self, base: Lsn) -> ChangeId {
        ChangeId { commit: base, ordinal: RUNS | self.0.unsigned_abs() }
    }

    /// Stands for a change in the call keys of a run that sends it again as if it were new: another
    /// in every run, and the same whenever this run sends it.
    pub fn anew(self, change: ChangeId) -> ChangeId {
        let run = self.0.unsigned_abs() << OWN & (AGAIN - 1);
        ChangeId { ordinal: RUNS | AGAIN | run | change.ordinal & ((1 << OWN) - 1), ..change }
    }
}

impl ChangeId {
    /// The run it stands for, if it does: then only together with a key it names a call.
    pub fn run(self) -> Option<RunId> {
        let number = self.ordinal & !(RUNS | AGAIN);
        let run = if self.ordinal & AGAIN != 0 { number >> OWN } else { number };
        (self.ordinal & RUNS != 0).then(|| RunId(run.cast_signed()))
    }
}

/// What a bounded piece of work does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Brings the rows of an entity's table to its remotes.
    Snapshot,
    /// Deletes at the remotes what has a link but no row any more.
    Prune,
    /// Sends changes again that were sent before.
    Replay,
    /// Compares rows with what the remotes hold.
    Audit,
}

impl RunKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Snapshot, Self::Prune, Self::Replay, Self::Audit];

    /// As the state database and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Prune => "prune",
            Self::Replay => "replay",
            Self::Audit => "audit",
        }
    }
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Asked for; the service has not begun it yet.
    Requested,
    /// Under way, or to be gone on with after a restart.
    Running,
    /// A person has it wait.
    Paused,
    /// It has done everything.
    Done,
    /// It cannot go on; its error says why.
    Failed,
    /// A person has ended it.
    Cancelled,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Requested, Self::Running, Self::Paused, Self::Done, Self::Failed, Self::Cancelled];

    /// As the state database and people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing more comes of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A name that is none of the known ones.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is unknown")]
pub struct UnknownName(String);

impl FromStr for RunKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

impl FromStr for RunState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| UnknownName(text.to_owned()))
    }
}

/// What a person, a schedule or a first start asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// What to do.
    pub kind: RunKind,
    /// For which entity; all of the source's for a replay that names none.
    pub entity: Option<Arc<str>>,
    /// How, by the kind's own names, as JSON.
    pub options: Map<String, Value>,
    /// Who asked, such as `command`, `initial` or `schedule`.
    pub origin: Arc<str>,
}

/// What a run has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunCounts {
    /// Rows, keys or changes looked at.
    pub read: u64,
    /// Of those, how many led to calls that were answered.
    pub applied: u64,
    /// How many needed none: unchanged, left out, or overtaken by the live stream.
    pub skipped: u64,
    /// How many were parked.
    pub parked: u64,
}

impl RunCounts {
    /// Adds what another count says.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.applied += other.applied;
        self.skipped += other.skipped;
        self.parked += other.parked;
    }
}

/// How far a run has come since it was last told, to be stored with the outcomes it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct RunProgress {
    /// The run.
    pub run: RunId,
    /// Where it goes on after a restart: everything before is settled. `None`: where it was.
    pub cursor: Option<Value>,
    /// Added to what is stored.
    pub counts: RunCounts,
    /// How many it will have looked at in the end, about, if that is known anew.
    pub expected: Option<u64>,
    /// What it has found so far, if that is known anew.
    pub report: Option<Value>,
    /// It ends by this.
    pub end: Option<RunEnd>,
}

/// How a run ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It has done everything.
    Done,
    /// It cannot go on: one message that says what, where and how to go on.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_sent_anew_has_another_name_in_every_run_and_the_same_in_one() {
        let change = ChangeId { commit: Lsn::new(7), ordinal: 5 };
        let anew = RunId(3).anew(change);
        assert_eq!((anew, anew.commit), (RunId(3).anew(change), change.commit));
        let others = [RunId(4).anew(change), RunId(3).anew(ChangeId { ordinal: 4, ..change }), change];
        assert!(!others.contains(&anew) && RunId(3).as_change(change.commit) != anew);
        assert_eq!((anew.run(), RunId(9).as_change(Lsn::new(7)).run()), (Some(RunId(3)), Some(RunId(9))));
        assert!(
            i64::try_from(RunId(1 << 24).anew(change).ordinal).is_ok(),
            "the state database has room for it"
        );
    }
}
