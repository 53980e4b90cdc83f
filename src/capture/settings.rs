use crate::model::{ByteSize, Span};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `sources.<name>`: a Postgres database and the way its changes are captured.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub struct Settings {
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`; several hosts, unix
    /// sockets and libpq's keywords are understood.
    #[schemars(with = "String", extend("writeOnly" = true))]
    #[serde(serialize_with = "crate::model::masked")]
    pub url: SecretString,
    /// How changes are captured.
    #[serde(default)]
    pub capture: Capture,
    /// Where Rowcall keeps its own state; the source database unless given.
    #[serde(default)]
    pub state: Option<StateSettings>,
    /// How often the checkpoint follows the server while no routed change arrives.
    #[serde(default = "heartbeat")]
    pub heartbeat: Span,
    /// How much log the source may keep for the sake of a remote that does not keep up.
    #[serde(default)]
    pub wal_guard: WalGuard,
    /// What is kept for `rowcall replay`.
    #[serde(default)]
    pub replay: Replay,
}

/// `sources.<name>.wal_guard`: beyond either, what waits for a remote that is down or slow is put
/// aside in `parked`, so that the source need not keep its log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WalGuard {
    /// Log behind what was acknowledged, which the slot keeps for what is not settled.
    pub bytes: ByteSize,
    /// How long the oldest transaction may wait to be settled, since it was read.
    pub after: Span,
}

impl Default for WalGuard {
    fn default() -> Self {
        Self { bytes: ByteSize(1 << 30), after: Span(Duration::from_secs(3_600)) }
    }
}

/// `sources.<name>.replay`: the log that is kept so that it can be read again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Replay {
    /// How far one may go back at any time: a slot trails behind by this. Without it only named
    /// checkpoints can be replayed.
    pub keep: Option<Span>,
    /// Log that the source may keep for a checkpoint, and for `keep`; beyond it the service drops the
    /// oldest checkpoint, and keeps less than `keep`.
    pub max: ByteSize,
}

impl Default for Replay {
    fn default() -> Self {
        Self { keep: None, max: ByteSize(4 << 30) }
    }
}

/// `sources.<name>.state`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSettings {
    /// The state database's URL.
    #[schemars(with = "String", extend("writeOnly" = true))]
    #[serde(serialize_with = "crate::model::masked")]
    pub url: SecretString,
}

/// `sources.<name>.capture`: one of the ways.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Capture {
    /// Logical replication: a slot and a publication, made by `rowcall init`.
    Logical(LogicalSettings),
}

impl Default for Capture {
    fn default() -> Self {
        Self::Logical(LogicalSettings::default())
    }
}

/// `sources.<name>.capture.logical`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogicalSettings {
    /// The replication slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
}

impl Default for LogicalSettings {
    fn default() -> Self {
        Self { slot: "rowcall".to_owned(), publication: "rowcall".to_owned() }
    }
}

fn heartbeat() -> Span {
    Span(Duration::from_secs(10))
}
