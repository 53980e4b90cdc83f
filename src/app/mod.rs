//! The composition root: configuration in, running parts out. The only room that wires.
//!
//! [`App`] is what the command line uses, and what a program that embeds Rowcall with classes of
//! its own uses: `App::new(loaded, Classes::standard().with("loan", …)).run(stop)`.
//!
//! Upholds invariant 8: before anything streams, configuration, templates, the database and the
//! binding of the checkpoint are checked, and what is wrong is said with its cure. It decides
//! nothing about a change: that is the engine's.

mod along;
mod audit;
mod audits;
mod binding;
mod call_log;
mod call_log_status;
mod calls;
mod check;
mod checkpoints;
mod clock;
mod coordinator;
mod desk;
mod halts;
mod init;
mod lineage;
mod mark_watch;
mod notices;
mod operation;
mod plan;
mod preview;
mod publication_watch;
mod ready;
mod replay;
mod runs;
mod schedule;
mod serve;
mod session;
mod slot_watch;
mod snapshot;
mod state;
mod status;
mod telemetry;
mod vitals;

pub use crate::admin::view::{
    CallLogLine, CallLogStatus, CheckpointLine, Finding, KeeperStatus, Lineage, LineageObject, LineageOf,
    ScheduleLine, SpoolStatus, Status, Trouble, Verdict,
};
pub use audit::Audit;
pub use audits::AuditOptions;
pub use calls::CallArchive;
pub use coordinator::RunOptions;
pub use halts::HaltOrder;
pub use init::Initialised;
pub use operation::Order;
pub use preview::{Preview, PreviewedCall};
pub use replay::{BadPoint, Point, ReplayRequest};
pub use runs::{RunWatch, Seen};
pub use snapshot::SnapshotRequest;
pub use state::StateConnection;

use crate::{capture::SourceError, config::Loaded, synchronize::Classes, telemetry::Exporter};
use plan::SourcePlan;
use std::sync::Arc;
use vitals::Vitals;

/// Why an operation of the application failed: one message for a person.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration cannot work: each line says what and where.
    #[error("{}", .0.join("\n"))]
    Configuration(Vec<String>),
    /// Something else a person must repair.
    #[error("{0}")]
    Failed(String),
    /// A server could not be reached or broke off; another try may do.
    #[error("{0}")]
    Unreachable(String),
}

impl AppError {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<crate::postgres::ConnectError> for AppError {
    fn from(error: crate::postgres::ConnectError) -> Self {
        if error.is_final() { Self::failed(error) } else { Self::Unreachable(error.to_string()) }
    }
}

impl From<SourceError> for AppError {
    fn from(error: SourceError) -> Self {
        if error.is_final() { Self::failed(error) } else { Self::Unreachable(error.to_string()) }
    }
}

/// Rowcall with one configuration.
#[derive(Clone)]
pub struct App {
    loaded: Arc<Loaded>,
    classes: Classes,
    exporter: Option<Exporter>,
    vitals: Arc<Vitals>,
}

impl App {
    /// Takes a configuration that was loaded, and the classes its entities may name.
    pub fn new(loaded: Loaded, classes: Classes) -> Self {
        let exporter = loaded.config.log.otlp.clone().map(|it| Exporter::new(it, clock::now));
        Self { loaded: Arc::new(loaded), classes, exporter, vitals: Arc::default() }
    }

    /// Everything that can be said about the configuration without a database.
    pub fn validate(&self) -> Result<(), AppError> {
        self.plans().map(|_| ())
    }

    /// Takes the lines of the log for `log.otlp`, if there is one; they are sent while this runs.
    pub fn exporter(&self) -> Option<&Exporter> {
        self.exporter.as_ref()
    }

    /// The time, for what is said relative to it.
    pub fn now(&self) -> jiff::Timestamp {
        clock::now()
    }

    fn plans(&self) -> Result<Vec<SourcePlan>, AppError> {
        plan::plans(&self.loaded, &self.classes, &self.vitals.meters)
    }
}
