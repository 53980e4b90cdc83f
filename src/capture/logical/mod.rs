//! Capture by logical replication: our own replication connection, pgoutput, and a slot.
//!
//! One thread owns the socket (`pump.rs`). It decodes frames where they were read, assembles changes
//! with their ids (`assemble.rs`, pure), charges them to the budget and hands them over in batches
//! through a bounded channel; while the engine takes its time it stops reading but goes on telling
//! the server how far we are (`link.rs`), so that a slow remote never costs the connection.
//!
//! Upheld here: nothing lost (invariant 1): the position told to the server is only ever what a
//! [`crate::state::Saved`] covers. Bounded memory (5): one batch outside of the budget, read
//! buffers that grow only by bytes that came, rows that own just their own. Clear failure (8): the
//! slot, the publication and the server are looked at before the stream starts, and a server older
//! or a slot further than it may be is an error, not a gap.
//!
//! What it does not do: make a slot or a publication while it streams (`setup.rs` does, for
//! `rowcall init`), reconnect (whoever holds the source opens another), or spill: protocol 1 sends
//! whole transactions after their commit, so nothing has to be kept for a later verdict.
//!
//! A new message kind costs a variant in `message.rs`, a row in `decode.rs` and one in
//! `assemble.rs`.

mod assemble;
mod cursor;
mod decode;
mod heartbeat;
pub mod inspect;
mod link;
mod login;
pub mod marks;
mod message;
mod pump;
mod refusal;
mod rows;
mod server;
pub mod setup;
mod source;
mod wire;

pub use assemble::Routed;
pub use cursor::DecodeError;
pub use decode::decode;
pub use heartbeat::beat;
pub use message::{Message, Old, RawCell, Relation, RelationColumn, ReplicaIdentity, TableIds, Tuple};
pub use refusal::{SLOT_ANEW, lost_slot};
pub use server::{Identity, identify};
pub use source::{LogicalSource, Options};
