use super::{Answered, ChangeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What is known of one key at a remote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Values saved from answers: remote ids and the like. `link.<name>` in expressions.
    pub saved: Map<String, Value>,
    /// The newest change that is applied: an older one is skipped when it is redelivered.
    pub change: ChangeId,
    /// The key was deleted at the remote; kept until the checkpoint has passed it.
    pub gone: bool,
}

/// What a finished sequence leaves in the link.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkUpdate {
    /// Merge these into the saved values.
    Save(Map<String, Value>),
    /// The object is gone at the remote.
    Remove,
}

/// How one change ended, for one route.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every call it needed was made.
    Applied {
        /// What is to be remembered of the key.
        update: LinkUpdate,
        /// How many calls that took.
        calls: u16,
    },
    /// Nothing had to be done.
    Skipped {
        /// Why.
        reason: Arc<str>,
    },
    /// Taken out of the stream's way.
    Parked(Parked),
}

/// A change taken out of the stream's way, with what is needed to go on with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// Where it stands.
    pub state: ParkedState,
    /// Why, in a word.
    pub reason: ParkReason,
    /// One message for a person: what was wrong, where, and what to do.
    pub message: String,
    /// The answers so far: a retry resumes behind them.
    pub answers: Vec<Answered>,
    /// Attempts the present call has taken.
    pub attempts: u32,
    /// The change its call keys are made of: the oldest one that it absorbed, or itself.
    pub called: ChangeId,
}

/// Where a parked change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParkedState {
    /// Will be tried again by itself when its time has come.
    Retrying,
    /// Behind an older parked change of its key.
    Queued,
    /// Cannot be sent as it is: the data, the mapping or the remote's answer forbids it.
    Rejected,
    /// Gave up after the last attempt.
    Dead,
}

/// Why a change was parked: the published taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkReason {
    /// No connection, or it broke before the answer.
    Transport,
    /// No answer in time.
    Timeout,
    /// 401 or 403.
    Auth,
    /// Refused with another status.
    Refused,
    /// The answer is not what the configuration promised.
    Answer,
    /// The row violates `validate`.
    Invalid,
    /// An expression or template failed on this row.
    Template,
    /// An older change of the key is parked.
    Behind,
    /// A truncate waits for a person's decision.
    Truncate,
    /// The service stopped in the middle of the sequence.
    Interrupted,
    /// A key or old image is missing from the change.
    Identity,
}

macro_rules! names {
    ($ty:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $ty {
            /// Every value, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name used in the database, on the command line and in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == name)
            }
        }
    };
}

names!(ParkedState { Retrying = "retrying", Queued = "queued", Rejected = "rejected", Dead = "dead" });
names!(ParkReason {
    Transport = "transport",
    Timeout = "timeout",
    Auth = "auth",
    Refused = "refused",
    Answer = "answer",
    Invalid = "invalid",
    Template = "template",
    Behind = "behind",
    Truncate = "truncate",
    Interrupted = "interrupted",
    Identity = "identity",
});
