//! What goes wrong.

use crate::harness::proxy::Way;
use rowcall::demo::{Dice, Fault};
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Trouble {
    /// The service is killed.
    Kill,
    /// It is killed where it comes to this point.
    KillAt(&'static str),
    /// It is asked to end.
    Terminate,
    /// It stands still, as a machine that was suspended.
    Freeze(Duration),
    /// The way between it and another part.
    Way(Part, Way, Duration),
    /// A part ends in order, or as in a crash, and comes back.
    Restart { part: Part, crash: bool },
    /// The remote does this for a time, every so many requests.
    Remote { fault: Fault, every: u64, for_: Duration },
    /// No token is good any more that the remote has given.
    Revoke,
    /// Somebody has what is parked tried again.
    Retry,
    /// A table is altered that is replicated.
    Alter(&'static str),
    /// Somebody asks for a run: its kind, and its options.
    Run(&'static str, &'static str),
}

/// What the service speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Database,
    Remote,
    Broker,
    Store,
}

/// What kinds of troubles a storm has beside the others.
#[derive(Clone, Copy, Default)]
pub struct Sky {
    /// The service ends in order only.
    pub orderly: bool,
    /// The log of calls goes through a broker into a store.
    pub logs: bool,
    /// Runs are asked for.
    pub runs: bool,
}

/// Columns that no template names come and go, and one that is mapped changes its type and back.
const ALTERATIONS: &[&str] = &[
    "alter table customers add column if not exists note text default 'x'",
    "alter table customers drop column if exists note",
    "alter table loans add column if not exists extra jsonb default '{\"a\": 1}'",
    "alter table loans drop column if exists extra",
    "alter table collateral alter column kind type varchar(40)",
    "alter table collateral alter column kind type text",
    "create table if not exists other (id int primary key)",
    "drop table if exists other",
    "alter table loans replica identity full",
    "alter table loans replica identity default",
];

const POINTS: &[&str] = &["after-answer", "after-settle", "after-settle:3"];

const RUNS: &[(&str, &str)] = &[
    ("snapshot", "{}"),
    ("snapshot", r#"{"force": true}"#),
    ("snapshot", r#"{"where": "id % 3 = 0"}"#),
    ("prune", r#"{"dry_run": true}"#),
    ("replay", r#"{"from": "start", "new_keys": false}"#),
    ("replay", r#"{"from": "start", "new_keys": true}"#),
];

impl Trouble {
    pub fn any(dice: &mut Dice, sky: Sky) -> Self {
        match dice.below(100) {
            0..40 if sky.logs => return Self::of_the_log(dice),
            0..25 if sky.runs => {
                let (kind, options) = *dice.one(RUNS);
                return Self::Run(kind, options);
            }
            _ => {}
        }
        let long = Duration::from_millis(100 + dice.below(900));
        match dice.below(20) {
            0..4 if sky.orderly => Self::Terminate,
            0 | 1 => Self::Kill,
            2 | 3 => Self::KillAt(dice.one::<&str>(POINTS)),
            4 => Self::Terminate,
            5 => Self::Freeze(long),
            6..10 => Self::Way(Part::Database, way(dice), long),
            10 | 11 => Self::Way(Part::Remote, way(dice), long),
            12 => Self::Restart { part: Part::Database, crash: dice.happens(50) },
            13 => Self::Alter(dice.one::<&str>(ALTERATIONS)),
            14 => Self::Revoke,
            15 => Self::Retry,
            _ => {
                let faults = [
                    (Fault::Status(503), 1),
                    (Fault::Status(500), 3),
                    (Fault::TooMany { retry_after: 1 }, 5),
                    (Fault::DropBefore, 2),
                    (Fault::DropAfter, 2),
                    (Fault::Delay(200), 1),
                    (Fault::Hold, 1),
                    (Fault::Truncate, 2),
                    (Fault::SlowBody(150), 1),
                    // What is refused for good waits for a person.
                    (Fault::Status(422), 7),
                    (Fault::Status(409), 11),
                    (Fault::Status(403), 13),
                ];
                let (fault, every) = dice.one(&faults).clone();
                Self::Remote { fault, every, for_: long }
            }
        }
    }

    fn of_the_log(dice: &mut Dice) -> Self {
        let part = *dice.one(&[Part::Broker, Part::Store]);
        // Longer, since it takes both ends a while to notice.
        let long = Duration::from_millis(200 + dice.below(1_800));
        match dice.below(10) {
            // Starting again takes a broker several seconds.
            0 | 1 => Self::Restart { part, crash: dice.happens(50) },
            _ => Self::Way(part, way(dice), long),
        }
    }
}

fn way(dice: &mut Dice) -> Way {
    match dice.below(5) {
        0 => Way::Cut,
        1 => Way::HalfOpen,
        2 => Way::Delay(Duration::from_millis(1 + dice.below(40))),
        3 => Way::Throttle(20_000),
        _ => Way::Refused,
    }
}
