//! The integration tests: one binary, one module a capability. They need `scripts/provision
//! postgres` to have run; `scripts/test` sees to that.

mod harness;

mod convergence;
mod demo_show;
mod demo_world;
mod capture;
mod connect;
mod harness_itself;
