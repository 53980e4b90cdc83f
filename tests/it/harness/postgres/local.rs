use super::{Setup, Stop, Version};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio, id},
    sync::atomic::{AtomicU16, Ordering},
};

/// A cluster of our own, copied from the version's template, run from the machine's programs.
pub struct Local {
    pub port: u16,
    pub directory: PathBuf,
    keeper: Child,
    /// `None` only while it is dropped: closing it is what ends the keeper.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Local {
    pub fn start(version: Version, setup: &Setup) -> Self {
        let tools = tools();
        let programs = tools.join(format!("postgres-{}/bin", version.major()));
        let template = tools.join(format!("template-{}", version.major()));
        let owner = fs::metadata(&template).unwrap_or_else(|error| {
            panic!(
                "PostgreSQL {version} is not here ({}: {error}): run `scripts/provision postgres`",
                template.display()
            )
        });
        let directory =
            tempfile::Builder::new().prefix("pg-").tempdir().expect("a temporary directory").keep();
        chown(&directory, Some(owner.uid()), Some(owner.gid()))
            .expect("to give the directory to the server's user");

        let mut keeper = Command::new("sh");
        keeper.args(["-c", include_str!("keeper.sh"), "keeper"]).arg(programs).arg(&directory).arg(template);
        if fs::metadata("/proc/self").expect("our own process").uid() != owner.uid() {
            let (user, group) = (format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid()));
            keeper.args(["setpriv", &user, &group, "--clear-groups", "--"]);
        }
        // Out of reach of a Ctrl-C or a time-out that is meant for the tests: it has to clean up.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().expect("to start the keeper");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("the keeper's answers"));
        let mut local = Self { port: 0, directory, keeper, orders, answers };
        assert!(local.answer(), "the template of PostgreSQL {version} cannot be copied");
        local.configure(setup, owner.uid(), owner.gid());
        local
    }

    fn configure(&mut self, setup: &Setup, uid: u32, gid: u32) {
        let data = self.directory.join("data");
        let hba = fs::read_to_string(data.join("pg_hba.conf")).expect("pg_hba.conf");
        fs::write(data.join("pg_hba.conf"), format!("{}\n{hba}", setup.hba.join("\n"))).expect("pg_hba.conf");
        for (name, text) in &setup.files {
            let path = data.join(name);
            fs::write(&path, text).expect("a file of the server's");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its permissions");
            chown(&path, Some(uid), Some(gid)).expect("its owner");
        }
        let conf = fs::read_to_string(data.join("postgresql.conf")).expect("postgresql.conf");
        // Somebody else may take a port that was free when we looked.
        for _ in 0..5 {
            self.port = free_port();
            let ours = [
                format!("port = {}", self.port),
                format!("unix_socket_directories = '{}'", self.directory.display()),
                "listen_addresses = '127.0.0.1'".to_owned(),
            ];
            let lines = ours.iter().chain(&setup.conf).map(|line| format!("{line}\n")).collect::<String>();
            fs::write(data.join("postgresql.conf"), format!("{conf}\n{lines}")).expect("postgresql.conf");
            if self.order("start") {
                return;
            }
        }
        panic!("PostgreSQL does not start:\n{}", self.log());
    }

    /// Gives the keeper an order and waits until it is carried out.
    fn order(&mut self, order: &str) -> bool {
        let orders = self.orders.as_mut().expect("the keeper listens until it is dropped");
        writeln!(orders, "{order}").expect("to order the keeper");
        self.answer()
    }

    fn answer(&mut self) -> bool {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the keeper's answer");
        answer == "0\n"
    }

    pub fn stop(&mut self, how: Stop) {
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        assert!(self.order(&format!("stop {mode}")), "the server does not stop:\n{}", self.log());
    }

    pub fn start_again(&mut self) {
        assert!(self.order("start"), "the server does not start again:\n{}", self.log());
    }

    /// The end of what the server logged.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read(self.directory.join(name)).unwrap_or_default();
        let log = String::from_utf8_lossy(&[read("pg_ctl"), read("log")].concat()).into_owned();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of PostgreSQL on port {}:\n{}\n---", self.port, self.log());
        }
        drop(self.orders.take());
        let _ = self.keeper.wait();
    }
}

/// Where `scripts/provision` puts things: the same rule as in `scripts/lib.sh`.
pub fn tools() -> PathBuf {
    if let Some(tools) = std::env::var_os("ROWCALL_TOOLS") {
        return tools.into();
    }
    match fs::metadata("/proc/self").expect("our own process").uid() {
        0 => PathBuf::from("/var/tmp/rowcall-tools"),
        _ => Path::new(&std::env::var_os("HOME").expect("HOME")).join(".cache/rowcall"),
    }
}

/// A port nobody listens on, below those the kernel gives to outgoing connections: it is still
/// free after a restart.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (id() % 1_200) as u16 * 10;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
