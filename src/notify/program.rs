//! Tells by a program of the operator's: the notice is on its standard input, and in its environment.

use super::{Notice, Target, courier::Refusal};
use crate::model::one_line;
use rustix::{
    fs::{Access, access},
    process::{Pid, Signal, kill_process_group},
};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

/// What is read of what it says goes no further than this.
const LONGEST: usize = 4_096;
/// What it has begun may hold its standard error open: how long that is still read.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The longest line of it that is said.
const SAID: usize = 300;

/// A program and its arguments. There is no shell between.
#[derive(Debug)]
pub(super) struct Program {
    exec: Vec<String>,
    within: Duration,
}

impl Program {
    pub(super) fn new(target: &Target) -> Self {
        Self { exec: target.exec.clone(), within: target.timeout.0 }
    }

    /// Runs it once. Its process group is killed when it takes too long, or when nobody waits for it any more.
    pub(super) async fn deliver(&self, notice: &Notice<'_>, json: &[u8]) -> Result<(), Refusal> {
        let again = |why: String| Refusal::Passing { why, after: None, heard: false };
        let Some((program, arguments)) = self.exec.split_first() else {
            return Err(Refusal::Lasting("there is no program".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(notice.variables()).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| again(format!("`{program}` cannot be started: {error}")))?;
        let mut group = Group::of(&child);
        let ended = timeout(self.within, talk(&mut child, json)).await;
        let Ok((status, said)) = ended else {
            group.kill();
            let _ = child.wait().await;
            let why =
                format!("`{program}` was killed, since it took longer than {} s", self.within.as_secs_f64());
            return Err(Refusal::Passing { why, after: None, heard: true });
        };
        group.leave();
        let status = status.map_err(|error| again(format!("`{program}` cannot be waited for: {error}")))?;
        if status.success() {
            return Ok(());
        }
        let line = one_line(said.lines().find(|it| !it.trim().is_empty()).unwrap_or_default().trim(), SAID);
        let said = if line.is_empty() { String::new() } else { format!(": {line}") };
        Err(again(format!("`{program}` ended with {status}{said}")))
    }
}

/// Where the program is that would be started, or why none would be.
pub(super) fn find(exec: &[String]) -> Result<String, String> {
    let program = exec.first().map(String::as_str).unwrap_or_default();
    let may_run = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let path = Path::new(program);
        return match path.metadata() {
            Ok(_) if may_run(path) => Ok(format!("`{program}` is there")),
            Ok(_) => Err(format!("`{program}` is no program that may be run")),
            Err(error) => Err(format!("`{program}`: {error}")),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|it| it.join(program)).find(|it| may_run(it));
    found.map_or_else(
        || Err(format!("`{program}` is in no directory of `PATH`")),
        |path| Ok(format!("`{}` is there", path.display())),
    )
}

/// Writes the notice, reads what it says on its standard error, and waits for its end.
async fn talk(child: &mut Child, json: &[u8]) -> (std::io::Result<std::process::ExitStatus>, String) {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut said = Vec::new();
    let status = {
        let write = async {
            if let Some(mut stdin) = stdin {
                // It need not read it.
                let _ = stdin.write_all(json).await;
            }
        };
        let mut beside = std::pin::pin!(async { tokio::join!(write, listen(stderr, &mut said)) });
        tokio::select! {
            status = child.wait() => {
                let _ = timeout(LAST_WORDS, beside).await;
                status
            }
            _ = &mut beside => child.wait().await,
        }
    };
    (status, String::from_utf8_lossy(&said).into_owned())
}

/// Reads to the end, and keeps the beginning.
async fn listen(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut piece = [0; 1_024];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let room = LONGEST.saturating_sub(said.len());
        said.extend_from_slice(&piece[..read.min(room)]);
    }
}

/// The process group of a running child.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|it| i32::try_from(it).ok()).and_then(Pid::from_raw))
    }

    /// Its leader has ended: the number may soon be another's.
    fn leave(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(pid) = self.0.take() {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{health::State, notify::Subject};
    use jiff::Timestamp;
    fn program(script: &str, within: Duration) -> Program {
        Program { exec: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), within }
    }

    async fn run(script: &str, within: Duration) -> Result<(), String> {
        let notice = Notice::of(&Subject::Test, "7", Timestamp::UNIX_EPOCH, State::Ok, "app-1:42");
        let json = serde_json::to_vec(&notice).expect("JSON");
        program(script, within).deliver(&notice, &json).await.map_err(|it| it.why().to_owned())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_reads_the_notice_and_finds_it_in_its_environment() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let script =
            format!("cat > {}; echo \"$ROWCALL_EVENT $ROWCALL_ID $ROWCALL_TEXT\" > {}", at("in"), at("env"));
        run(&script, LONG).await.expect("it works");
        let read = |name: &str| std::fs::read_to_string(at(name)).expect("it was written");
        let notice: serde_json::Value = serde_json::from_str(&read("in")).expect("JSON");
        assert_eq!(notice["event"], "test");
        assert!(read("env").starts_with("test 7 Rowcall at app-1:42: "), "{}", read("env"));
    }

    #[tokio::test]
    async fn it_may_leave_the_notice_unread_and_something_behind() {
        run("exit 0", LONG).await.expect("it works");
        run("sleep 5 & exit 0", LONG).await.expect("what is left holds its standard error open");
    }

    #[tokio::test]
    async fn its_failure_is_told_with_the_first_line_that_it_said() {
        let said =
            run("echo >&2; echo 'no network' >&2; echo more >&2; exit 3", LONG).await.expect_err("it fails");
        assert!(said.ends_with("ended with exit status: 3: no network"), "{said}");
        let said = run("kill -9 $$", LONG).await.expect_err("it fails");
        assert!(said.contains("signal: 9"), "{said}");
        let none = Program { exec: vec!["/nowhere/page.sh".to_owned()], within: LONG };
        let notice = Notice::of(&Subject::Test, "7", Timestamp::UNIX_EPOCH, State::Ok, "app-1:42");
        let said = none.deliver(&notice, b"{}").await.expect_err("there is none");
        assert!(said.why().starts_with("`/nowhere/page.sh` cannot be started"), "{}", said.why());
    }

    #[test]
    fn it_is_found_where_it_would_be_started_and_may_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("page.sh");
        std::fs::write(&file, "#!/bin/sh").expect("a file");
        let look = |program: &str| find(&[program.to_owned()]);
        assert!(look("sh").expect("it is there").ends_with("/sh` is there"));
        assert_eq!(look("/bin/sh").expect("it is there"), "`/bin/sh` is there");
        for (program, why) in [
            ("/nowhere/page.sh", "No such file"),
            (&*file.to_string_lossy(), "no program that may be run"),
            ("/tmp", "no program that may be run"),
            ("no-such-page", "in no directory of `PATH`"),
        ] {
            let said = look(program).expect_err("there is none");
            assert!(said.contains(program) && said.contains(why), "{said}");
        }
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_what_it_began() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let said = run(&script, Duration::from_secs(2)).await.expect_err("it is killed");
        assert!(said.contains("took longer than 2 s"), "{said}");
        let pid = std::fs::read_to_string(pid).expect("it began something");
        let status = Path::new("/proc").join(pid.trim()).join("status");
        // Until somebody has waited for it, it is still listed.
        let is_gone = || std::fs::read_to_string(&status).map_or(true, |it| it.contains("State:\tZ"));
        let gone = async {
            while !is_gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, gone).await.expect("what it began is gone");
    }
}
