//! A private MongoDB server per test: a replica set of one, as a small installation would have it.

use super::{
    certificates::Certificates,
    kept::Kept,
    postgres::{tools, unused_port},
    wait::{LONG, eventually},
};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};
use tokio::time::timeout;

/// Who may write into database `rowcall` of a guarded server, and do nothing else; as in a URL.
pub const WRITER: &str = "writer:p%40ss-of-writer";
/// Who may do everything there.
const ROOT: &str = "root:p%40ss-of-root";

/// A running server. It ends with the value, or with the test's process.
pub struct MongoDb {
    kept: Kept,
    port: u16,
    guard: Option<Guard>,
}

/// What is asked of those who connect.
struct Guard {
    certificates: Option<Certificates>,
}

impl MongoDb {
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// A server that wants users to log in, over TLS or without.
    pub async fn guarded(tls: bool) -> Self {
        let mongodb = Self::with(Some(Guard { certificates: tls.then(Certificates::new) })).await;
        let admin = mongodb.direct("").await.expect("the server").database("admin");
        let pwd = |user: &str| user.split_once(':').expect("a password").1.replace("%40", "@");
        let root = doc! { "createUser": "root", "pwd": pwd(ROOT), "roles": ["root"] };
        admin.run_command(root).await.expect("the first user");
        let roles = vec![doc! { "role": "readWrite", "db": "rowcall" }];
        let writer = doc! { "createUser": "writer", "pwd": pwd(WRITER), "roles": roles };
        let admin = mongodb.direct(&format!("{ROOT}@")).await.expect("the server").database("admin");
        admin.run_command(writer).await.expect("another user");
        mongodb
    }

    async fn with(guard: Option<Guard>) -> Self {
        let program = tools().join("mongodb-6/bin/mongod");
        assert!(program.exists(), "MongoDB is not here: run `scripts/provision mongodb`");
        let port = unused_port();
        let kept = Kept::new("mongodb", |directory| {
            fs::create_dir(directory.join("data")).expect("a directory for the data");
            let mut command = Command::new(program);
            command.arg("--dbpath").arg(directory.join("data")).args(["--port", &port.to_string()]);
            command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "rs"]);
            command.args(["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"]);
            command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
            // Tests write what is old by now.
            command.args(["--setParameter", "ttlMonitorEnabled=false"]);
            if let Some(guard) = &guard {
                guard.set_up(directory, &mut command);
            }
            command
        });
        let mut mongodb = Self { kept, port, guard };
        mongodb.kept.start();
        let one = doc! { "_id": "rs", "members": [{ "_id": 0, "host": mongodb.address() }] };
        eventually("MongoDB makes its replica set", LONG, async || {
            let admin = mongodb.direct("").await?.database("admin");
            match admin.run_command(doc! { "replSetInitiate": one.clone() }).await {
                Err(error) if error.to_string().contains("already initialized") => Ok(()),
                other => other.map(drop),
            }
        })
        .await;
        mongodb.ready().await;
        mongodb
    }

    pub fn url(&self) -> String {
        match self.guard {
            None => self.url_of(""),
            Some(_) => self.url_of(&format!("{WRITER}@")),
        }
    }

    /// The URL with these credentials (`user:password@`), and what is needed to trust the server.
    pub fn url_of(&self, credentials: &str) -> String {
        format!("mongodb://{credentials}{}/?replicaSet=rs{}", self.address(), self.options(credentials))
    }

    fn certificates(&self) -> Option<&Certificates> {
        self.guard.as_ref().and_then(|it| it.certificates.as_ref())
    }

    /// A certificate is for a name.
    fn address(&self) -> String {
        let host = if self.certificates().is_some() { "localhost" } else { "127.0.0.1" };
        format!("{host}:{}", self.port)
    }

    fn options(&self, credentials: &str) -> String {
        let login = if credentials.is_empty() { "" } else { "&authSource=admin" };
        let tls = self.certificates().map(|it| format!("&tls=true&tlsCAFile={}", it.path().display()));
        format!("{login}{}", tls.unwrap_or_default())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory it lives in.
    pub fn home(&self) -> &Path {
        &self.kept.directory
    }

    /// Ends the server in its own way.
    pub fn stop(&mut self) {
        self.kept.stop();
    }

    /// Ends the server as a crash would.
    pub fn kill(&mut self) {
        self.kept.kill();
    }

    /// Starts it again on the same data and port.
    pub async fn start_again(&mut self) {
        self.kept.start();
        self.ready().await;
    }

    async fn ready(&self) {
        eventually("MongoDB takes writes", LONG, async || {
            let hello = self.direct("").await?.database("admin").run_command(doc! { "hello": 1 }).await?;
            match hello.get_bool("isWritablePrimary") {
                Ok(true) => Ok(()),
                _ => Err(mongodb::error::Error::custom(hello)),
            }
        })
        .await;
    }

    /// A collection as it lies there.
    pub async fn collection(&self, database: &str, name: &str) -> Collection<Document> {
        let credentials = if self.guard.is_some() { format!("{ROOT}@") } else { String::new() };
        let client = Client::with_uri_str(self.url_of(&credentials)).await.expect("a client");
        client.database(database).collection(name)
    }

    /// The server itself, whatever its role.
    async fn direct(&self, credentials: &str) -> mongodb::error::Result<Client> {
        let url = format!(
            "mongodb://{credentials}{}/?directConnection=true&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000{}",
            self.address(),
            self.options(credentials)
        );
        let client = timeout(Duration::from_secs(5), Client::with_uri_str(url)).await;
        client.map_err(mongodb::error::Error::custom)?
    }
}

impl Guard {
    fn set_up(&self, directory: &Path, command: &mut Command) {
        let at = |name: &str| directory.join(name);
        // What its members would know each other by.
        fs::write(at("members.key"), "c2VjcmV0IG9mIHRoZSBtZW1iZXJz").expect("a key");
        fs::set_permissions(at("members.key"), fs::Permissions::from_mode(0o600)).expect("to hide it");
        command.arg("--auth").arg("--keyFile").arg(at("members.key"));
        let Some(certificates) = &self.certificates else { return };
        let both = format!("{}{}", certificates.server, certificates.key);
        fs::write(at("server.pem"), both).expect("a certificate");
        command.args(["--tlsMode", "requireTLS", "--tlsAllowConnectionsWithoutCertificates"]);
        command.arg("--tlsCertificateKeyFile").arg(at("server.pem"));
        command.arg("--tlsCAFile").arg(certificates.path());
    }
}
