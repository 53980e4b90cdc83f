use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A server that ends with the value, or with the test's process, and its directory with it.
pub struct Kept {
    pub directory: PathBuf,
    what: &'static str,
    keeper: Child,
    /// `None` only while it is dropped: closing it is what ends the keeper.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Kept {
    /// Prepares a server in a directory of its own; it is not started yet.
    pub fn new(what: &'static str, command: impl FnOnce(&PathBuf) -> Command) -> Self {
        let prefix = format!("{what}-");
        let directory =
            tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary directory").keep();
        let command = command(&directory);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", include_str!("kept.sh"), "kept"]).arg(&directory);
        keeper.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        // Out of reach of a Ctrl-C or a time-out that is meant for the tests: it has to clean up.
        keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().expect("to start the keeper");
        let orders = keeper.stdin.take();
        let answers = BufReader::new(keeper.stdout.take().expect("the keeper's answers"));
        Self { directory, what, keeper, orders, answers }
    }

    /// Starts the server; that it is ready is for the caller to see.
    pub fn start(&mut self) {
        self.order("start");
    }

    /// Ends the server in its own way, and waits for it.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    /// Ends the server as a crash would.
    pub fn kill(&mut self) {
        self.order("kill");
    }

    fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("the keeper listens until it is dropped");
        writeln!(orders, "{order}").expect("to order the keeper");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("the keeper's answer");
        assert_eq!(answer, "done\n", "the keeper of {}", self.what);
    }

    /// The end of what the server said.
    pub fn output(&self) -> String {
        let output = fs::read(self.directory.join("output")).unwrap_or_default();
        let output = String::from_utf8_lossy(&output).into_owned();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what {} said:\n{}\n---", self.what, self.output());
        }
        drop(self.orders.take());
        let _ = self.keeper.wait();
    }
}
