//! Rowcall keeps a remote system that can be reached only through its HTTP API in step with a
//! Postgres database: a committed row becomes its sequence of calls.
//!
//! The rooms, in the order a change meets them:
//!
//! 1. [`capture`]: where changes come from: logical replication.
//! 2. [`routing`]: which routes a table's change concerns, and for which key.
//! 3. [`engine`]: lanes per key, the watermark, settling. The only one that runs 1 to 6.
//! 4. [`synchronize`]: which calls a change needs, over [`mapping`]'s expressions. Pure.
//! 5. [`remote`]: how a call is made: HTTP, auth, retry.
//! 6. [`state`]: what survives a crash: checkpoint, links, parked changes.
//!
//! 7. [`call_log`]: what was sent and what came back, attempt by attempt;
//!    [`log_keeper`] brings that from the broker to where it is kept, and [`telemetry`] tells a collector.
//!
//! And on the way back: [`write_back`] brings what was captured into the rows. [`audit`] asks whether
//! all of it is right. [`admin`] shows an operator how everything stands and does what they ask.
//!
//! [`metrics`] holds what the rooms count while they work; [`health`] judges how it goes, and [`notify`] tells of it.
//!
//! [`model`] holds the nouns they share and imports none of them; [`postgres`] is how the server
//! is reached. [`config`] puts the rooms' own settings together; [`app`] builds the rooms from it
//! and is the only place that does; [`cli`] is one file a command.

pub mod admin;
pub mod app;
pub mod audit;
pub mod call_log;
pub mod capture;
pub mod cli;
pub mod config;
pub mod demo;
pub mod engine;
pub mod health;
pub mod log_keeper;
pub mod mapping;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod postgres;
pub mod remote;
pub mod routing;
pub mod state;
pub mod synchronize;
pub mod telemetry;
pub mod write_back;
