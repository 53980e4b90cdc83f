//! What the integration tests stand on: real servers, the built program, and waiting.
//!
//! Everything started here ends with the test that started it, also when the test panics or is
//! killed. Everything lies below the temporary directory (`TMPDIR`), so whoever runs the tests can
//! see that nothing is left.
#![allow(dead_code, unused_imports, reason = "each capability's tests use what they need")]

pub mod admin;
pub mod certificates;
mod chromium;
mod kept;
pub mod live;
pub mod mongodb;
pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod rowcall;
pub mod wait;

pub use self::{
    chromium::Chromium,
    live::{Live, settled},
    mongodb::MongoDb,
    postgres::{Postgres, Version},
    rabbitmq::RabbitMq,
    rowcall::{Rowcall, Service, rowcall},
    wait::eventually,
};

/// Makes of each `async fn name(version: Version)` one test per supported server version, named
/// `name::postgres_15` and so on.
macro_rules! each_version {
    ($($(#[$meta:meta])* async fn $name:ident($version:ident: Version) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::harness::Version;

            $(#[$meta])*
            async fn on($version: Version) $body

            #[tokio::test]
            async fn postgres_15() {
                on(Version::V15).await
            }
            #[tokio::test]
            async fn postgres_16() {
                on(Version::V16).await
            }
            #[tokio::test]
            async fn postgres_18() {
                on(Version::V18).await
            }
        }
    )+};
}
pub(crate) use each_version;
