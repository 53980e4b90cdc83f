//! The lines of the process's own log: one for each attempt, one for each change.

use super::*;
use std::{
    io,
    sync::{Mutex, PoisonError},
};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{EnvFilter, fmt};

/// What is said, as JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Listens on this thread while the guard lives.
    fn listen(level: &str) -> (Self, DefaultGuard) {
        let (lines, filter) = (Self::default(), EnvFilter::new(level));
        let writer = lines.clone();
        let base = fmt().with_env_filter(filter).with_writer(move || writer.clone());
        (lines, tracing::subscriber::set_default(base.json().flatten_event(true).finish()))
    }

    fn all(&self) -> Vec<Value> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(text).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Those of a target: these fields of each, in a row.
    fn of(&self, target: &str, fields: &[&str]) -> Vec<String> {
        let shown = |line: &Value| {
            let field = |it: &&str| match &line[*it] {
                Value::Null => "-".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            fields.iter().map(field).collect::<Vec<_>>().join(" ")
        };
        self.all().iter().filter(|it| it["target"] == target).map(shown).collect()
    }
}

const ATTEMPT: &str = "rowcall::attempt";
const OUTCOME: &str = "rowcall::outcome";

#[tokio::test(start_paused = true)]
async fn an_attempt_is_one_line_and_so_is_an_outcome() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(503)).break_off().reply(status(200)).reply(status(422));
    let (lines, _listening) = Lines::listen("debug");
    rig.run(Stream::new().insert("1", "a").commit()).await;
    rig.run(Stream { commit: 200, ..Stream::new() }.insert("2", "b").commit()).await;
    let fields = ["level", "route", "key", "change", "step", "attempt", "method", "path", "status", "class"];
    assert_eq!(
        lines.of(ATTEMPT, &[&fields[..], &["outcome"]].concat()),
        [
            "INFO t 1 0/64.0 create 1 POST /create/1 503 refused retry",
            "INFO t 1 0/64.0 create 2 POST /create/1 - transport retry",
            "DEBUG t 1 0/64.0 create 3 POST /create/1 200 - answered",
            "DEBUG t 2 0/C8.0 create 1 POST /create/2 422 refused rejected",
        ]
    );
    let fields =
        ["level", "route", "entity", "key", "change", "op", "outcome", "reason", "calls", "attempts"];
    assert_eq!(
        lines.of(OUTCOME, &fields),
        ["INFO t t 1 0/64.0 insert applied - 1 3", "WARN t t 2 0/C8.0 insert parked refused 0 1"]
    );
    let records = rig.log.records();
    let told: Vec<String> = records.iter().map(|it| format!("{} {}", it.trace, it.span)).collect();
    assert_eq!(lines.of(ATTEMPT, &["trace", "span"]), told, "they are those of the records");
    assert_eq!(lines.of(OUTCOME, &["trace"]), [records[0].trace.to_string(), records[3].trace.to_string()]);
    let all = lines.all();
    assert!(all.iter().all(|it| it["latency_ms"].is_number() == (it["target"] == OUTCOME)), "{all:#?}");
    assert!(all.iter().all(|it| it["duration_ms"].is_number() == (it["target"] == ATTEMPT)), "{all:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_directive_silences_the_lines_and_info_has_only_the_attempts_that_failed() {
    for (level, attempts, outcomes) in
        [("info", 1, 1), ("info,rowcall::outcome=warn", 1, 0), ("info,rowcall::attempt=off", 0, 1)]
    {
        let rig = Rig::new(FakeRemote::new());
        rig.remote.reply(status(503)).reply(status(200));
        let (lines, _listening) = Lines::listen(level);
        rig.run(Stream::new().insert("1", "a").commit()).await;
        let counted = [ATTEMPT, OUTCOME].map(|it| lines.of(it, &[]).len());
        assert_eq!(counted, [attempts, outcomes], "{level}");
    }
}

/// A step's query may carry a key, an answer what its remote knows of a person.
#[tokio::test(start_paused = true)]
async fn no_query_header_or_body_is_in_a_line_of_an_attempt() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.answer(503, "the s3cr3t of a body").reply(status(200));
    let (lines, _listening) = Lines::listen("debug");
    rig.run(Stream::new().insert("1?api_key=s3cr3t", "s3cr3t row").commit()).await;
    let paths = lines.of(ATTEMPT, &["path", "outcome"]);
    assert_eq!(paths, ["/create/1 retry", "/create/1 answered"]);
    for mut line in lines.all() {
        // The test has its query in the key, which lines do name.
        line["key"].take();
        assert!(!line.to_string().contains("s3cr3t"), "{line}");
    }
}
