//! A world to try Rowcall in: a fake bank behind an HTTP API, and a database that keeps changing.
//!
//! [`Bank`] is stateful and keeps an oracle: every object it holds, every effect it applied in
//! order, every idempotency key it answered twice, and faults on demand. The demo, the integration
//! tests and the bench share it. It knows nothing of the replicator (it imports no other room), so
//! that it can say whether invariants 2 and 3 held from the outside.
//!
//! [`world`] is the other side: tables, a writer that keeps changing them, and the comparison of
//! the database with what the bank holds. [`show`] puts both on a terminal, around a
//! [`Replicator`] it is given.
//!
//! It is no model of a real bank and keeps everything in memory. Another kind of object needs a
//! line in `bank/address.rs`; another fault, a variant of [`Fault`] and its arm in `bank/http.rs`.

mod bank;
mod dice;
mod show;
pub mod world;

pub use bank::{Bank, Effect, Entry, Fault, Faults, Options, OutOfOrder, Rule, Stats, TOKEN_PATH, Tokens};
pub use dice::Dice;
pub use show::{Choices, Replicator, ShowError, Shown, show};
