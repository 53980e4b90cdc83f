//! What is left out because the remote was told the same before, and what must not be.

use super::{
    store::{Hooked, Slow},
    *,
};
use crate::{
    model::ContentHash,
    state::{Hold, Settlement},
};
use xxhash_rust::xxh3::xxh3_64;

/// A [`Mirror`] that says what it sends of a row: `v`.
pub(super) struct Telling;

impl Synchronizer for Telling {
    fn next_step(&self, work: &synchronize::Work<'_>, answers: &[crate::model::Answered]) -> Step {
        Mirror.next_step(work, answers)
    }

    fn content(&self, work: &synchronize::Work<'_>, _: &[crate::model::Answered]) -> Option<ContentHash> {
        match (&work.change.image, work.change.image.row()?.get("v")) {
            (Image::Delete { .. }, _) => None,
            (_, Some(Cell::Text(v))) => Some(ContentHash(xxh3_64(v.as_bytes()))),
            _ => None,
        }
    }

    fn leaves_out_what_was_told(&self) -> bool {
        true
    }
}

fn engine(rig: &Rig) -> Engine {
    rig.engine_with(|route| route.synchronizer = Arc::new(Telling), Arc::new(NoRows))
}

async fn run(rig: &Rig, stream: Stream) {
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    engine(rig).run(&mut source, &mut stop).await.expect("it runs");
}

/// A stream that goes on behind this commit.
fn behind(commit: u64) -> Stream {
    Stream { commit: commit + 100, ..Stream::new() }
}

/// What an operator's `parked discard` does.
async fn discard(rig: &Rig, key: &str, commit: u64) {
    let resolved = vec![(at(key), id(commit))];
    let settlement = Settlement { resolved, ..Settlement::default() };
    let settled = rig.store.settle(settlement).await.expect("a settlement");
    assert_eq!(settled.held, [(at(key), Hold::Free)]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_says_nothing_new_makes_no_call_and_is_remembered() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "a").commit().update("1", "a").commit().update("1", "b").commit();
    run(&rig, stream.update("1", "b").update("1", "a").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 b", "PATCH /update/1 a"]);
    run(&rig, behind(400).update("1", "a").commit()).await;
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(rig.link("1").expect("a link").change, id(500), "a redelivery is known");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_comes_back_as_it_was_is_created_again() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit().delete("1").commit().insert("1", "a").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "DELETE /delete/1", "POST /create/1 a"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_merged_away_was_never_said() {
    let rig = Rig { coalesce: true, ..Rig::new(FakeRemote::new().held()) };
    let stream = Stream::new().insert("1", "a").commit().update("1", "b").commit().update("1", "a").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    let running = engine(&rig).run(&mut source, &mut stop);
    tokio::pin!(running);
    meanwhile(running.as_mut(), rig.remote.arrived(1)).await;
    rig.remote.release(1);
    running.await.expect("it runs");
    assert_eq!(rig.calls(), ["POST /create/1 a"]);
    assert_eq!(rig.link("1").expect("a link").change, id(300));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_failed_after_an_attempt_may_have_been_applied() {
    for failing in ["b", "two b"] {
        let rig = Rig::new(FakeRemote::new());
        run(&rig, Stream::new().insert("1", "a").commit()).await;
        // `two b` is half applied, `b` perhaps.
        if failing == "two b" {
            rig.remote.reply(status(200));
        }
        rig.remote.reply(status(422));
        run(&rig, behind(100).update("1", failing).commit()).await;
        assert_eq!(rig.parked().len(), 1);
        assert_eq!(rig.link("1").expect("a link").change, id(100), "it is not applied");
        discard(&rig, "1", 200).await;
        run(&rig, behind(200).update("1", "a").commit()).await;
        assert_eq!(rig.calls().last().map(String::as_str), Some("PATCH /update/1 a"), "{failing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_refused_before_any_call_has_said_nothing() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit().update("1", "invalid").commit()).await;
    discard(&rig, "1", 200).await;
    run(&rig, behind(200).update("1", "a").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a"]);
}

/// Its first attempt may have carried another body, and the remote may answer from memory.
#[tokio::test(start_paused = true)]
async fn what_was_parked_and_then_applied_is_not_certain() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422));
    run(&rig, Stream::new().insert("1", "a").commit()).await;
    rig.store.retry(&at("1"), id(100));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), false);
    let running = engine(&rig).run(&mut source, &mut stop);
    tokio::pin!(running);
    meanwhile(running.as_mut(), rig.remote.arrived(2)).await;
    go.send_replace(true);
    running.await.expect("it runs");
    assert_eq!(rig.link("1").expect("a link").content, None);
    run(&rig, behind(100).update("1", "a").commit().update("1", "a").commit()).await;
    assert_eq!(rig.calls()[2..], ["PATCH /update/1 a"], "sent once more, and then it is certain");
}

/// An earlier process sent `b` under 200 and perhaps something else under 300, and crashed before
/// either was durable.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_is_sent_again_and_is_not_certain() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit()).await;
    let rig = Rig { sent_before: Lsn::new(300), ..rig };
    run(&rig, behind(100).update("1", "a").commit().update("1", "a").commit()).await;
    assert_eq!(rig.calls()[1..], ["PATCH /update/1 a", "PATCH /update/1 a"]);
    assert_eq!(rig.link("1").expect("a link").content, None);
    run(&rig, behind(300).update("1", "a").commit().update("1", "a").commit()).await;
    assert_eq!(rig.calls()[3..], ["PATCH /update/1 a"]);
}

/// The earlier process may have sent it before its rule was made stricter.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_leaves_doubt_even_if_it_is_refused_now() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit()).await;
    let rig = Rig { sent_before: Lsn::new(200), ..rig };
    run(&rig, behind(100).update("1", "invalid").commit()).await;
    discard(&rig, "1", 200).await;
    run(&rig, behind(200).update("1", "a").commit()).await;
    assert_eq!(rig.calls()[1..], ["PATCH /update/1 a"]);
}

/// Runs the stream with a store that settles nothing until all has come to rest. What was called
/// before, and by when the store had gone on.
async fn called_before_settling(rig: &Rig, stream: Stream, answers: usize) -> (Vec<String>, Vec<String>) {
    let slow = Hooked::new(&rig.store, Slow::new());
    let mut engine = engine(rig);
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = Arc::clone(&slow) as _;
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    let running = engine.run(&mut source, &mut stop);
    tokio::pin!(running);
    rig.remote.release(answers);
    // A clock that is paused goes on only when nothing else can.
    meanwhile(running.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    let before = rig.calls();
    slow.hook.permits.add_permits(1_000);
    running.await.expect("it runs");
    (before, rig.calls())
}

/// After a crash the middle one would be sent, under a key that the remote does not know, and the
/// newest be answered from memory.
#[tokio::test(start_paused = true)]
async fn what_follows_a_change_that_was_left_out_waits_until_that_is_durable() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit()).await;
    let stream = behind(100).update("1", "a").commit().update("1", "a").commit().update("1", "b").commit();
    let (before, after) = called_before_settling(&rig, stream, 0).await;
    assert_eq!(before, ["POST /create/1 a"]);
    assert_eq!(after, ["POST /create/1 a", "PATCH /update/1 b"]);
}

/// A settlement names each remote once, or it could not be stored.
#[tokio::test(start_paused = true)]
async fn a_remote_that_changes_while_a_settlement_takes_long_is_told_of_as_it_is_now() {
    let rig = Rig::new(FakeRemote::new().held());
    let slow = Hooked::new(&rig.store, Slow::new());
    let mut engine = engine(&rig);
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = Arc::clone(&slow) as _;
    let (feed, mut source) = rig.fed();
    let (_go, mut stop) = watch::channel(false);
    let running = engine.run(&mut source, &mut stop);
    tokio::pin!(running);
    for key in 1..=3_u64 {
        let stream = behind(key * 100).insert(&key.to_string(), "a").commit();
        feed.send(stream.batch).expect("it is fed");
        meanwhile(running.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    }
    slow.hook.permits.add_permits(2);
    meanwhile(running.as_mut(), tokio::time::sleep(Duration::from_millis(10))).await;
    assert_eq!(rig.store.remotes()["fake"].in_flight, 3, "{:?}", rig.store.remotes());
}

/// After a crash they would be sent one by one, those behind the first under keys that the remote
/// does not know.
#[tokio::test(start_paused = true)]
async fn what_follows_merged_changes_waits_until_they_are_durable() {
    let rig = Rig { coalesce: true, ..Rig::new(FakeRemote::new()) };
    let slow = Hooked::new(&rig.store, Slow::new());
    let mut engine = engine(&rig);
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = Arc::clone(&slow) as _;
    let (feed, mut source) = rig.fed();
    let (_go, mut stop) = watch::channel(false);
    let running = engine.run(&mut source, &mut stop);
    tokio::pin!(running);
    let rest = || tokio::time::sleep(Duration::from_secs(5));
    for (batch, calls) in [
        (Stream::new().insert("1", "a").commit().update("1", "b").commit(), 1),
        (behind(200).update("1", "c").commit(), 1),
        (behind(300).insert("2", "x").commit(), 2),
    ] {
        feed.send(batch.batch).expect("it is fed");
        meanwhile(running.as_mut(), rest()).await;
        assert_eq!(rig.calls().len(), calls, "{:?}", rig.calls());
    }
    slow.hook.permits.add_permits(1_000);
    drop(feed);
    running.await.expect("it runs");
    assert_eq!(rig.calls(), ["POST /create/1 b", "POST /create/2 x", "PATCH /update/1 c"]);
}

#[tokio::test(start_paused = true)]
async fn another_remote_has_been_told_nothing_yet() {
    let rig = Rig::new(FakeRemote::new());
    run(&rig, Stream::new().insert("1", "a").commit().update("1", "a").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a"]);
    let elsewhere = |route: &mut Route| (route.synchronizer, route.told_to) = (Arc::new(Telling), 1);
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(behind(200).update("1", "a").commit(), true);
    let engine = rig.engine_with(elsewhere, Arc::new(NoRows));
    engine.run(&mut source, &mut stop).await.expect("it runs");
    assert_eq!(rig.calls()[1..], ["PATCH /update/1 a"]);
}
