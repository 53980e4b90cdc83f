//! Sending again what the log still has: which slot it is read from, from where to where, and the slot
//! that trails behind so that this needs no planning.

mod carry;
mod feed;
mod keep;
mod kept;
mod options;
mod point;
mod request;

pub use point::{BadPoint, Point};
pub use request::ReplayRequest;

pub(super) use carry::{Replays, Unready};
pub(super) use keep::Keeper;
pub(super) use options::ReplayOptions;
