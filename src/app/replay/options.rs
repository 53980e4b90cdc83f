use super::point::Point;
use crate::{capture::logical::inspect::Slot, engine::Window, model::Lsn, state::Run};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a replay is told, as a run stores it. Whatever it says means the same at any later time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::app) struct ReplayOptions {
    /// A checkpoint's name, a position or a time.
    pub(in crate::app) from: String,
    /// A position or a time; everything that is settled when it begins, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::app) to: Option<String>,
    /// Only these entities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::app) entities: Vec<String>,
    /// Only these keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::app) keys: Vec<String>,
    /// Under call keys of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::app) new_keys: bool,
}

/// What of the log a replay reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) window: Window,
    /// Where it goes on.
    pub(super) at: Lsn,
    /// The window ends before the first transaction that was committed after this: where that is has
    /// still to be found.
    pub(super) until: Option<Timestamp>,
}

/// How far a replay has come, as the engine stores it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cursor {
    at: Option<String>,
    to: Option<String>,
}

impl ReplayOptions {
    /// Those of a run.
    pub(in crate::app) fn of(run: &Run) -> Result<Self, String> {
        serde_json::from_value(Value::Object(run.options.clone()))
            .map_err(|error| format!("its options cannot be read: {error}"))
    }

    pub(super) fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    pub(super) fn from(&self) -> Result<Point, String> {
        self.from.parse().map_err(|error: super::BadPoint| error.to_string())
    }

    /// What a run reads that began when everything before `base` was settled, by a slot of its own.
    pub(super) fn extent(&self, run: &Run, base: Lsn, slot: &Slot) -> Result<Extent, String> {
        let cursor: Cursor =
            run.cursor.clone().and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
        let position = |text: Option<String>| text.and_then(|it| it.parse::<Lsn>().ok());
        let kept = slot.confirmed.unwrap_or_default();
        let (found, at) = (position(cursor.to), position(cursor.at));
        let (start, since) = match self.from()? {
            Point::Lsn(lsn) if lsn < kept && at.is_none() => {
                return Err(format!("what was committed from {lsn} on is in the log from {kept} on only"));
            }
            Point::Lsn(lsn) => (lsn, None),
            Point::Time(at) => (kept, Some(at)),
            Point::Checkpoint(_) | Point::Ago(_) => (kept, None),
        };
        let to = self.to.as_ref().map(|it| it.parse::<Point>()).transpose().map_err(|it| it.to_string())?;
        let (to, until) = match (found, to) {
            (Some(found), _) => (found, None),
            (None, Some(Point::Lsn(lsn))) => (lsn, None),
            (None, Some(Point::Time(until))) => (base, Some(until)),
            (None, _) => (base, None),
        };
        let window = Window { start, since, to: to.min(base) };
        Ok(Extent { window, at: at.unwrap_or(start), until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunId, RunKind, RunRequest};
    use serde_json::json;

    fn extent(from: &str, to: Option<&str>, cursor: Option<Value>) -> Extent {
        let options =
            ReplayOptions { from: from.to_owned(), to: to.map(str::to_owned), ..ReplayOptions::default() };
        let (kind, origin) = (RunKind::Replay, "test".into());
        let request = RunRequest { kind, entity: None, options: options.to_map(), origin };
        let run = Run { cursor, ..Run::requested(RunId(1), "main", request, Timestamp::UNIX_EPOCH) };
        let slot = Slot {
            plugin: String::new(),
            database: String::new(),
            active_pid: None,
            wal_status: "reserved".to_owned(),
            confirmed: Some(Lsn::new(0x10)),
            lag_bytes: 0,
            kept_bytes: 0,
            safe_bytes: None,
            at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(ReplayOptions::of(&run), Ok(options.clone()));
        options.extent(&run, Lsn::new(0x90), &slot).expect("it can be told")
    }

    #[test]
    fn a_window_ends_at_the_latest_where_everything_was_settled() {
        let window = |start, to| Window { start: Lsn::new(start), since: None, to: Lsn::new(to) };
        assert_eq!(extent("name", None, None).window, window(0x10, 0x90));
        assert_eq!(extent("0/20", Some("0/50"), None).window, window(0x20, 0x50));
        assert_eq!(extent("0/20", Some("0/99"), None).window, window(0x20, 0x90));
    }

    #[test]
    fn times_are_found_in_the_log_and_remembered() {
        let (from, to) = ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z");
        let first = extent(from, Some(to), None);
        assert_eq!(first.window.since, Some(from.parse().expect("a time")));
        assert_eq!((first.until, first.at), (Some(to.parse().expect("a time")), Lsn::new(0x10)));
        let again = extent(from, Some(to), Some(json!({ "at": "0/30", "to": "0/70" })));
        assert_eq!((again.until, again.at, again.window.to), (None, Lsn::new(0x30), Lsn::new(0x70)));
    }
}
