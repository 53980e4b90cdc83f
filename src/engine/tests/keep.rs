//! What a replay is about to create is parked while it is sent.

use super::{
    outage::switched,
    replay::{Play, counts, from},
    *,
};
use crate::model::RunState;
use std::sync::atomic::Ordering;

/// A row that came and went.
fn gone() -> Stream {
    from(100).insert("1", "a").commit().delete("1").commit()
}

#[tokio::test(start_paused = true)]
async fn what_was_being_created_at_a_crash_comes_before_what_is_newer() {
    let play = Play::with(Rig::new(FakeRemote::new().held()), &[], |route| route);
    play.rig.remote.release(2);
    play.live(gone()).await;
    let (run, log) = play.begin(300, |_| {}).await;
    play.says(&log, gone()).await;
    play.rig.remote.arrived(3).await;
    let rig = Rig { sent_before: Lsn::new(300), ..play.crash() };
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Retrying, ParkReason::Interrupted)]);
    rig.remote.release(9);
    let play = Play::with(rig, &["t"], |route| route);
    // The row was written again before the start.
    drop(play.feed.send(from(300).insert("1", "b").commit().batch));
    let (_, log) = play.begin(300, |it| it.run = run).await;
    play.says(&log, gone()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(300))])).await);
    assert_eq!(play.over(run).await.state, RunState::Done);
    play.rig.remote.arrived(6).await;
    let rig = play.finish().await;
    let calls = ["POST /create/1 a", "POST /create/1 a", "DELETE /delete/1", "POST /create/1 b"];
    assert_eq!(rig.calls()[2..], calls);
    assert_eq!(rig.keys()[2], rig.keys()[3], "it is the same call");
    assert_eq!((rig.parked(), rig.link("1").expect("a link").change), (vec![], id(300)));
}

#[tokio::test(start_paused = true)]
async fn what_goes_through_counts_as_applied_and_leaves_nothing_parked() {
    let play = Play::new();
    play.live(gone()).await;
    let run = play.replays(gone()).await;
    assert_eq!((run.state, run.counts), (RunState::Done, counts(2, 0, 0)));
    let rig = play.finish().await;
    assert_eq!(rig.calls()[2..], ["POST /create/1 a", "DELETE /delete/1"]);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_parked_once() {
    let (down, remote) = switched();
    down.store(false, Ordering::Relaxed);
    let play = Play::with(Rig::new(remote), &[], |route| route);
    play.live(gone()).await;
    down.store(true, Ordering::Relaxed);
    let run = play.replays(gone()).await;
    assert_eq!((run.state, run.counts), (RunState::Done, counts(0, 0, 2)));
    down.store(false, Ordering::Relaxed);
    let calls = play.rig.calls().len();
    play.rig.store.retry(&at("1"), id(100));
    play.rig.remote.arrived(calls + 2).await;
    let rig = play.finish().await;
    assert_eq!(rig.calls()[calls..], ["POST /create/1 a", "DELETE /delete/1"]);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_is_under_way_and_what_is_live_goes_first() {
    let rig = Rig { governor: governor(1, None), ..Rig::new(FakeRemote::new().held()) };
    let play = Play::with(rig, &[], |route| route);
    let gone = || {
        let came = ["1", "2", "3"].iter().fold(from(100), |stream, key| stream.insert(key, "a")).commit();
        ["1", "2", "3"].iter().fold(came, |stream, key| stream.delete(key)).commit()
    };
    play.rig.remote.release(6);
    play.live(gone()).await;
    let (run, log) = play.begin(300, |_| {}).await;
    play.says(&log, gone()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(300))])).await);
    play.rig.remote.arrived(7).await;
    assert_eq!(play.rig.parked().len(), 1, "the others wait for their turn");
    drop(play.feed.send(from(300).insert("9", "live").commit().batch));
    tokio::time::sleep(Duration::from_secs(1)).await;
    play.rig.remote.release(9);
    assert_eq!(play.over(run).await.counts, counts(6, 0, 0));
    let rig = play.finish().await;
    assert_eq!(rig.calls()[6..8], ["POST /create/1 a", "POST /create/9 live"]);
    assert_eq!(rig.parked(), []);
}

/// Else it would be brought again behind that, and the remote would answer it from memory.
#[tokio::test(start_paused = true)]
async fn what_was_brought_stays_so_though_a_parked_change_went_through_since() {
    let rig = Rig { on_dead: OnDead::Continue, ..Rig::new(FakeRemote::new()) };
    rig.remote.reply(status(201)).reply(status(204)).reply(status(422));
    let play = Play::with(rig, &[], |route| route);
    let history = || gone().insert("1", "b").commit();
    play.live(history()).await;
    let (run, log) = play.begin(400, |_| {}).await;
    play.says(&log, gone()).await;
    play.rig.remote.arrived(5).await;
    play.rig.store.retry(&at("1"), id(300));
    play.rig.remote.arrived(6).await;
    let rig = play.finish().await;
    assert_eq!(rig.calls()[3..], ["POST /create/1 a", "DELETE /delete/1", "POST /create/1 b"]);
    let play = Play::with(rig, &["t"], |route| route);
    let (_, log) = play.begin(400, |it| it.run = run).await;
    play.says(&log, history()).await;
    drop(log.send(ReplayFeed::Batch(vec![Captured::Idle(Lsn::new(400))])).await);
    assert_eq!(play.over(run).await.state, RunState::Done);
    assert_eq!(play.finish().await.calls()[6..], ["PATCH /update/1 b"]);
}
