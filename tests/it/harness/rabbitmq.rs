//! A private RabbitMQ node per test.

use super::{
    kept::Kept,
    postgres::unused_port,
    wait::{LONG, eventually},
};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tokio::time::timeout;

const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// A running node, whose user `guest` may do everything. It ends with the value, or with the test's
/// process.
pub struct RabbitMq {
    node: Kept,
    /// What Erlang's nodes find each other by: one of our own, since it stays behind otherwise.
    _names: Kept,
    environment: Vec<(&'static str, String)>,
    port: u16,
}

impl RabbitMq {
    pub async fn start() -> Self {
        Self::with(&[], &[]).await
    }

    /// A node with further lines of `rabbitmq.conf` and files beside it, which those name by `{home}`.
    pub async fn with(lines: &[&str], files: &[(&str, &str)]) -> Self {
        let program = PathBuf::from(PROGRAMS).join("rabbitmq-server");
        assert!(program.exists(), "RabbitMQ is not here: run `scripts/provision rabbitmq`");
        let [port, distribution, names_port] = [(); 3].map(|()| unused_port());
        let mut names = Kept::new("epmd", |_| {
            let mut command = Command::new("epmd");
            command.args(["-port", &names_port.to_string(), "-address", "127.0.0.1"]);
            command
        });
        names.start();
        let mut environment = Vec::new();
        let mut node = Kept::new("rabbitmq", |home| {
            let at = |name: &str| home.join(name).display().to_string();
            let usual = [
                // Memory and disk alarms are for tests that ask for them.
                "disk_free_limit.absolute = 1MB",
                "vm_memory_high_watermark.absolute = 1GB",
                "raft.wal_max_size_bytes = 16777216",
                "log.console.level = info",
            ];
            let conf = usual.iter().chain(lines).map(|line| format!("{line}\n")).collect::<String>();
            fs::write(at("rabbitmq.conf"), conf.replace("{home}", &home.display().to_string()))
                .expect("rabbitmq.conf");
            fs::write(at("enabled_plugins"), "[].\n").expect("the list of plugins");
            for (name, text) in files {
                fs::write(at(name), text).expect("a file of the node's");
            }
            environment = vec![
                ("HOME", home.display().to_string()),
                ("ERL_EPMD_PORT", names_port.to_string()),
                ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
                ("RABBITMQ_NODENAME", "rowcall@localhost".to_owned()),
                ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
                ("RABBITMQ_NODE_PORT", port.to_string()),
                ("RABBITMQ_DIST_PORT", distribution.to_string()),
                ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
                ("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf")),
                ("RABBITMQ_MNESIA_BASE", at("data")),
                ("RABBITMQ_LOG_BASE", at("logs")),
                ("RABBITMQ_LOGS", "-".to_owned()),
                ("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins")),
                ("RABBITMQ_PID_FILE", at("pid")),
                (
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none".to_owned(),
                ),
                // So that the server is the process that was started, and not a shell around it.
                ("RUNNING_UNDER_SYSTEMD", "yes".to_owned()),
            ];
            let mut command = Command::new(program);
            command.envs(environment.iter().map(|(name, value)| (name, value))).env_remove("NOTIFY_SOCKET");
            command
        });
        node.start();
        let rabbit = Self { node, _names: names, environment, port };
        rabbit.ready().await;
        rabbit
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory it lives in.
    pub fn home(&self) -> &Path {
        &self.node.directory
    }

    /// Ends the node in its own way.
    pub fn stop(&mut self) {
        self.node.stop();
    }

    /// Ends the node as a crash would.
    ///
    /// A quorum queue that was made in the seconds before does not survive it: RabbitMQ 3.10 writes
    /// the names of those late, and one whose name is lost has no leader, for ever. A clean restart in
    /// between writes them.
    pub fn kill(&mut self) {
        self.node.kill();
    }

    /// Starts it again on the same data and port.
    pub async fn start_again(&mut self) {
        self.node.start();
        self.ready().await;
    }

    async fn ready(&self) {
        // One that has only just begun may take a connection and then say nothing to it for ever.
        let connect = async || {
            timeout(LONG / 6, self.connect()).await.map_err(|it| it.to_string())?.map_err(|it| it.to_string())
        };
        // Where several start at once on few cores, each takes its time.
        eventually("RabbitMQ accepts connections", 3 * LONG, connect).await;
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel)> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// A channel to look and meddle by; the connection ends with the first of the two.
    pub async fn channel(&self) -> (Connection, Channel) {
        self.connect().await.expect("a connection")
    }

    /// How many messages wait in a queue; `None` if there is no such queue.
    pub async fn depth(&self, queue: &str) -> Option<u32> {
        let (_connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        declared.ok().map(|queue| queue.message_count())
    }

    /// Takes the next message out of a queue.
    pub async fn take(&self, queue: &str) -> Option<lapin::message::Delivery> {
        let (_connection, channel) = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        channel.basic_get(queue.into(), options).await.expect("to read the queue").map(|it| it.delivery)
    }

    /// Runs `rabbitmqctl` on the node.
    pub async fn ctl(&self, args: &[&str]) {
        let mut command = tokio::process::Command::new(format!("{PROGRAMS}/rabbitmqctl"));
        command.args(args).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.kill_on_drop(true).output().await.expect("to run rabbitmqctl");
        assert!(output.status.success(), "rabbitmqctl {args:?}: {output:?}");
    }
}
