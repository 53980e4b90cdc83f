//! How things look to an operator, on the command line as on the admin address.

mod call_log;
mod found;
mod lineage;
mod parked;
mod status;

pub use call_log::{CallLogStatus, KeeperStatus, SpoolStatus, Trouble};
pub use found::{CheckpointLine, Configuration, Finding, Verdict};
pub use lineage::{Lineage, LineageObject, LineageOf};
pub use parked::{ParkedDetail, ParkedPage};
pub use status::{Behind, CallLogLine, Lag, ScheduleLine, SourceLine, Status};
