//! Writing captured values and the state of delivery back into the source's own rows.
//!
//! What is to be written comes with the settlement of the change that brought it, so nothing is lost
//! and nothing waits for it (invariants 1 and 4); a [`Writer`] brings it over in batches and forgets
//! it only behind the source's commit. Done twice it changes nothing.
//!
//! Every write runs under a replication origin of our own, which capture leaves out, so it never
//! comes back as a change. Only one session at a time can have that origin: no former process writes
//! beside the present one.
//!
//! A row that was deleted and inserted again is another one, and what was brought for the former is
//! not written into it: `rows` tells the two apart.
//!
//! An application that locks a row keeps that row waiting and no other; a row that the database
//! refuses is found among its batch, kept with the reason and tried again. Triggers fire as for any
//! other update; what they write in the same transaction has our origin too.
//!
//! It does not decide what is written: see [`crate::routing::WriteBack`].

mod destination;
mod rows;
mod setup;
mod writer;

pub use destination::Destination;
pub use setup::{Lacking, create_origin, grants, lacking, set_up};
pub use writer::Writer;
