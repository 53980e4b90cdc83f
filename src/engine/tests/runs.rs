//! Rows of a table beside the stream. The table and the log are one here: what the test commits is in
//! both, and each mark comes back in the stream when the test says so.

use super::{
    fed::Fed,
    outage::{kept, switched},
    unchanged::Telling,
    *,
};
use crate::{
    capture::{Absent, Chunk, ChunkLimit, ChunkOf, KeyValues, Mark, Visible},
    model::{RunCounts, RunId, RunKind, RunRequest, RunState},
    state::Run,
};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A table in memory. A row is read together with what `during` does meanwhile.
pub(super) struct FakeTable {
    rows: Mutex<BTreeMap<String, String>>,
    shape: Mutex<String>,
    /// The snapshot that rows are read by.
    snapshot: Mutex<String>,
    failure: Mutex<Option<SourceError>>,
    reads: watch::Sender<usize>,
    marks: UnboundedSender<String>,
    chunk: AtomicUsize,
}

impl FakeTable {
    pub(super) fn new(rows: &[(&str, &str)]) -> (Arc<Self>, UnboundedReceiver<String>) {
        let (marks, written) = unbounded_channel();
        let rows = rows.iter().map(|(id, v)| ((*id).to_owned(), (*v).to_owned())).collect();
        let table = Self {
            rows: Mutex::new(rows),
            shape: Mutex::new("as it is".to_owned()),
            snapshot: Mutex::new("50:50:".to_owned()),
            failure: Mutex::default(),
            reads: watch::Sender::new(0),
            marks,
            chunk: AtomicUsize::new(usize::MAX),
        };
        (Arc::new(table), written)
    }

    fn write(&self, id: &str, v: &str) {
        self.rows.lock().expect("rows").insert(id.to_owned(), v.to_owned());
    }

    fn visible(&self) -> Visible {
        Visible::parse(&self.snapshot.lock().expect("a snapshot")).expect("a snapshot")
    }
}

#[async_trait]
impl ChunkReader for FakeTable {
    async fn chunk(
        &self,
        of: &ChunkOf,
        after: Option<&KeyValues>,
        limit: ChunkLimit,
    ) -> Result<Chunk, SourceError> {
        self.reads.send_modify(|it| *it += 1);
        if let Some(failure) = self.failure.lock().expect("a failure").take() {
            return Err(failure);
        }
        let limit = limit.rows.min(self.chunk.load(Ordering::Relaxed));
        let behind = |id: &&String| after.is_none_or(|it| **id > it[0]);
        let until = |id: &&String| of.until.as_ref().is_none_or(|it| **id <= it[0]);
        let rows = self.rows.lock().expect("rows");
        let wanted = || rows.iter().filter(|(id, _)| behind(id) && until(id));
        let stream = Stream::new();
        let row = |(id, v): (&String, &String)| stream.row(id, Cell::Text(v), Cell::Text("big"));
        Ok(Chunk {
            rows: wanted().take(limit).map(row).collect(),
            visible: self.visible(),
            shape: self.shape.lock().expect("a shape").as_str().into(),
            last: wanted().count() <= limit,
        })
    }

    async fn estimate(&self, _: &ChunkOf) -> Result<u64, SourceError> {
        Ok(self.rows.lock().expect("rows").len() as u64)
    }

    async fn absent(&self, _: &ChunkOf, keys: &[KeyValues]) -> Result<Absent, SourceError> {
        let rows = self.rows.lock().expect("rows");
        let gone = keys.iter().filter(|it| !rows.contains_key(&it[0]));
        let stream = Stream::new();
        let row = |it: &KeyValues| stream.row(&it[0], Cell::Unchanged, Cell::Unchanged);
        Ok(Absent { rows: gone.map(row).collect(), visible: self.visible() })
    }

    async fn mark(&self, text: &str) -> Result<(), SourceError> {
        drop(self.marks.send(text.to_owned()));
        Ok(())
    }
}

fn of() -> ChunkOf {
    let (table, key) = ("public.t".parse().expect("a name"), vec!["id".to_owned()]);
    ChunkOf { table, key, filter: None, keys: None, until: None }
}

fn rows(cursor: Option<Value>) -> Assignment {
    Assignment {
        run: RunId(1),
        base: Lsn::new(5),
        routes: vec!["t".into()],
        work: RunWork::Rows { of: of(), force: false },
        cursor,
        rate: None,
        paused: false,
    }
}

/// An engine at work on a table, and the ends to play the database by.
struct Play {
    rig: Rig,
    table: Arc<FakeTable>,
    marks: UnboundedReceiver<String>,
    feed: UnboundedSender<Vec<Captured>>,
    orders: UnboundedSender<RunOrder>,
    stop: watch::Sender<bool>,
    running: JoinSet<Result<(), EngineError>>,
    commit: u64,
}

impl Play {
    fn new(table: &[(&str, &str)]) -> Self {
        Self::with(Rig::new(FakeRemote::new()), FakeTable::new(table), None, |route| route)
    }

    fn with(
        rig: Rig,
        (table, marks): (Arc<FakeTable>, UnboundedReceiver<String>),
        resumed: Option<Assignment>,
        adapt: fn(Route) -> Route,
    ) -> Self {
        let (orders, ordered) = unbounded_channel();
        let mut parts = rig.parts([adapt(rig.route())], Arc::new(NoRows));
        (parts.chunks, parts.orders, parts.resumed) = (Arc::clone(&table) as _, ordered, resumed);
        let engine = Engine::new(parts, Lsn::new(10));
        let (feed, mut source): (_, Fed) = rig.fed();
        let (stop, mut stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        running.spawn(async move { engine.run(&mut source, &mut stopped).await });
        Self { rig, table, marks, feed, orders, stop, running, commit: 100 }
    }

    async fn begin(&self, assignment: Assignment) -> RunId {
        let options = Map::new();
        let request = RunRequest { kind: RunKind::Snapshot, entity: None, options, origin: "test".into() };
        let run = self.rig.store.ask_run(&request).await.expect("a run");
        self.rig.store.begin_run(run, assignment.base).await.expect("it begins");
        drop(self.orders.send(RunOrder::Begin(Box::new(Assignment { run, ..assignment }))));
        run
    }

    /// The stream brings a transaction of this number.
    fn commits(&mut self, transaction: u32, change: impl FnOnce(Stream) -> Stream) {
        let mut stream = change(Stream { commit: self.commit, ..Stream::new() }).commit();
        for captured in &mut stream.batch {
            if let Captured::Change(change) = captured {
                change.transaction = Some(transaction);
            }
        }
        self.commit = stream.commit;
        drop(self.feed.send(stream.batch));
    }

    async fn written(&mut self) -> String {
        self.marks.recv().await.expect("a mark")
    }

    /// The stream brings a mark.
    fn brings(&mut self, text: &str) {
        let (commit, at) = (Lsn::new(self.commit), Timestamp::UNIX_EPOCH);
        let mark = Captured::Mark(Mark { text: text.into(), commit, at });
        let end = Captured::Commit(Commit { lsn: commit, end: Lsn::new(self.commit + 1), at });
        self.commit += 100;
        drop(self.feed.send(vec![mark, end]));
    }

    async fn brings_next(&mut self) {
        let mark = self.written().await;
        self.brings(&mark);
    }

    async fn over(&self, run: RunId) -> Run {
        loop {
            match self.rig.store.run(run) {
                Some(run) if run.state.is_over() => return run,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn finish(mut self) -> Rig {
        self.stop.send_replace(true);
        self.running.join_next().await.expect("it runs").expect("no panic").expect("it stops");
        self.rig
    }
}

#[tokio::test(start_paused = true)]
async fn rows_are_sent_in_the_order_of_their_keys_and_remembered() {
    let mut play = Play::new(&[("1", "a"), ("2", "b"), ("3", "c")]);
    play.table.chunk.store(2, Ordering::Relaxed);
    let id = play.begin(rows(None)).await;
    play.brings_next().await;
    play.brings_next().await;
    let run = play.over(id).await;
    assert_eq!(run.state, RunState::Done);
    assert_eq!(run.counts, RunCounts { read: 3, applied: 3, skipped: 0, parked: 0 });
    assert_eq!(run.expected, Some(3));
    assert_eq!(run.cursor.expect("a cursor")["after"], serde_json::json!(["3"]));
    let rig = play.finish().await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/2 b", "POST /create/3 c"]);
    assert_eq!(rig.link("3").expect("a link").change, ChangeId { commit: Lsn::new(200), ordinal: 0 });
    let keys = rig.keys();
    assert!(keys.iter().all(|it| it.starts_with("t-00000007-5-")), "made of the run: {keys:?}");
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "and of the key");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_stream_has_overtaken_is_left_out() {
    let mut play = Play::new(&[("1", "old"), ("2", "new"), ("3", "c")]);
    let id = play.begin(rows(None)).await;
    let mark = play.written().await;
    // 60 came after the snapshot; 40 is in the row already, as it is there.
    play.commits(60, |it| it.update("1", "new"));
    play.commits(40, |it| it.update("2", "before"));
    play.brings(&mark);
    let run = play.over(id).await;
    assert_eq!(run.counts, RunCounts { read: 3, applied: 2, skipped: 1, parked: 0 });
    let rig = play.finish().await;
    assert_eq!(rig.calls_of("1"), ["POST /create/1 new"]);
    assert_eq!(rig.calls_of("2"), ["POST /create/2 before", "PATCH /update/2 new"]);
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_does_not_see_what_came_before_it_is_read_again() {
    let mut play = Play::new(&[("1", "old")]);
    play.commits(60, |it| it.update("1", "new"));
    play.rig.remote.arrived(1).await;
    let id = play.begin(rows(None)).await;
    // Its commit is in the log, but others do not see it yet.
    play.table.reads.subscribe().wait_for(|it| *it >= 2).await.expect("it reads again");
    *play.table.snapshot.lock().expect("a snapshot") = "70:70:".to_owned();
    play.table.write("1", "new");
    play.brings_next().await;
    play.over(id).await;
    let rig = play.finish().await;
    assert_eq!(rig.calls(), ["POST /create/1 new", "PATCH /update/1 new"]);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_new_is_skipped_unless_it_is_forced() {
    let telling = |route: Route| Route { synchronizer: Arc::new(Telling), ..route };
    let mut play = Play::with(Rig::new(FakeRemote::new()), FakeTable::new(&[("1", "a")]), None, telling);
    play.commits(40, |it| it.insert("1", "a"));
    let id = play.begin(rows(None)).await;
    play.brings_next().await;
    assert_eq!(play.over(id).await.counts, RunCounts { read: 1, skipped: 1, ..RunCounts::default() });
    assert_eq!(play.rig.link("1").expect("a link").change.commit, Lsn::new(100), "nothing is written for it");
    let id = play.begin(Assignment { work: RunWork::Rows { of: of(), force: true }, ..rows(None) }).await;
    play.brings_next().await;
    assert_eq!(play.over(id).await.counts, RunCounts { read: 1, applied: 1, ..RunCounts::default() });
    let rig = play.finish().await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 a"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_after_a_crash_is_sent_again_under_the_same_keys() {
    let table = [("1", "a"), ("2", "b"), ("3", "c")];
    let mut play = Play::with(Rig::new(FakeRemote::new().held()), FakeTable::new(&table), None, |it| it);
    let id = play.begin(rows(None)).await;
    play.brings_next().await;
    play.rig.remote.arrived(3).await;
    play.running.shutdown().await;
    let cursor = play.rig.store.run(RunId(1)).expect("a run").cursor;
    assert_eq!(cursor.as_ref().expect("a cursor")["ahead"], serde_json::json!(["3"]), "before it was sent");
    let before = play.rig.keys();
    let rig = Rig { remote: Arc::new(FakeRemote::new()), sent_before: Lsn::new(1_000), ..play.rig };
    let (tables, marks) = FakeTable::new(&[("1", "a"), ("2", "newer"), ("3", "c"), ("4", "d")]);
    *tables.snapshot.lock().expect("a snapshot") = "70:70:".to_owned();
    let mut play = Play::with(rig, (tables, marks), Some(rows(cursor)), |it| it);
    // It changed since, which the stream brings again.
    play.commits(60, |it| it.update("2", "newer"));
    play.brings_next().await;
    play.brings_next().await;
    play.over(id).await;
    let rig = play.finish().await;
    let again: std::collections::BTreeSet<String> = rig.keys().into_iter().collect();
    assert!(before.iter().all(|it| again.contains(it)), "nothing can be created twice: {again:?}");
    let changed = rig.calls_of("2");
    assert_eq!(changed, ["POST /create/2 newer", "PATCH /update/2 newer", "PATCH /update/2 newer"]);
    assert_eq!(rig.keys()[..2], [before[1].clone(), "t-00000007-64-0-update".to_owned()], "and as itself");
    assert_eq!(rig.calls_of("4"), ["POST /create/4 d"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_behind_what_is_settled() {
    let mut play = Play::new(&[("1", "a"), ("2", "b"), ("3", "c")]);
    let id = play
        .begin(rows(Some(serde_json::json!({ "after": ["2"], "ahead": ["2"], "shape": "as it is" }))))
        .await;
    play.brings_next().await;
    play.over(id).await;
    assert_eq!(play.finish().await.calls(), ["POST /create/3 c"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_for_a_remote_that_is_down() {
    let (down, remote) = switched();
    let table = FakeTable::new(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e"), ("6", "f")]);
    table.0.chunk.store(1, Ordering::Relaxed);
    let mut play = Play::with(Rig::guarded(remote), table, None, |it| it);
    play.commits(40, |it| it.insert("8", "x").insert("9", "x"));
    play.rig.remote.arrived(2).await;
    let id = play.begin(rows(None)).await;
    play.rig.kept.send_replace(kept(1_001));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*play.table.reads.borrow(), 0, "it would only be parked");
    down.store(false, Ordering::Relaxed);
    play.rig.kept.send_replace(kept(0));
    for _ in 0..6 {
        play.brings_next().await;
    }
    assert_eq!(play.over(id).await.counts, RunCounts { read: 6, applied: 6, ..RunCounts::default() });
    play.finish().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_rows_are_read_in_a_second_than_is_said() {
    let mut play = Play::new(&[("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e"), ("6", "f")]);
    let began = tokio::time::Instant::now();
    let id = play.begin(Assignment { rate: NonZeroU32::new(2), ..rows(None) }).await;
    for _ in 0..3 {
        play.brings_next().await;
    }
    assert_eq!(play.over(id).await.counts.applied, 6);
    assert!(began.elapsed() >= Duration::from_secs(2), "the clock of the test says so");
    play.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_altered_meanwhile_ends_the_run() {
    let play = Play::new(&[("1", "a")]);
    let id = play
        .begin(rows(Some(serde_json::json!({ "after": ["0"], "ahead": ["0"], "shape": "as it was" }))))
        .await;
    let why = play.over(id).await.error.expect("it fails");
    assert!(why.contains("table public.t was altered"), "{why}");
    assert!(play.finish().await.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_ends_the_run_and_what_passes_does_not() {
    let mut play = Play::new(&[("1", "a")]);
    let away = SourceError::Connection { doing: "reading".to_owned(), message: "away".to_owned() };
    *play.table.failure.lock().expect("a failure") = Some(away);
    let id = play.begin(rows(None)).await;
    play.brings_next().await;
    assert_eq!(play.over(id).await.state, RunState::Done);
    *play.table.failure.lock().expect("a failure") = Some(SourceError::Final("no such table".to_owned()));
    let id = play.begin(rows(None)).await;
    assert_eq!(play.over(id).await.error.as_deref(), Some("no such table"));
    play.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_reads_nothing_and_a_cancelled_one_sends_nothing() {
    let mut play = Play::new(&[("1", "a")]);
    let id = play.begin(Assignment { paused: true, ..rows(None) }).await;
    play.commits(40, |it| it.insert("9", "x"));
    play.rig.remote.arrived(1).await;
    assert_eq!(*play.table.reads.borrow(), 0);
    drop(play.orders.send(RunOrder::Resume(id)));
    let mark = play.written().await;
    drop(play.orders.send(RunOrder::Cancel(id)));
    play.commits(41, |it| it.insert("8", "x"));
    play.rig.remote.arrived(2).await;
    play.brings(&mark);
    play.commits(42, |it| it.insert("7", "x"));
    play.rig.remote.arrived(3).await;
    assert_eq!(play.finish().await.calls_of("1"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pruning_deletes_what_is_linked_and_has_no_row() {
    let mut play = Play::new(&[("1", "a"), ("3", "c")]);
    play.commits(40, |it| it.insert("1", "a").insert("2", "b").insert("3", "c").insert("4", "d"));
    play.rig.remote.arrived(4).await;
    play.commits(41, |it| it.insert("5", "e"));
    play.rig.remote.arrived(5).await;
    let prune = |dry_run| Assignment { work: RunWork::Prune { of: of(), dry_run }, ..rows(None) };
    let id = play.begin(prune(true)).await;
    assert_eq!(play.over(id).await.counts, RunCounts { read: 5, applied: 3, ..RunCounts::default() });
    assert_eq!(play.rig.calls().len(), 5, "only counted");
    let id = play.begin(prune(false)).await;
    let mark = play.written().await;
    play.commits(60, |it| it.insert("4", "again"));
    play.brings(&mark);
    let counts = play.over(id).await.counts;
    assert_eq!(counts, RunCounts { read: 5, applied: 2, skipped: 3, parked: 0 });
    let rig = play.finish().await;
    assert_eq!(rig.calls_of("2"), ["POST /create/2 b", "DELETE /delete/2"]);
    assert_eq!(rig.calls_of("4"), ["POST /create/4 d", "PATCH /update/4 again"]);
    assert!(rig.link("5").expect("a link").gone);
}
