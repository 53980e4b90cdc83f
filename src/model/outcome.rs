use super::{Answered, ChangeId};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// One key of one route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The route's name.
    pub route: Arc<str>,
    /// The key as text.
    pub key: Arc<str>,
}

/// What is known of one key at a remote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// Values saved from answers: remote ids and the like. `link.<name>` in expressions.
    pub saved: Map<String, Value>,
    /// The newest change that is applied: an older one is skipped when it is redelivered.
    pub change: ChangeId,
    /// The key was deleted at the remote; kept until the checkpoint has passed it.
    pub gone: bool,
    /// What it depends on, and is deleted before.
    pub parents: Vec<RouteKey>,
    /// What the remote was told last, if it is certain that this is what it has: a change that
    /// would say the same is not sent.
    pub content: Option<ContentHash>,
    /// The newest change that a replay brought, as [`RunId::anew`](super::RunId::anew) names it: the older ones
    /// are not sent once more when that goes on after a crash.
    pub replayed: Option<ChangeId>,
}

/// Stands for all that the calls of a change say: where it is the same, so are they.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(pub u64);

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
        /// What they said, if a later change may be compared with it.
        content: Option<ContentHash>,
    },
    /// The remote has been told the same before, and nothing else since.
    Unchanged,
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
    /// Requests that were sent for it: unlike its attempts they are never forgiven.
    pub requests: u32,
    /// The change its call keys are made of: the oldest one that it absorbed, or itself.
    pub called: ChangeId,
    /// How long until its next attempt, where there is to be one.
    pub wait: Duration,
    /// The present call may have been made without our knowing the answer.
    pub doubt: bool,
    /// In state `waiting`: the key whose link has to come, or whose children's links have to go.
    pub waits_for: Option<RouteKey>,
}

macro_rules! names {
    ($(#[$doc:meta])* $ty:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $ty { $($(#[$variant_doc])* $variant),+ }

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

        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl schemars::JsonSchema for $ty {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($ty).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let names: Vec<&str> = Self::ALL.iter().map(|it| it.name()).collect();
                schemars::json_schema!({ "type": "string", "enum": names })
            }
        }
    };
}

names! {
    /// Where a parked change stands.
    ParkedState {
        /// Will be tried again by itself when its time has come.
        Retrying = "retrying",
        /// Behind an older parked change of its key.
        Queued = "queued",
        /// Its parent is not at the remote yet, or its children still are.
        Waiting = "waiting",
        /// Cannot be sent as it is: the data, the mapping or the remote's answer forbids it.
        Rejected = "rejected",
        /// Gave up after the last attempt.
        Dead = "dead",
    }
}

impl ParkedState {
    /// Nothing comes of it by itself any more.
    pub fn is_given_up(self) -> bool {
        matches!(self, Self::Rejected | Self::Dead)
    }
}

names! {
    /// Why a change was parked: the published taxonomy.
    ParkReason {
        /// No connection, or it broke before the answer.
        Transport = "transport",
        /// No answer in time.
        Timeout = "timeout",
        /// 401 or 403.
        Auth = "auth",
        /// 409: the remote holds something that the call does not agree with.
        Conflict = "conflict",
        /// Refused with another status.
        Refused = "refused",
        /// The answer is not what the configuration promised.
        Answer = "answer",
        /// The row violates `validate`.
        Invalid = "invalid",
        /// The object it depends on is not at the remote.
        Parent = "parent",
        /// Objects that depend on the deleted one are still at the remote, or may be.
        Children = "children",
        /// An expression or template failed on this row.
        Template = "template",
        /// The remote was down for so long that its changes were put aside.
        Outage = "outage",
        /// An older change of the key is parked.
        Behind = "behind",
        /// A truncate waits for a person's decision.
        Truncate = "truncate",
        /// The service stopped in the middle of the sequence.
        Interrupted = "interrupted",
        /// A key or old image is missing from the change.
        Identity = "identity",
        /// What is stored of the change cannot be read.
        Damaged = "damaged",
    }
}
