//! The built program, run as its users run it.

use super::wait::LONG;
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// What a finished command left.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics with everything it said unless it ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs the program to its end, without a configuration.
pub async fn rowcall(args: &[&str]) -> Output {
    finish(program(args)).await
}

/// A working directory with a `rowcall.yaml`, to run the program in.
pub struct Rowcall {
    home: tempfile::TempDir,
    started: AtomicU32,
    environment: Vec<(String, String)>,
}

impl Rowcall {
    pub fn with_config(yaml: &str) -> Self {
        let home = tempfile::Builder::new().prefix("rowcall-").tempdir().expect("a temporary directory");
        let rowcall = Self { home, started: AtomicU32::new(0), environment: Vec::new() };
        rowcall.configure(yaml);
        rowcall
    }

    /// Replaces the configuration; what runs keeps its own. Unless it has a `log` of its own, what is said
    /// is text, which tests read most easily; unless it has an `admin` of its own, there is none, since
    /// many services run side by side.
    pub fn configure(&self, yaml: &str) {
        let has = |block: &str| yaml.lines().any(|line| line.starts_with(block));
        let log = if has("log:") { "" } else { "\nlog: { format: text }\n" };
        let admin = if has("admin:") { "" } else { "\nadmin: { listen: off }\n" };
        fs::write(self.config(), format!("{yaml}{log}{admin}")).expect("to write the configuration");
    }

    /// The configuration.
    pub fn text(&self) -> String {
        fs::read_to_string(self.config()).expect("the configuration")
    }

    /// Sets an environment variable for whatever is started from now on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn config(&self) -> PathBuf {
        self.home().join("rowcall.yaml")
    }

    /// Runs a command to its end: `["init"]`, `["status", "--json"]`.
    pub async fn command(&self, args: &[&str]) -> Output {
        finish(self.prepare(args)).await
    }

    /// Starts `rowcall run`.
    pub fn run(&self) -> Service {
        self.start(&["run"])
    }

    /// Starts `rowcall run`, which is killed at this point: `after-settle`, `after-settle:2` for the
    /// second time that it comes there (CONTRIBUTING.md has the points).
    pub fn run_until(&self, point: &str) -> Service {
        self.start_until(&["run"], point)
    }

    /// Starts a command that stays until it is killed at this point.
    pub fn start_until(&self, args: &[&str], point: &str) -> Service {
        let mut command = self.prepare(args);
        command.env("ROWCALL_FAILPOINT", point);
        self.spawn(command)
    }

    /// Starts a command that stays.
    pub fn start(&self, args: &[&str]) -> Service {
        self.spawn(self.prepare(args))
    }

    /// Starts `rowcall run` with a file system of its own at `disk` in its home, which is nearly full: what
    /// fills it is [`Service::make_room`]'s. `None` where this machine lets nobody mount one.
    pub async fn run_on_a_full_disk(&self) -> Option<Service> {
        let disk = self.home().join("disk");
        fs::create_dir_all(&disk).expect("a directory to mount at");
        let mounted = |script: &str| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
            command.arg(format!("mount -t tmpfs -o size=32m none \"$0\"; {script}")).arg(&disk);
            command
        };
        if !finish(mounted("")).await.status.success() {
            eprintln!("not tried: nobody may mount a file system here");
            return None;
        }
        let program = self.prepare(&["run"]);
        let program = program.as_std();
        let mut command = mounted("head -c 31m /dev/zero > \"$0/filler\"; exec \"$@\"");
        command.arg(program.get_program()).args(program.get_args()).current_dir(self.home());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.kill_on_drop(true).stdin(Stdio::null());
        Some(self.spawn(command))
    }

    fn spawn(&self, mut command: Command) -> Service {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let output =
            [format!("{number}.stdout"), format!("{number}.stderr")].map(|name| self.home().join(name));
        let [stdout, stderr] =
            output.each_ref().map(|path| fs::File::create(path).expect("a file for the output"));
        let child = command.stdout(stdout).stderr(stderr).spawn().expect("to start rowcall");
        Service { child, output, done: false }
    }

    fn prepare(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.arg("--config").arg(self.config()).current_dir(self.home());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running program, killed with the value.
pub struct Service {
    child: Child,
    output: [PathBuf; 2],
    done: bool,
}

impl Service {
    /// A home with this configuration, `init` done, and `run` started in it.
    pub async fn start(yaml: &str) -> (Rowcall, Self) {
        let rowcall = Rowcall::with_config(yaml);
        rowcall.command(&["init"]).await.expect_code(0);
        let service = rowcall.run();
        (rowcall, service)
    }

    /// Asks it to end.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    /// Sends it this signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it still runs").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot signal rowcall");
    }

    /// Kills it, as a crash or the kernel would, and waits until it is gone.
    pub async fn sigkill(mut self) {
        self.done = true;
        self.child.kill().await.expect("to kill rowcall");
    }

    /// Waits for its end.
    pub async fn wait(mut self) -> ExitStatus {
        let status = timeout(LONG, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("rowcall does not end within {LONG:?}"));
        self.done = true;
        status.expect("its exit status")
    }

    /// Waits until it is killed at the point that it was started for.
    pub async fn killed(self) {
        let status = self.wait().await;
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    /// Waits for its end; how, and what it said.
    pub async fn end(self) -> (ExitStatus, String) {
        let path = self.output[1].clone();
        let status = self.wait().await;
        (status, read(&path))
    }

    /// Takes away what fills the disk that it was started on.
    pub fn make_room(&self, rowcall: &Rowcall) {
        let pid = self.pid().expect("it still runs");
        let home = rowcall.home().display();
        fs::remove_file(format!("/proc/{pid}/root{home}/disk/filler")).expect("to make room");
    }

    /// Where what it prints goes.
    pub fn stdout_path(&self) -> PathBuf {
        self.output[0].clone()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its exit status")
    }

    pub fn stdout(&self) -> String {
        read(&self.output[0])
    }

    pub fn stderr(&self) -> String {
        read(&self.output[1])
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- rowcall's stdout:\n{}\n--- its stderr:\n{}\n---", self.stdout(), self.stderr());
        }
        if !self.done {
            let _ = self.child.start_kill();
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The program dies with the test's process, however that ends.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_rowcall")]).args(args);
    command
        .env_remove("RUST_LOG")
        .env_remove("ROWCALL_CONFIG")
        .env_remove("ROWCALL_FAILPOINT")
        .env_remove("ROWCALL_BREAK");
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn finish(mut command: Command) -> Output {
    let output = timeout(LONG, command.stdout(Stdio::piped()).stderr(Stdio::piped()).output()).await;
    let output = output.unwrap_or_else(|_| panic!("rowcall does not end within {LONG:?}"));
    let output = output.expect("to run rowcall");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}
