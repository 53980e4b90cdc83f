//! The program as a person meets it: exit codes, and one message that says what is wrong, where,
//! and what to do.

mod check;
mod failures;
pub mod init;
mod looking;
mod runs;
mod secrets;
