//! How everything stands.

use super::CallLogStatus;
use crate::{
    model::{Halt, Lsn},
    state::{
        Run,
        postgres::{RemoteStatus, RouteStatus, SourceStatus},
    },
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Everything `rowcall status` shows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Source by source.
    pub sources: Vec<SourceLine>,
    /// What people have paused.
    pub halts: Vec<Halt>,
    /// Remote by remote, for each source that is at work.
    pub remotes: Vec<RemoteStatus>,
    /// The log of calls of each service that is at work.
    pub call_logs: Vec<CallLogLine>,
    /// Route by route.
    pub routes: Vec<RouteStatus>,
    /// The runs that are not over, in the order of their numbers.
    pub runs: Vec<Run>,
    /// Schedule by schedule, of each source.
    pub schedules: Vec<ScheduleLine>,
    /// When all this was read, by the clock of the state database.
    pub read_at: Option<Timestamp>,
}

/// The log of calls of the service that is at work on a source.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CallLogLine {
    /// The source.
    pub source: String,
    /// As it last reported.
    #[serde(flatten)]
    pub status: CallLogStatus,
}

/// One source: what the state database knows, and what the server says of its slot.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SourceLine {
    /// The source's name.
    pub source: String,
    /// `None` before the first start.
    #[serde(flatten)]
    pub state: Option<SourceStatus>,
    /// How much log there is behind the slot's position; `None` if it cannot be told.
    pub lag_bytes: Option<i64>,
    /// How far each stage is behind the server's newest log.
    pub lag: Lag,
    /// How much log the slot keeps from being removed.
    pub kept_bytes: Option<i64>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// How much more may be written before the slot is lost; `None` without limit.
    pub safe_bytes: Option<i64>,
    /// What threatens the slot, and what to do about it.
    pub danger: Option<String>,
    /// Why the source could not be asked.
    pub problem: Option<String>,
}

/// How far a source is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Lag {
    /// What is still to be read.
    pub received: Behind,
    /// What is still to be settled.
    pub settled: Behind,
    /// What the source still has to keep for us.
    pub acknowledged: Behind,
}

/// How far a stage is behind; `None` is what cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Behind {
    /// In bytes of log.
    pub bytes: Option<i64>,
    /// In time.
    pub seconds: Option<f64>,
}

impl Lag {
    /// The server's newest log is at `newest`, and the slot is told to be at `confirmed`.
    pub fn new(state: Option<&SourceStatus>, confirmed: Lsn, newest: Lsn, now: Timestamp) -> Self {
        let bytes = |at: Lsn| i64::try_from(newest.raw().saturating_sub(at.raw())).ok();
        // What nobody waits for is acknowledged without having been read.
        let behind = |at: Lsn| bytes(at.max(confirmed));
        let Some(state) = state else {
            return Self {
                acknowledged: Behind { bytes: bytes(confirmed), seconds: None },
                ..Self::default()
            };
        };
        let received = state.received.and_then(behind);
        let age = state.settled_commit_at.map(|at| now.duration_since(at).as_secs_f64().max(0.0));
        let settled = Some(state.lag_seconds);
        Self {
            received: Behind { bytes: received, seconds: received.filter(|it| *it == 0).map(|_| 0.0) },
            settled: Behind { bytes: behind(state.checkpoint), seconds: settled },
            acknowledged: Behind {
                bytes: bytes(confirmed),
                seconds: if confirmed >= state.checkpoint { settled } else { age },
            },
        }
    }
}

/// A schedule as `rowcall status` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScheduleLine {
    /// Its name: what it is for, when it comes and which rows it takes.
    pub name: String,
    /// The source.
    pub source: String,
    /// The entity.
    pub entity: String,
    /// What is run: `snapshot`, `prune`, `query` or `audit`.
    pub run: &'static str,
    /// When it comes, as configured.
    pub cron: String,
    /// By the clocks of which time zone.
    pub zone: String,
    /// When it asked last, or began; `None` if the service has not seen it yet.
    pub last: Option<Timestamp>,
    /// When it asks next; in the past while its last run is not over.
    pub next: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_behind_by_its_own_position() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        let state = SourceStatus {
            source: "main".to_owned(),
            checkpoint: Lsn::new(600),
            settled_commit_at: "2026-01-31T11:59:00Z".parse().ok(),
            slot: "rowcall".to_owned(),
            received: Some(Lsn::new(900)),
            lag_seconds: 7.0,
            instance: None,
        };
        let lag = |confirmed, newest| {
            let Lag { received, settled, acknowledged } =
                Lag::new(Some(&state), Lsn::new(confirmed), Lsn::new(newest), now);
            [received, settled, acknowledged].map(|it| (it.bytes, it.seconds))
        };
        assert_eq!(lag(500, 1_000), [(Some(100), None), (Some(400), Some(7.0)), (Some(500), Some(60.0))]);
        assert_eq!(
            lag(950, 950),
            [(Some(0), Some(0.0)), (Some(0), Some(7.0)), (Some(0), Some(7.0))],
            "what concerns nobody is acknowledged as it is"
        );
        let unknown = Lag::new(None, Lsn::new(1), Lsn::new(3), now);
        assert_eq!((unknown.received.bytes, unknown.acknowledged.bytes), (None, Some(2)));
    }
}
