//! How much log the slot keeps, and whether the server will go on keeping it: looked at every few
//! seconds, told to the engine, and said loudly when the slot is in danger.

use super::{
    clock, mark_watch::MarkWatch, plan::SourcePlan, publication_watch::PublicationWatch, replay::Keeper,
};
use crate::{
    capture::{
        SourceError,
        logical::{
            SLOT_ANEW, beat,
            inspect::{self, Slot},
            lost_slot,
        },
    },
    engine::KeptLog,
    model::ByteSize,
    postgres::{self, Client},
    state::postgres::PostgresStore,
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A look that takes longer has failed: the connection may be dead without our knowing.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// What a look finds, unless that takes too long.
pub(super) async fn in_time(look: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let late = |_| Err(format!("no answer within {} seconds", LOOK_WITHIN.as_secs()));
    timeout(LOOK_WITHIN, look).await.unwrap_or_else(late)
}

/// So many looks in a row have to fail before it is said.
const FAILURES: u32 = 3;
/// What was seen longer ago than this is not true any more.
const STALE: Duration = Duration::from_secs(30);
/// What is said already is said again after this long.
pub(super) const SAY_AGAIN: Duration = Duration::from_secs(300);

/// Looks at the slot until it is lost, and says what that means: whoever streams may not read for a
/// long while, and not hear of it.
///
/// The named checkpoints, and the slot that trails behind, are looked at over the same connection.
pub(super) async fn watch_slot(
    plan: &SourcePlan,
    kept: &watch::Sender<Option<KeptLog>>,
    store: &PostgresStore,
) -> String {
    let mut client = None;
    let (mut marks, mut keeper) = (MarkWatch::default(), Keeper::default());
    let mut publication = PublicationWatch::default();
    let mut said: Option<(Grade, Instant)> = None;
    let mut blind = Blind::new(Instant::now());
    loop {
        match within(look(plan, &mut client)).await {
            Ok(slot) => {
                if blind.sees(Instant::now()) {
                    tracing::info!(source = plan.name, slot = plan.slot, "the slot can be looked at again");
                }
                if slot.as_ref().is_some_and(|slot| slot.wal_status == "lost") {
                    return format!("{}: {SLOT_ANEW}", lost_slot(&plan.slot));
                }
                plan.vitals.looked(slot.as_ref());
                if let Some(slot) = slot {
                    let log = KeptLog { at: slot.at, lag: slot.lag_bytes.max(0).unsigned_abs() };
                    kept.send_replace(Some(log));
                    say(plan, &slot, &mut said);
                }
                if let Some(beating) = &client
                    && plan.vitals.wants_beat()
                {
                    let written = within(beat(beating)).await.map_err(|error| error.to_string());
                    if written.is_err() {
                        client = None;
                    }
                    plan.vitals.wrote_beat(written);
                }
                if let Some(client) = &client {
                    publication.look(plan, client).await;
                    marks.look(plan, client, store).await;
                    keeper.look(plan, client, store).await;
                }
            }
            Err(error) => {
                client = None;
                plan.vitals.cannot_look(&error.to_string());
                plan.vitals.wrote_beat(Err(error.to_string()));
                let now = Instant::now();
                if blind.fails(now) {
                    tracing::warn!(
                        source = plan.name,
                        slot = plan.slot,
                        "the replication slot cannot be looked at, so `wal_guard.bytes` cannot be kept and only \
                         `wal_guard.after` is: {error}. Let the source take another connection of its user"
                    );
                }
                if blind.is_stale(now) {
                    kept.send_replace(Some(KeptLog::unknown(clock::now())));
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Says so if the slot is in danger and that was not said a short time ago.
fn say(plan: &SourcePlan, slot: &Slot, said: &mut Option<(Grade, Instant)>) {
    let grade = Grade::of(slot);
    let unsaid = |(before, at): &(Grade, Instant)| Some(*before) != grade || at.elapsed() >= SAY_AGAIN;
    match grade.zip(danger(plan, slot)) {
        Some((grade, danger)) if said.as_ref().is_none_or(unsaid) => {
            tracing::error!(source = plan.name, slot = plan.slot, "{danger}");
            *said = Some((grade, Instant::now()));
        }
        Some(_) => {}
        None => *said = None,
    }
}

async fn within<T>(look: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
    timeout(LOOK_WITHIN, look).await.unwrap_or_else(|_| {
        Err(SourceError::Connection {
            doing: "looking at the replication slot".to_owned(),
            message: format!("no answer within {} seconds", LOOK_WITHIN.as_secs()),
        })
    })
}

/// How long the slot could not be looked at.
#[derive(Debug)]
struct Blind {
    failures: u32,
    seen: Instant,
    said: Option<Instant>,
}

impl Blind {
    fn new(now: Instant) -> Self {
        Self { failures: 0, seen: now, said: None }
    }

    /// A look succeeded. `true` if it was said that none did.
    fn sees(&mut self, now: Instant) -> bool {
        let was_said = self.said.is_some();
        *self = Self::new(now);
        was_said
    }

    /// A look failed. `true` if that is to be said.
    fn fails(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let due = self.failures >= FAILURES && self.said.is_none_or(|at| now - at >= SAY_AGAIN);
        if due {
            self.said = Some(now);
        }
        due
    }

    fn is_stale(&self, now: Instant) -> bool {
        now - self.seen >= STALE
    }
}

async fn look(plan: &SourcePlan, client: &mut Option<Client>) -> Result<Option<Slot>, SourceError> {
    if client.is_none() {
        let failed = |error: postgres::ConnectError| SourceError::Connection {
            doing: "looking at the replication slot".to_owned(),
            message: error.to_string(),
        };
        *client = Some(postgres::connect(&plan.target).await.map_err(failed)?);
    }
    match client {
        Some(client) => inspect::slot(client, &plan.slot).await,
        None => Ok(None),
    }
}

/// How near a slot is to its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    /// It keeps more than usual.
    Extended,
    /// Less than a quarter of what it may keep is left.
    SoonLost,
    /// The server may remove its log at any checkpoint.
    Unreserved,
    Lost,
}

impl Grade {
    fn of(slot: &Slot) -> Option<Self> {
        let is_little = |safe: i64| safe < (slot.kept_bytes.max(0) + safe) / 4;
        match slot.wal_status.as_str() {
            "lost" => Some(Self::Lost),
            "unreserved" => Some(Self::Unreserved),
            _ if slot.safe_bytes.is_some_and(is_little) => Some(Self::SoonLost),
            "extended" => Some(Self::Extended),
            _ => None,
        }
    }
}

/// What threatens the slot, and what to do about it.
pub(super) fn danger(plan: &SourcePlan, slot: &Slot) -> Option<String> {
    let name = &plan.slot;
    let (kept, left) = (rough(slot.kept_bytes), slot.safe_bytes.map(rough));
    let cure = format!(
        "Raise `max_slot_wal_keep_size` on the server, see in `rowcall status` which remote does not keep up, or lower \
         `sources.{}.wal_guard` so that its changes are put aside earlier",
        plan.name
    );
    Some(match Grade::of(slot)? {
        Grade::Lost => format!("{}: {SLOT_ANEW}", lost_slot(name)),
        Grade::Unreserved => format!(
            "replication slot `{name}` is about to be lost: it keeps {kept} of log and the server may remove it at the \
             next checkpoint. {cure}"
        ),
        Grade::SoonLost => format!(
            "replication slot `{name}` may soon be lost: it keeps {kept} of log, and after another {} the server removes \
             what it needs. {cure}",
            left.unwrap_or(ByteSize(0))
        ),
        Grade::Extended => {
            let limit = match left {
                Some(left) => format!("another {left} may be written before it is lost"),
                None => "nothing limits it but the server's disk".to_owned(),
            };
            format!(
                "replication slot `{name}` keeps {kept} of log, more than `max_wal_size`; {limit}. See in `rowcall status` \
                 which remote does not keep up"
            )
        }
    })
}

pub(super) fn rough(bytes: i64) -> ByteSize {
    ByteSize(bytes.max(0).unsigned_abs()).rounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_to_what_a_person_reads() {
        for (bytes, text) in [(0, "0B"), (900, "900B"), (20_000, "19KiB"), (1_500_000_000, "1430MiB")] {
            assert_eq!(rough(bytes).to_string(), text);
        }
    }
    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_has_failed() {
        let never = within(std::future::pending::<Result<(), SourceError>>()).await;
        let error = never.expect_err("it hangs").to_string();
        assert!(error.contains("no answer within 10 seconds"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_said_once_in_a_while_and_make_what_was_seen_stale() {
        let mut blind = Blind::new(Instant::now());
        let mut said = Vec::new();
        for second in (2..=320).step_by(2) {
            tokio::time::advance(LOOK_EVERY).await;
            if blind.fails(Instant::now()) {
                said.push(second);
            }
            assert_eq!(blind.is_stale(Instant::now()), second >= 30, "in second {second}");
        }
        assert_eq!(said, [6, 306]);
        assert!(blind.sees(Instant::now()) && !blind.is_stale(Instant::now()));
        assert!(!blind.fails(Instant::now()) && !blind.sees(Instant::now()), "one failure is nothing to say");
    }
}
