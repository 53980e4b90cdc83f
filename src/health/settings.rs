use crate::model::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU64, time::Duration};

/// `admin.health`: from where on something is not well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Health")]
pub struct Settings {
    /// How long the server may have log that is not settled.
    pub lag: LagLimits,
    /// How much of it there may be.
    pub lag_bytes: LogLimits,
    /// How long nothing may come from a source.
    pub heartbeat: HeartbeatLimits,
    /// How full the spool of the log of calls may be.
    pub spool: SpoolLimits,
    /// How many changes of a source may be parked for a person.
    pub parked: ParkedLimits,
}

/// `admin.health.lag`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LagLimits {
    /// Beyond it `/healthz` says `warn`.
    pub warn: Span,
    /// Beyond it `/healthz` says `fail`.
    pub fail: Span,
}

impl Default for LagLimits {
    fn default() -> Self {
        Self { warn: Span(Duration::from_secs(60)), fail: Span(Duration::from_secs(900)) }
    }
}

/// `admin.health.lag_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogLimits {
    /// Beyond it `/healthz` says `warn`.
    pub warn: ByteSize,
    /// Beyond it `/healthz` says `fail`.
    pub fail: ByteSize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { warn: ByteSize(256 << 20), fail: ByteSize(2 << 30) }
    }
}

/// `admin.health.heartbeat`: each is about a source from which nothing comes although a heartbeat is
/// written into its log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatLimits {
    /// After this long `/readyz` says so, with 503.
    pub late: Span,
    /// After this long the capture is ended and begun anew.
    pub restart: Span,
    /// After this long without a turn of a source's loop `/livez` says so, with 503.
    pub stuck: Span,
}

impl Default for HeartbeatLimits {
    fn default() -> Self {
        let seconds = |it| Span(Duration::from_secs(it));
        Self { late: seconds(60), restart: seconds(180), stuck: seconds(60) }
    }
}

/// `admin.health.spool`, in percent of `call_log.spool.max`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpoolLimits {
    /// From it on `/healthz` says `warn`.
    #[schemars(range(max = 100))]
    pub warn: u8,
    /// From it on `/healthz` says `fail`.
    #[schemars(range(max = 100))]
    pub fail: u8,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self { warn: 50, fail: 90 }
    }
}

/// `admin.health.parked`: changes that are `rejected` or `dead`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParkedLimits {
    /// From so many on `/healthz` says `warn`.
    pub warn: NonZeroU64,
    /// From so many on `/healthz` says `fail`.
    pub fail: NonZeroU64,
}

impl Default for ParkedLimits {
    fn default() -> Self {
        Self { warn: NonZeroU64::MIN, fail: NonZeroU64::MIN.saturating_add(999) }
    }
}

impl Settings {
    /// What cannot work: where, below `admin.health`, and why.
    pub fn faults(&self) -> Vec<(Vec<&'static str>, String)> {
        let mut faults = Vec::new();
        let mut pair = |block: &'static str, warn: String, fail: String, ordered: bool| {
            if !ordered {
                let message = format!("`warn` ({warn}) has to be less than `fail` ({fail})");
                faults.push((vec![block, "warn"], message));
            }
        };
        let Self { lag, lag_bytes, heartbeat, spool, parked } = self;
        pair("lag", lag.warn.to_string(), lag.fail.to_string(), lag.warn < lag.fail);
        let ordered = lag_bytes.warn < lag_bytes.fail;
        pair("lag_bytes", lag_bytes.warn.to_string(), lag_bytes.fail.to_string(), ordered);
        pair("spool", spool.warn.to_string(), spool.fail.to_string(), spool.warn < spool.fail);
        pair("parked", parked.warn.to_string(), parked.fail.to_string(), parked.warn < parked.fail);
        let HeartbeatLimits { late, restart, stuck } = heartbeat;
        let soonest = Span(SOONEST);
        for (key, span) in [("late", late), ("stuck", stuck)] {
            if *span < soonest {
                let message =
                    format!("`{key}` ({span}) is too short to tell a stall from a pause: at least {soonest}");
                faults.push((vec!["heartbeat", key], message));
            }
        }
        if restart <= late {
            let message = format!("`restart` ({restart}) has to be longer than `late` ({late})");
            faults.push((vec!["heartbeat", "restart"], message));
        }
        faults
    }
}

/// Heartbeats are written every second at most.
const SOONEST: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_cannot_be_meant_are_refused() {
        assert_eq!(Settings::default().faults(), []);
        let seconds = |it| Span(Duration::from_secs(it));
        let wrong = Settings {
            lag: LagLimits { warn: seconds(60), fail: seconds(60) },
            heartbeat: HeartbeatLimits { late: seconds(1), restart: seconds(1), stuck: seconds(60) },
            ..Settings::default()
        };
        let at: Vec<_> = wrong.faults().into_iter().map(|(path, _)| path.join(".")).collect();
        assert_eq!(at, ["lag.warn", "heartbeat.late", "heartbeat.restart"]);
    }
}
