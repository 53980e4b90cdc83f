mod full;
mod histories;
mod required;
mod slow;
mod stop;

use super::*;
use crate::{
    call_log::{
        CallLogError, CallRecord, Content, RECORD_VERSION, RecordId, SpanId, SpoolSettings, Trace, WhenFull,
        spool::tests::small_disk::SmallDisk,
    },
    model::ByteSize,
};
use async_trait::async_trait;
use futures_util::future::OptionFuture;
use jiff::Timestamp;
use std::{
    fs,
    path::Path,
    sync::{Mutex as StdMutex, MutexGuard, PoisonError},
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{advance, sleep},
};

/// What the outlet does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    /// One batch, and fails then.
    TakesOne,
    Fails,
    Hangs,
    /// It takes them, and then fails.
    LosesAnswer,
}

/// What an outlet was given and took.
#[derive(Debug)]
struct Script {
    mood: watch::Sender<Mood>,
    batches: StdMutex<Vec<Vec<u64>>>,
}

impl Script {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self { mood: watch::Sender::new(mood), batches: StdMutex::default() })
    }

    fn is(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Vec<u64>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn took(&self) -> Vec<u64> {
        self.batches().concat()
    }
}

struct ScriptedOutlet(Arc<Script>);

#[async_trait]
impl Outlet for ScriptedOutlet {
    async fn send(&mut self, lines: &Arc<[Line]>) -> Result<Vec<crate::call_log::Refused>, CallLogError> {
        let mut mood = self.0.mood.subscribe();
        // One that hangs goes on as whatever it becomes.
        let mood = *mood.wait_for(|mood| *mood != Mood::Hangs).await.expect("a mood");
        if mood != Mood::Fails {
            self.0.batches().push(lines.iter().map(|it| it.id().parse().expect("a number")).collect());
        }
        match mood {
            Mood::Takes => Ok(Vec::new()),
            Mood::TakesOne => {
                self.0.is(Mood::Fails);
                Ok(Vec::new())
            }
            _ => Err(CallLogError { doing: "sending", message: "away".to_owned(), lasting: false }),
        }
    }
}

fn record(number: u64) -> CallRecord {
    CallRecord {
        v: RECORD_VERSION,
        id: RecordId(number.to_string().into()),
        at: Timestamp::UNIX_EPOCH,
        took_us: 1,
        route: "loans".into(),
        entity: "loan".into(),
        keys: ["42".into()].into(),
        changes: ["0/1-0".into()].into(),
        run: None,
        step: "create".into(),
        attempt: 1,
        call_key: "a".into(),
        remote: "bank".into(),
        method: "POST".into(),
        url: "http://localhost/loans".to_owned(),
        request: Content::default(),
        response: None,
        class: None,
        error: None,
        outcome: "answered".into(),
        trace: Trace::of("a"),
        span: SpanId::of("a"),
    }
}

/// A kilobyte each.
fn seal() -> Prepare {
    Arc::new(|record| Line::new(&record.id.0, &record.route, [b'x'; 1000]))
}

struct Rig {
    script: Arc<Script>,
    pipeline: Arc<Pipeline>,
    /// The number of the next record.
    next: u64,
}

fn options() -> PipelineOptions {
    PipelineOptions { memory: ByteSize(40_000), batch: 10, ..PipelineOptions::default() }
}

fn settings(folder: &Path, max: u64, when_full: WhenFull) -> SpoolSettings {
    SpoolSettings { max: ByteSize(max), when_full, ..SpoolSettings::at(folder) }
}

fn spool(folder: &Path) -> Option<Spool> {
    Some(Spool::open(&settings(folder, 1 << 30, WhenFull::Block)).expect("a spool"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn segments(folder: &Path) -> usize {
    let paths = fs::read_dir(folder).expect("a listing").map(|it| it.expect("an entry").path());
    paths.filter(|it| it.extension().is_some_and(|it| it == "v1")).count()
}

impl Rig {
    fn new(mood: Mood, spool: Option<Spool>, options: PipelineOptions) -> Self {
        let script = Script::new(mood);
        let outlet = Box::new(ScriptedOutlet(script.clone()));
        Self { pipeline: Arc::new(Pipeline::start(outlet, seal(), spool, options)), script, next: 0 }
    }

    async fn write(&mut self, count: u64) {
        for _ in 0..count {
            OptionFuture::from(self.pipeline.write(record(self.next))).await;
            self.next += 1;
        }
    }

    /// Goes on writing on its own, so many.
    fn write_aside(&mut self, count: u64, tasks: &mut JoinSet<()>) {
        let (pipeline, from) = (self.pipeline.clone(), self.next);
        self.next += count;
        tasks.spawn(async move {
            for number in from..from + count {
                OptionFuture::from(pipeline.write(record(number))).await;
            }
        });
    }

    /// Looks at every millisecond of the clock, which moves whenever nobody has anything to do.
    async fn until(&self, what: &str, is_so: impl Fn(&PipelineGauges) -> bool) {
        for _ in 0..3_600_000 {
            if is_so(&self.pipeline.gauges()) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("{what} never came to be: {:?}", self.pipeline.gauges());
    }

    async fn until_sent(&self, count: u64) {
        self.until("that all is sent", |it| it.sent >= count).await;
    }

    fn all(&self) -> Vec<u64> {
        (0..self.next).collect()
    }
}

/// Each once, in the order in which they came first.
fn firsts(took: Vec<u64>) -> Vec<u64> {
    let mut seen = std::collections::BTreeSet::new();
    took.into_iter().filter(|number| seen.insert(*number)).collect()
}
