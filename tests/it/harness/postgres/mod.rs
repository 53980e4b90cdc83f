//! A private Postgres server per test: from local programs, or in a container where a Docker
//! engine answers. Which one is said on stderr.

mod container;
mod local;

pub use self::local::{free_port as unused_port, tools};
use self::{
    container::Container,
    local::{Local, free_port},
};
use super::wait::{LONG, eventually};
use std::{fmt, ops::Deref};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

/// The server versions the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V15,
    V16,
    V18,
}

impl Version {
    pub fn major(self) -> &'static str {
        match self {
            Self::V15 => "15",
            Self::V16 => "16",
            Self::V18 => "18",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.major())
    }
}

/// How a server is stopped: as an administrator would, or as a crash would.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    Fast,
    Immediate,
}

/// What a test wants of its server beyond the usual.
#[derive(Clone, Debug)]
pub struct Setup {
    version: Version,
    conf: Vec<String>,
    hba: Vec<String>,
    files: Vec<(String, String)>,
}

impl Setup {
    /// A line of `postgresql.conf`; it wins over the harness's own.
    pub fn conf(mut self, line: &str) -> Self {
        self.conf.push(line.to_owned());
        self
    }

    /// A line of `pg_hba.conf`, before the ones that trust everybody. Write the address as `all`:
    /// behind a container's port it is not the loopback's.
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// A file of the server's own, named in `conf` lines by this name in single quotes.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Turns TLS on with this certificate and its key, both PEM.
    pub fn tls(self, certificate: &str, key: &str) -> Self {
        self.file("server.crt", certificate)
            .file("server.key", key)
            .conf("ssl = on")
            .conf("ssl_cert_file = 'server.crt'")
            .conf("ssl_key_file = 'server.key'")
    }

    /// Every commit reaches the disk.
    pub fn durable(self) -> Self {
        self.conf("fsync = on").conf("full_page_writes = on")
    }

    pub async fn start(self) -> Postgres {
        let server = if container::wanted() {
            Server::Container(Box::new(Container::start(self.version, &self).await))
        } else {
            Server::Local(Local::start(self.version, &self))
        };
        let postgres = Postgres { version: self.version, server };
        postgres.ready().await;
        postgres
    }
}

enum Server {
    Local(Local),
    Container(Box<Container>),
}

/// A running server with one empty database, `postgres`, whose superuser `postgres` needs no
/// password. It ends with the value, or with the test's process.
pub struct Postgres {
    pub version: Version,
    server: Server,
}

impl Postgres {
    pub async fn start(version: Version) -> Self {
        Self::with(version).start().await
    }

    /// A server that differs from the usual: `Postgres::with(v).conf("…").start().await`.
    pub fn with(version: Version) -> Setup {
        let conf = [
            "fsync = off",
            "full_page_writes = off",
            "shared_buffers = 16MB",
            "max_connections = 60",
            "wal_level = logical",
            "max_replication_slots = 20",
            "max_wal_senders = 20",
            "max_wal_size = 4GB",
            "jit = off",
            "log_min_messages = info",
        ];
        Setup { version, conf: conf.map(str::to_owned).to_vec(), hba: Vec::new(), files: Vec::new() }
    }

    pub fn port(&self) -> u16 {
        match &self.server {
            Server::Local(local) => local.port,
            Server::Container(container) => container.port,
        }
    }

    /// The superuser's URL.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The superuser's URL of another database.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port())
    }

    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.port())
    }

    /// The superuser's URL over the unix socket.
    pub fn socket_url(&self) -> String {
        let (directory, port) = match &self.server {
            Server::Local(local) => (local.directory.display(), local.port),
            Server::Container(container) => (container.sockets.path().display(), 5432),
        };
        format!("postgres://postgres@/postgres?host={directory}&port={port}")
    }

    /// A connection of the superuser's.
    pub async fn client(&self) -> Client {
        Client::connect(&self.url()).await.unwrap_or_else(|error| panic!("cannot connect: {error:?}"))
    }

    /// A connection of the superuser's to another database.
    pub async fn client_of(&self, database: &str) -> Client {
        Client::connect(&self.url_of(database))
            .await
            .unwrap_or_else(|error| panic!("cannot connect: {error:?}"))
    }

    /// Runs statements on a connection of their own.
    pub async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}, in:\n{sql}"));
    }

    /// The first column of the first row, as text; what a query says in one word.
    pub async fn text(&self, sql: &str) -> Option<String> {
        let rows = self.client().await.simple_query(sql).await;
        rows.unwrap_or_else(|error| panic!("{error:?}, in:\n{sql}")).iter().find_map(
            |message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            },
        )
    }

    /// The server's data directory; `None` where it is inside a container.
    pub fn data(&self) -> Option<std::path::PathBuf> {
        match &self.server {
            Server::Local(local) => Some(local.directory.join("data")),
            Server::Container(_) => None,
        }
    }

    pub async fn stop(&mut self, how: Stop) {
        match &mut self.server {
            Server::Local(local) => local.stop(how),
            Server::Container(container) => container.stop(how).await,
        }
    }

    /// Stops the server as a crash would: no checkpoint, recovery at the next start.
    pub async fn stop_immediate(&mut self) {
        self.stop(Stop::Immediate).await;
    }

    /// Starts a stopped server, on the same port.
    pub async fn start_again(&mut self) {
        match &mut self.server {
            Server::Local(local) => local.start_again(),
            Server::Container(container) => container.start_again().await,
        }
        self.ready().await;
    }

    /// A clean restart on the same port.
    pub async fn restart(&mut self) {
        self.stop(Stop::Fast).await;
        self.start_again().await;
    }

    async fn ready(&self) {
        eventually("the server accepts connections", LONG, async || Client::connect(&self.url()).await).await;
    }
}

/// A connection; it ends with the value.
pub struct Client {
    client: tokio_postgres::Client,
    _connection: JoinSet<()>,
}

impl Client {
    pub async fn connect(url: &str) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { client, _connection: driver })
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl std::ops::DerefMut for Client {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}
