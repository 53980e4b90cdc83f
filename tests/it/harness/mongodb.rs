//! A private MongoDB server per test: a replica set of one, as a small installation would have it.

use super::{
    kept::Kept,
    postgres::{tools, unused_port},
    wait::{LONG, eventually},
};
use mongodb::{
    Client, Collection,
    bson::{Document, doc},
};
use std::{fs, path::Path, process::Command, time::Duration};
use tokio::time::timeout;

/// A running server. It ends with the value, or with the test's process.
pub struct MongoDb {
    kept: Kept,
    port: u16,
}

impl MongoDb {
    pub async fn start() -> Self {
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
            command
        });
        let mut mongodb = Self { kept, port };
        mongodb.kept.start();
        let one = doc! { "_id": "rs", "members": [{ "_id": 0, "host": format!("127.0.0.1:{port}") }] };
        eventually("MongoDB makes its replica set", LONG, async || {
            match direct(port).await?.run_command(doc! { "replSetInitiate": one.clone() }).await {
                Err(error) if error.to_string().contains("already initialized") => Ok(()),
                other => other.map(drop),
            }
        })
        .await;
        mongodb.ready().await;
        mongodb
    }

    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?replicaSet=rs", self.port)
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
            let hello = direct(self.port).await?.run_command(doc! { "hello": 1 }).await?;
            match hello.get_bool("isWritablePrimary") {
                Ok(true) => Ok(()),
                _ => Err(mongodb::error::Error::custom(hello)),
            }
        })
        .await;
    }

    /// A collection as it lies there.
    pub async fn collection(&self, database: &str, name: &str) -> Collection<Document> {
        let client = Client::with_uri_str(self.url()).await.expect("a client");
        client.database(database).collection(name)
    }
}

/// The server itself, whatever its role.
async fn direct(port: u16) -> mongodb::error::Result<mongodb::Database> {
    let url = format!(
        "mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000"
    );
    let client = timeout(Duration::from_secs(5), Client::with_uri_str(url)).await;
    Ok(client.map_err(mongodb::error::Error::custom)??.database("admin"))
}
