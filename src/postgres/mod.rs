//! How a Postgres server is reached: the URL, TLS, logging in, and plain SQL connections.
//!
//! Replication and SQL take the same road: [`Target`] (what the URL says) is turned into an open,
//! possibly encrypted [`Stream`] to the first host that will do, and something that implements
//! [`Login`] speaks on it. So a TLS mode, a host list or `target_session_attrs` means the same
//! for both, and fails with the same words.
//!
//! Upheld here: no secret leaves (invariant 7): a password is a [`secrecy::SecretString`] from
//! the moment the URL is read and no error or `Debug` shows one. Clear failure (invariant 8): every
//! [`ConnectError`] names the host, what happened, and what to do.
//!
//! What it does not do: retry, choose when to connect, or know about replication. A new URL
//! parameter costs one row in `parameters.rs` and a field in [`Target`].

mod connect;
mod error;
mod hosts;
mod parameters;
mod pool;
mod stream;
mod target;
mod tls;
mod url;
mod verify;

pub use connect::{Client, PRINTING, connect};
pub use error::{ConnectError, Failure, ServerError, explain};
pub use hosts::{Login, Standing, first_suitable};
pub use pool::{Pool, pool, pool_of_lookups};
pub use stream::Stream;
pub use target::{Address, BadTarget, ChannelBinding, Host, RootCert, SessionAttrs, SslMode, Target};
pub use verify::believing;
