//! The integration tests: one binary, one module a capability. They need what `scripts/provision`
//! installs; `scripts/test` sees to that.

mod harness;
mod world;

mod admin;
mod audit;
mod auth;
mod batches;
mod browser;
mod call_log;
mod calls;
mod capture;
mod checkpoints;
mod command_line;
mod connect;
mod convergence;
mod dashboard;
mod demo_show;
mod demo_world;
mod depends;
#[cfg(debug_assertions)]
mod faults;
mod harness_itself;
mod health;
mod limits;
mod logs;
mod memory;
mod metrics;
mod notify;
mod outage;
mod parking;
mod remote_tls;
mod replay;
mod replicate;
mod resume;
mod schedule;
mod snapshot;
#[cfg(debug_assertions)]
mod stages;
mod state;
mod write_back;
