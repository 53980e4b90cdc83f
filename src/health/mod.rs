//! What is well and what is not. Pure: facts and limits go in, checks come out.
//!
//! `app/vitals` gathers the facts and the admin server answers with what is made of them here: whether the
//! process lives, whether it is ready, and how everything around it does. What is said may be read by
//! anyone who reaches the server, so it names no key and no secret (invariant 7): a remote's failure is
//! told by its status, and what a database said without its detail.

mod check;
mod judge;
mod settings;

pub use check::{Check, Report, State};
pub use judge::{
    Beat, Lag, Parked, Remote, Slot, Spool, Stage, Told, beat, lag, parked, plain, remote, slot, spool,
    stream, turning,
};
pub use settings::{HeartbeatLimits, LagLimits, LogLimits, ParkedLimits, Settings, SpoolLimits};
