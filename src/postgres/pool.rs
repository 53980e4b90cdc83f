use super::{ConnectError, Target, connect, first_suitable};
use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, PoolBuilder, RecyclingMethod, Runtime,
};
use std::{
    future::{Future, Ready, ready},
    pin::Pin,
    time::Duration,
};
use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_postgres::{
    NoTls,
    config::{SslMode, SslNegotiation},
    tls::TlsConnect,
};

/// A pool of SQL connections.
pub type Pool = deadpool_postgres::Pool;

/// How long one may wait for a free connection of the pool.
const WAIT: Duration = Duration::from_secs(30);

/// For statements that look up given keys and are prepared once: what they are planned for may be a small
/// table that is large a minute later, so only an index will do.
const BY_INDEX: &str =
    "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off";

/// A pool that makes up to `size` connections when they are needed.
pub fn pool(target: &Target, size: usize) -> Pool {
    build(builder(target, size))
}

/// The same for statements that look up given keys and are prepared once.
pub fn pool_of_lookups(target: &Target, size: usize) -> Pool {
    let by_index = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move { client.batch_execute(BY_INDEX).await.map_err(HookError::Backend) })
    });
    build(builder(target, size).post_create(by_index))
}

fn builder(target: &Target, size: usize) -> PoolBuilder {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let road = Road(target.clone());
    let manager = Manager::from_connect(tokio_postgres::Config::new(), road, recycling);
    Pool::builder(manager).max_size(size.max(1)).wait_timeout(Some(WAIT)).runtime(Runtime::Tokio1)
}

fn build(builder: PoolBuilder) -> Pool {
    // It fails only for a timeout without a runtime.
    builder.build().expect("a pool with a runtime is always built")
}

/// Our own way of connecting, for deadpool.
struct Road(Target);

type Connected = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl Connect for Road {
    fn connect(&self, _: &tokio_postgres::Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(async move {
            match first_suitable(&self.0, &connect::Sql).await {
                Ok((client, connection)) => {
                    // deadpool keeps the handle and aborts the task with its client.
                    #[expect(clippy::disallowed_methods, reason = "deadpool owns the task")]
                    let driver = tokio::spawn(connect::drive(connection));
                    Ok((client, driver))
                }
                Err(error) => as_sql_error(error).await,
            }
        })
    }
}

/// deadpool can only pass on tokio-postgres's error, which only tokio-postgres can make: a
/// handshake that fails with ours gives one that carries it. [`super::explain`] takes it out.
async fn as_sql_error(error: ConnectError) -> Connected {
    let mut config = tokio_postgres::Config::new();
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    let (near, _far) = tokio::io::duplex(1);
    match config.connect_raw(near, FailsWith(error)).await {
        Err(error) => Err(error),
        // The handshake above comes first and has no way to succeed.
        Ok(_) => unreachable!("a handshake that always fails has succeeded"),
    }
}

struct FailsWith(ConnectError);

impl TlsConnect<DuplexStream> for FailsWith {
    type Stream = <NoTls as TlsConnect<DuplexStream>>::Stream;
    type Error = ConnectError;
    type Future = Ready<Result<Self::Stream, ConnectError>>;

    fn connect(self, _: DuplexStream) -> Self::Future {
        ready(Err(self.0))
    }
}
