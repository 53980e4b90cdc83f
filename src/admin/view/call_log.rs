//! How the log of calls stands: what the service reports of it, and what anyone reads.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The log of calls, as the service that is at work on a source last reported it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallLogStatus {
    /// Where records go.
    pub goes_to: String,
    /// What keeps them from it; `None` where nothing does.
    pub trouble: Option<Trouble>,
    /// How many calls wait until there is room for their records.
    #[serde(default)]
    pub held: u64,
    /// How many records were taken over.
    pub written: u64,
    /// How many are there.
    pub sent: u64,
    /// How many were dropped for want of room, or lost by damage of the spool.
    pub dropped: u64,
    /// How many the store will never take.
    pub refused: u64,
    /// What is only in memory.
    pub memory_bytes: u64,
    /// What lies on disk, where there is a spool.
    pub spool: Option<SpoolStatus>,
    /// The log keeper in the same process.
    pub keeper: Option<KeeperStatus>,
}

/// What waits on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolStatus {
    /// How much it is.
    pub bytes: u64,
    /// How many records of it are not known to be sent.
    pub records: u64,
    /// How much it may be.
    pub max: u64,
    /// What keeps records from it, or in it.
    pub trouble: Option<Trouble>,
}

/// What a keeper has done since the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeeperStatus {
    /// Where it stores records.
    pub stores_in: String,
    /// How many it stored.
    pub stored: u64,
    /// How many it put into the dead-letter queue.
    pub dead: u64,
    /// What keeps it from working.
    pub trouble: Option<Trouble>,
}

/// Something does not work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trouble {
    /// For how long, when it was reported.
    seconds: f64,
    /// Since when.
    pub since: Option<Timestamp>,
    /// What happened last.
    pub error: String,
}

impl Trouble {
    /// It has failed since then.
    pub fn new(since: Instant, error: &str) -> Self {
        Self { seconds: since.elapsed().as_secs_f64(), since: None, error: error.to_owned() }
    }
}

impl CallLogStatus {
    /// As it was reported at this time.
    pub fn reported(mut self, at: Timestamp) -> Self {
        let keeper = self.keeper.iter_mut().flat_map(|it| &mut it.trouble);
        let spool = self.spool.iter_mut().flat_map(|it| &mut it.trouble);
        for trouble in self.trouble.iter_mut().chain(spool).chain(keeper) {
            let age = SignedDuration::try_from_secs_f64(trouble.seconds).ok();
            trouble.since = age.and_then(|age| at.checked_sub(age).ok());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_dated_by_the_clock_of_who_keeps_the_report() {
        let trouble = || Some(Trouble { seconds: 90.0, since: None, error: "away".to_owned() });
        let keeper = KeeperStatus { stores_in: "there".to_owned(), stored: 1, dead: 2, trouble: trouble() };
        let spool = SpoolStatus { bytes: 1, records: 2, max: 3, trouble: trouble() };
        let status = CallLogStatus {
            trouble: trouble(),
            keeper: Some(keeper),
            spool: Some(spool),
            ..CallLogStatus::default()
        };
        let stored = serde_json::to_value(&status).expect("JSON");
        let read: CallLogStatus = serde_json::from_value(stored).expect("the same");
        let read = read.reported("2026-01-31T12:00:00Z".parse().expect("a time"));
        let since = Some("2026-01-31T11:58:30Z".parse().expect("a time"));
        assert_eq!(read.trouble.and_then(|it| it.since), since);
        assert_eq!(read.spool.and_then(|it| it.trouble).and_then(|it| it.since), since);
        assert_eq!(read.keeper.and_then(|it| it.trouble).and_then(|it| it.since), since);
    }
}
