//! What was sent before is sent again, from a log of its own.

use super::{fed::Fed, outage::switched, unchanged::Telling, *};
use crate::{
    model::{RunCounts, RunId, RunKind, RunRequest, RunState},
    state::Run,
};
use std::{collections::HashSet, sync::atomic::Ordering};
use tokio::sync::mpsc::{Sender, UnboundedSender, channel, unbounded_channel};

/// Comes to the same calls, whatever is known of the key.
struct Steady;

impl Synchronizer for Steady {
    fn next_step(&self, work: &synchronize::Work<'_>, answers: &[crate::model::Answered]) -> Step {
        Mirror.next_step(&synchronize::Work { link: None, ..*work }, answers)
    }

    fn calls_the_same_again(&self) -> bool {
        true
    }
}

/// An engine at work, the stream, and the log of a replay.
pub(super) struct Play {
    pub(super) rig: Rig,
    pub(super) feed: UnboundedSender<Vec<Captured>>,
    orders: UnboundedSender<RunOrder>,
    stop: watch::Sender<bool>,
    running: JoinSet<Result<(), EngineError>>,
    part: Budget,
}

impl Play {
    pub(super) fn new() -> Self {
        Self::with(Rig::new(FakeRemote::new()), &[], |route| route)
    }

    pub(super) fn with(rig: Rig, replaying: &[&str], adapt: fn(Route) -> Route) -> Self {
        let (orders, ordered) = unbounded_channel();
        let mut parts = rig.parts([adapt(rig.route())], Arc::new(NoRows));
        parts.orders = ordered;
        parts.replaying = replaying.iter().map(|it| Arc::from(*it)).collect();
        let engine = Engine::new(parts, Lsn::ZERO);
        let (feed, mut source): (_, Fed) = rig.fed();
        let (stop, mut stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        running.spawn(async move { engine.run(&mut source, &mut stopped).await });
        let part = Budget::new(1 << 16);
        Self { rig, feed, orders, stop, running, part }
    }

    /// The stream brings this, and it is settled.
    pub(super) async fn live(&self, stream: Stream) {
        let through = Lsn::new(stream.commit - 99);
        drop(self.feed.send(stream.batch));
        self.settled(through).await;
    }

    async fn settled(&self, through: Lsn) {
        while self.rig.store.checkpoint().await.expect("a store").is_none_or(|it| it.lsn < through) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A replay of everything before `to` begins; what it reads is for the test to say.
    pub(super) async fn begin(
        &self,
        to: u64,
        adapt: impl FnOnce(&mut Replay),
    ) -> (RunId, Sender<ReplayFeed>) {
        let request =
            RunRequest { kind: RunKind::Replay, entity: None, options: Map::new(), origin: "test".into() };
        let run = self.rig.store.ask_run(&request).await.expect("a run");
        self.rig.store.begin_run(run, Lsn::new(to)).await.expect("it begins");
        let (log, feed) = channel(8);
        let mut replay = Replay {
            run,
            routes: vec!["t".into()],
            keys: HashSet::new(),
            window: Window { start: Lsn::ZERO, since: None, to: Lsn::new(to) },
            anew: false,
            at: Lsn::ZERO,
            read: 0,
            paused: false,
            feed,
            budget: self.part.clone(),
        };
        adapt(&mut replay);
        drop(self.orders.send(RunOrder::Replay(Box::new(replay))));
        (run, log)
    }

    pub(super) async fn says(&self, log: &Sender<ReplayFeed>, stream: Stream) {
        self.charge(&stream.batch);
        log.send(ReplayFeed::Batch(stream.batch)).await.expect("it listens");
    }

    fn charge(&self, batch: &[Captured]) {
        for captured in batch {
            if let Captured::Change(change) = captured {
                self.part.charge(change.bytes());
            }
        }
    }

    /// The log says this, and nothing further that is wanted.
    pub(super) async fn replays(&self, stream: Stream) -> Run {
        let (run, log) = self.begin(stream.commit, |_| {}).await;
        let end = stream.commit;
        self.says(&log, stream).await;
        drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(end))])).await);
        self.over(run).await
    }

    pub(super) async fn over(&self, run: RunId) -> Run {
        loop {
            match self.rig.store.run(run) {
                Some(run) if run.state.is_over() => return run,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    pub(super) fn crash(mut self) -> Rig {
        self.running.abort_all();
        self.rig
    }

    pub(super) async fn finish(mut self) -> Rig {
        self.stop.send_replace(true);
        self.running.join_next().await.expect("it runs").expect("no panic").expect("it stops");
        assert_eq!(self.part.used(), 0, "what was read for the replay is given back");
        self.rig
    }
}

/// From this commit on.
pub(super) fn from(commit: u64) -> Stream {
    Stream { commit, ..Stream::new() }
}

pub(super) fn counts(applied: u64, skipped: u64, parked: u64) -> RunCounts {
    RunCounts { read: applied + skipped + parked, applied, skipped, parked }
}

/// Three versions of one key, and another one that goes.
fn history() -> Stream {
    from(100)
        .insert("1", "a")
        .insert("2", "x")
        .commit()
        .update("1", "b")
        .delete("2")
        .commit()
        .update("1", "c")
        .commit()
}

#[tokio::test(start_paused = true)]
async fn everything_goes_out_again_in_order_under_the_same_keys() {
    let steady = |route: Route| Route { synchronizer: Arc::new(Steady), ..route };
    let play = Play::with(Rig::new(FakeRemote::new()), &[], steady);
    play.live(history()).await;
    let before: HashSet<String> = play.rig.keys().into_iter().collect();
    let link = play.rig.link("1").expect("a link");
    let run = play.replays(history()).await;
    assert_eq!((run.state, run.counts, run.expected), (RunState::Done, counts(5, 0, 0), Some(5)));
    assert_eq!(run.cursor.expect("a cursor"), serde_json::json!({ "at": "0/190", "to": "0/190" }));
    let rig = play.finish().await;
    let calls = ["POST /create/1 a", "POST /create/1 b", "POST /create/1 c"];
    assert_eq!(rig.calls_of("1"), [calls, calls].concat());
    assert_eq!(rig.calls_of("2")[2..], ["POST /create/2 x", "DELETE /delete/2"]);
    assert_eq!(rig.link("1").map(|it| it.change), Some(link.change), "a link never goes back");
    assert!(rig.link("2").expect("a link").gone);
    let all: HashSet<String> = rig.keys().into_iter().collect();
    assert_eq!((all, before.len()), (before, 5));
}

#[tokio::test(start_paused = true)]
async fn under_new_keys_every_call_has_one_of_its_own_in_each_run() {
    let play = Play::new();
    play.live(from(100).insert("1", "a").commit().update("1", "b").commit()).await;
    for _ in 0..2 {
        let (run, log) = play.begin(250, |it| it.anew = true).await;
        play.says(&log, from(100).insert("1", "a").commit().update("1", "b").commit()).await;
        drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(250))])).await);
        assert_eq!(play.over(run).await.counts, counts(2, 0, 0));
    }
    let keys = play.finish().await.keys();
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 6, "{keys:?}");
}

/// A remote does not know the key of what was left out the first time, or went out as another call, and would
/// apply it behind newer ones.
#[tokio::test(start_paused = true)]
async fn where_some_may_have_been_left_out_or_sent_otherwise_no_key_is_used_again() {
    let merging = |route: Route| Route { coalesce: true, synchronizer: Arc::new(Steady), ..route };
    let comparing = |route: Route| Route { synchronizer: Arc::new(Telling), ..route };
    for adapt in [|route| route, merging, comparing] {
        let play = Play::with(Rig::new(FakeRemote::new()), &[], adapt);
        play.live(history()).await;
        let before = play.rig.keys().len();
        assert_eq!(play.replays(history()).await.counts, counts(5, 0, 0));
        let rig = play.finish().await;
        let keys = rig.keys();
        let unique: HashSet<&String> = keys.iter().collect();
        assert_eq!((keys.len(), unique.len()), (before + 5, keys.len()), "{keys:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_has_overtaken_is_left_out() {
    let play = Play::new();
    play.live(history()).await;
    let (run, log) = play.begin(400, |_| {}).await;
    play.live(from(400).update("1", "live").insert("3", "new").commit().delete("3").commit()).await;
    play.says(&log, from(100).insert("1", "a").insert("2", "x").insert("3", "old").commit()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(400))])).await);
    assert_eq!(play.over(run).await.counts, counts(1, 2, 0));
    let rig = play.finish().await;
    assert_eq!(rig.calls_of("1").last().expect("a call"), "PATCH /update/1 live");
    assert_eq!(rig.calls_of("3"), ["POST /create/3 new", "DELETE /delete/3"], "it is not brought back");
    assert_eq!(rig.calls_of("2").last().expect("a call"), "POST /create/2 x");
}

#[tokio::test(start_paused = true)]
async fn a_live_change_goes_behind_what_is_under_way() {
    let play = Play::with(Rig::new(FakeRemote::new().held()), &[], |route| route);
    play.rig.remote.release(1);
    play.live(from(100).insert("1", "a").commit()).await;
    let (run, log) = play.begin(200, |_| {}).await;
    play.says(&log, from(100).insert("1", "a").commit()).await;
    play.rig.remote.arrived(2).await;
    drop(play.feed.send(from(200).update("1", "live").commit().batch));
    play.rig.remote.release(9);
    play.settled(Lsn::new(201)).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(200))])).await);
    assert_eq!(play.over(run).await.counts, counts(1, 0, 0));
    let rig = play.finish().await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 a", "PATCH /update/1 live"]);
}

#[tokio::test(start_paused = true)]
async fn after_an_older_state_nothing_is_left_out_as_unchanged() {
    let telling = |route: Route| Route { synchronizer: Arc::new(Telling), ..route };
    let play = Play::with(Rig::new(FakeRemote::new()), &[], telling);
    play.live(from(100).insert("1", "a").commit().update("1", "b").commit()).await;
    let (run, log) = play.begin(300, |_| {}).await;
    play.says(&log, from(100).insert("1", "a").commit()).await;
    play.rig.remote.arrived(3).await;
    // It says what was said last, before the replay.
    play.live(from(300).update("1", "b").commit()).await;
    play.says(&log, from(200).update("1", "b").commit()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(300))])).await);
    assert_eq!(play.over(run).await.counts, counts(1, 1, 0));
    let calls = play.finish().await.calls();
    assert_eq!(calls.last().expect("a call"), "PATCH /update/1 b");
    assert_eq!(calls.len(), 4, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_again_is_not_trusted_to_be_unchanged() {
    let telling = |route: Route| Route { synchronizer: Arc::new(Telling), ..route };
    let play = Play::with(Rig::new(FakeRemote::new()), &["t"], telling);
    play.live(from(100).insert("1", "a").commit().update("1", "a").commit()).await;
    let calls = play.finish().await.calls();
    assert_eq!(calls, ["POST /create/1 a", "PATCH /update/1 a"], "its replay has still to go on");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_comes_first() {
    let rig = Rig { sent_before: Lsn::new(450), ..Rig::new(FakeRemote::new()) };
    let play = Play::with(rig, &["t"], |route| route);
    let (run, log) = play.begin(300, |_| {}).await;
    play.says(&log, from(100).insert("1", "a").commit()).await;
    play.live(from(300).update("1", "b").commit()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(play.rig.calls(), ["POST /create/1 b"], "there may be more of it");
    drop(play.feed.send(vec![Captured::Idle(Lsn::new(450))]));
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(300))])).await);
    assert_eq!(play.over(run).await.counts, counts(0, 1, 0));
    assert_eq!(play.finish().await.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_has_the_last_word() {
    let play = Play::new();
    let stream =
        || from(100).insert("1", "a").commit().update("1", "invalid").commit().update("1", "c").commit();
    play.live(stream()).await;
    let parked = play.rig.parked();
    assert_eq!(parked.len(), 2);
    let run = play.replays(stream()).await;
    assert_eq!(run.counts, counts(0, 2, 1), "the last one meets its own parking");
    let rig = play.finish().await;
    assert_eq!((rig.parked(), rig.calls()), (parked, vec!["POST /create/1 a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_parked_and_goes_on_as_what_it_is() {
    let (down, remote) = switched();
    down.store(false, Ordering::Relaxed);
    let play = Play::with(Rig::new(remote), &[], |route| route);
    let stream = || from(100).insert("1", "a").commit().update("1", "b").commit();
    play.live(stream()).await;
    down.store(true, Ordering::Relaxed);
    let run = play.replays(stream()).await;
    assert_eq!((run.state, run.counts), (RunState::Done, counts(0, 0, 2)));
    play.live(from(300).update("1", "live").commit()).await;
    assert_eq!(play.rig.parked().len(), 3, "in order");
    down.store(false, Ordering::Relaxed);
    play.rig.store.retry(&at("1"), id(100));
    let calls = play.rig.calls().len();
    play.rig.remote.arrived(calls + 3).await;
    let rig = play.finish().await;
    assert_eq!(rig.calls()[calls..], ["PATCH /update/1 a", "PATCH /update/1 b", "PATCH /update/1 live"]);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_sent() {
    let play = Play::new();
    play.live(history()).await;
    let (run, log) = play.begin(400, |it| it.keys = HashSet::from([Arc::from("2")])).await;
    play.says(&log, history()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(400))])).await);
    assert_eq!(play.over(run).await.counts, counts(2, 0, 0));
    let since = Some(Timestamp::from_second(1).expect("a time"));
    let (run, log) = play.begin(400, |it| it.window.since = since).await;
    play.says(&log, history()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(400))])).await);
    assert_eq!(play.over(run).await.counts, counts(0, 0, 0), "all of it is older");
    assert_eq!(play.finish().await.calls().len(), 5 + 2);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_before_the_present_brings_nothing_back() {
    let play = Play::new();
    play.live(history()).await;
    let (run, log) = play.begin(400, |_| {}).await;
    let behind = from(200).update("1", "b").delete("2").commit();
    play.charge(&behind.batch);
    drop(log.send(ReplayFeed::Look(behind.batch)).await);
    drop(log.send(ReplayFeed::Looked(Lsn::new(150))).await);
    play.says(&log, history()).await;
    assert_eq!(play.over(run).await.counts, counts(0, 2, 0));
    let rig = play.finish().await;
    assert_eq!(rig.calls().len(), 5, "1 was changed since, and 2 is gone since");
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_over_another_connection_is_sent_once() {
    let play = Play::new();
    play.live(from(100).insert("1", "a").insert("2", "b").commit()).await;
    let (run, log) = play.begin(200, |_| {}).await;
    play.says(&log, from(100).insert("1", "a")).await;
    play.says(&log, from(100).insert("1", "a").insert("2", "b").commit()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(200))])).await);
    assert_eq!(play.over(run).await.counts, counts(2, 0, 0));
    play.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_one_reads_nothing_and_a_cancelled_one_no_more() {
    let play = Play::new();
    play.live(history()).await;
    let calls = play.rig.calls().len();
    let (run, log) = play.begin(400, |it| it.paused = true).await;
    play.says(&log, from(100).insert("1", "a").commit()).await;
    play.live(from(400).insert("9", "live").commit()).await;
    assert_eq!(play.rig.calls().len(), calls + 1, "nothing of it");
    drop(play.orders.send(RunOrder::Resume(run)));
    play.rig.remote.arrived(calls + 2).await;
    drop(play.orders.send(RunOrder::Cancel(run)));
    log.closed().await;
    play.live(from(500).insert("8", "live").commit()).await;
    assert_eq!(play.rig.store.run(run).expect("a run").counts, counts(1, 0, 0));
    assert_eq!(play.finish().await.calls().len(), calls + 3);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_ends_the_run() {
    let play = Play::new();
    let (run, log) = play.begin(400, |_| {}).await;
    drop(log.send(ReplayFeed::Broken(SourceError::Final("the slot is gone".to_owned()))).await);
    let run = play.over(run).await;
    assert_eq!((run.state, run.error.as_deref()), (RunState::Failed, Some("the slot is gone")));
    play.finish().await;
}
