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
    /// The way between it and the database.
    Database(Way, Duration),
    /// The database ends in order, or as in a crash, and comes back.
    Restart { crash: bool },
    /// The remote does this for a time, every so many requests.
    Remote { fault: Fault, every: u64, for_: Duration },
    /// A table is altered that is replicated.
    Alter(&'static str),
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

impl Trouble {
    pub fn any(dice: &mut Dice) -> Self {
        let long = Duration::from_millis(100 + dice.below(900));
        match dice.below(14) {
            0 | 1 => Self::Kill,
            2 | 3 => Self::KillAt(*dice.one(&["after-answer", "after-settle", "after-settle:3"])),
            4 => Self::Terminate,
            5 => Self::Freeze(long),
            6 => Self::Database(Way::Cut, long),
            7 => Self::Database(Way::HalfOpen, long),
            8 => Self::Database(Way::Delay(Duration::from_millis(1 + dice.below(40))), long),
            9 => Self::Database(Way::Throttle(20_000), long),
            10 => Self::Restart { crash: dice.happens(50) },
            11 => Self::Alter(*dice.one(ALTERATIONS)),
            _ => {
                let faults = [
                    (Fault::Status(503), 1),
                    (Fault::Status(500), 3),
                    (Fault::TooMany { retry_after: 1 }, 5),
                    (Fault::DropBefore, 2),
                    (Fault::DropAfter, 2),
                    (Fault::Delay(200), 1),
                    (Fault::Hold, 1),
                ];
                let (fault, every) = dice.one(&faults).clone();
                Self::Remote { fault, every, for_: long }
            }
        }
    }
}
