//! A remote that is down for longer than the log may be kept.

use super::{
    store::{Hooked, Slow},
    *,
};
use crate::{model::ByteSize, remote::CallError};
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) fn kept(lag: u64) -> Option<KeptLog> {
    Some(KeptLog { at: Timestamp::UNIX_EPOCH, lag })
}

/// A remote that can be taken down.
pub(super) fn switched() -> (Arc<AtomicBool>, FakeRemote) {
    let down = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&down);
    let remote = FakeRemote::answering(move |_, _| {
        if asked.load(Ordering::Relaxed) {
            let (remote, message) = ("fake".to_owned(), "connection refused".to_owned());
            return Err(CallError::Transport { remote, message });
        }
        Ok(Answer { status: 200, ..Answer::default() })
    });
    (down, remote)
}

/// Lets nothing through for a second after two failures.
fn breaks() -> Arc<Governor> {
    let breaker = Breaker { failures: 2, open: Span(Duration::from_secs(1)), ..Breaker::default() };
    Governor::new("fake", 2, None, &breaker)
}

impl Rig {
    pub(super) fn guarded(remote: FakeRemote) -> Self {
        let guard = WalGuard { bytes: ByteSize(1_000), after: Span(Duration::from_secs(3_600)) };
        Self { guard, governor: breaks(), ..Self::new(remote) }
    }

    /// What each key's parked changes look like, in order: `1 100 retrying outage`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(key, commit, state, reason): (String, u64, ParkedState, ParkReason)| {
            format!("{key} {commit} {} {}", state.name(), reason.name())
        };
        self.parked().into_iter().map(line).collect()
    }
}

pub(super) async fn acknowledged(source: &watch::Sender<Lsn>, lsn: u64) {
    let mut seen = source.subscribe();
    let _ = seen.wait_for(|reached| *reached >= Lsn::new(lsn)).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_remote_that_is_down_is_put_aside_and_drains_in_order_once_it_is_back() {
    let (down, remote) = switched();
    let rig = Rig::guarded(remote);
    let stream =
        Stream::new().insert("1", "a").insert("2", "a").commit().update("1", "b").insert("3", "a").commit();
    let stream = stream.update("1", "c").commit();
    let mut source = rig.source(stream, false);
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(4)).await;
    assert_eq!(*settled.borrow(), Lsn::ZERO, "the log is kept as long as it may be");
    rig.kept.send_replace(kept(1_001));
    meanwhile(run.as_mut(), acknowledged(&settled, 301)).await;
    let aside = [
        "1 100 retrying outage",
        "1 200 queued behind",
        "1 300 queued behind",
        "2 100 retrying outage",
        "3 200 retrying outage",
    ];
    assert_eq!(rig.lines(), aside);
    let doubt: Vec<bool> = rig.store.parked().iter().map(|(_, _, it)| it.doubt).collect();
    assert_eq!(doubt[..3], [true, false, false], "what was never sent is known not to be");
    // One of them sees whether the remote is back.
    let before = rig.calls().len();
    meanwhile(run.as_mut(), rig.remote.arrived(before + 3)).await;
    down.store(false, Ordering::Relaxed);
    let made = rig.calls().len();
    rig.kept.send_replace(kept(0));
    meanwhile(run.as_mut(), rig.remote.arrived(made + 5)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.lines(), Vec::<String>::new());
    let of_1 = rig.calls_of("1").into_iter().skip_while(|it| it.contains("create")).collect::<Vec<_>>();
    assert_eq!(of_1, ["PATCH /update/1 b", "PATCH /update/1 c"]);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn within_the_guard_nothing_is_put_aside() {
    let (_down, remote) = switched();
    let rig = Rig::guarded(remote);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let (_go, mut stop) = watch::channel(false);
    rig.kept.send_replace(kept(1_000));
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(9)).await;
    assert_eq!(rig.lines(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_still_arriving_is_put_aside_within_the_budget() {
    let (down, remote) = switched();
    let rig = Rig { budget: Budget::new(40_000), ..Rig::guarded(remote) };
    let mut stream = Stream::new();
    let mut batches = VecDeque::new();
    for number in 0..1_000 {
        stream = stream.insert(&number.to_string(), "a");
        batches.push_back(std::mem::take(&mut stream.batch));
    }
    batches.push_back(stream.commit().batch);
    let (budget, acknowledged_) = (rig.budget.clone(), watch::Sender::new(Lsn::ZERO));
    let mut source = Script { budget, batches, ends: false, acknowledged: acknowledged_.clone() };
    let (go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(3)).await;
    assert!(rig.store.parked().is_empty() && !rig.budget.has_room());
    rig.kept.send_replace(kept(2_000));
    meanwhile(run.as_mut(), acknowledged(&acknowledged_, 101)).await;
    assert_eq!(rig.store.parked().len(), 1_000);
    assert!(rig.budget.used() < 10_000, "{}", rig.budget.used());
    down.store(false, Ordering::Relaxed);
    rig.kept.send_replace(kept(0));
    let made = rig.calls().len();
    meanwhile(run.as_mut(), rig.remote.arrived(made + 1_000)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.store.parked().len(), 0);
    assert_eq!(rig.store.links().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_down_new_changes_go_straight_to_parked_and_merge_where_they_may() {
    let (down, remote) = switched();
    let rig = Rig { coalesce: true, ..Rig::guarded(remote) };
    rig.kept.send_replace(kept(2_000));
    let (send, mut source) = rig.fed();
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    let mut stream = Stream::new().insert("1", "a").commit();
    for (value, reached) in [("b", 101), ("c", 201), ("d", 301), ("", 401)] {
        send.send(std::mem::take(&mut stream.batch)).expect("it listens");
        meanwhile(run.as_mut(), acknowledged(&settled, reached)).await;
        stream = stream.update("1", value).commit();
    }
    assert_eq!(rig.lines(), ["1 100 retrying outage", "1 400 queued behind"]);
    down.store(false, Ordering::Relaxed);
    let made = rig.calls().len();
    meanwhile(run.as_mut(), rig.remote.arrived(made + 2)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.calls()[made..], ["POST /create/1 a", "PATCH /update/1 d"]);
    assert_eq!(rig.link("1").expect("a link").change, id(400));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_gave_up_holds_its_key_or_lets_later_ones_pass() {
    for (on_dead, made) in [(OnDead::Hold, 1), (OnDead::Continue, 2)] {
        let rig = Rig { on_dead, ..Rig::new(FakeRemote::new()) };
        rig.remote.reply(status(422));
        rig.run(Stream::new().insert("1", "a").commit().insert("1", "b").commit()).await;
        assert_eq!(rig.calls().len(), made, "{on_dead:?}");
        assert_eq!(rig.lines()[0], "1 100 rejected refused");
        // Superseded by then, or next in its turn.
        rig.store.retry(&at("1"), id(100));
        let (go, mut stop) = watch::channel(false);
        let mut source = rig.source(Stream::new(), false);
        source.batches.clear();
        let run = rig.engine().run(&mut source, &mut stop);
        tokio::pin!(run);
        let store = Arc::clone(&rig.store);
        meanwhile(run.as_mut(), async {
            while !store.parked().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        go.send_replace(true);
        run.await.expect("it runs");
        let calls = rig.calls_of("1").split_off(1);
        match on_dead {
            OnDead::Hold => assert_eq!(calls, ["POST /create/1 a", "PATCH /update/1 b"]),
            OnDead::Continue => assert_eq!(calls, ["POST /create/1 b"], "superseded"),
        }
        assert_eq!(rig.link("1").expect("a link").change, id(200));
    }
}

/// Going on without what a half-done sequence saved would create things twice.
#[tokio::test(start_paused = true)]
async fn a_half_done_change_that_gave_up_holds_its_key_all_the_same() {
    let rig = Rig { on_dead: OnDead::Continue, ..Rig::new(FakeRemote::new()) };
    rig.remote.reply(status(201)).reply(status(422));
    rig.run(Stream::new().insert("1", "two").commit().insert("1", "b").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 two", "POST /second/1 two"]);
    assert_eq!(rig.lines(), ["1 100 rejected refused", "1 200 queued behind"]);
}

/// What a remote that breaks off for one key answers to the others.
fn poisoned(down: Arc<AtomicBool>) -> FakeRemote {
    FakeRemote::answering(move |call, _| match call.body.bytes() {
        Some(body) if down.load(Ordering::Relaxed) || String::from_utf8_lossy(body).contains("poison") => {
            Err(CallError::Transport { remote: "fake".to_owned(), message: "reset".to_owned() })
        }
        Some(_) => Ok(Answer { status: 200, body: r#"[{"at":0}]"#.into(), ..Answer::default() }),
        None => status(200),
    })
}

/// Otherwise a remote that is well stays shut for as long as the one row is there.
#[tokio::test(start_paused = true)]
async fn a_parked_change_that_breaks_the_remote_lets_others_see_that_it_is_back() {
    let breaker = Breaker { failures: 1, open: Span(Duration::from_secs(1)), ..Breaker::default() };
    for batched in [false, true] {
        let governor = Governor::new("fake", 1, None, &breaker);
        let down = Arc::new(AtomicBool::new(true));
        let rig = Rig { governor, ..Rig::guarded(poisoned(Arc::clone(&down))) };
        rig.kept.send_replace(kept(2_000));
        let stream = Stream::new().insert("1", "poison").insert("2", "a").commit();
        let mut source = rig.source(stream, false);
        let settled = source.acknowledged.clone();
        let share = |route: &mut Route| {
            if batched {
                super::batches::batched(route, 1);
            }
        };
        let (_go, mut stop) = watch::channel(false);
        let run = rig.engine_with(share, Arc::new(NoRows)).run(&mut source, &mut stop);
        tokio::pin!(run);
        meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
        down.store(false, Ordering::Relaxed);
        meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(600))).await;
        assert!(rig.link("2").is_some(), "batched: {batched}");
        assert_eq!(rig.lines(), ["1 100 retrying outage"], "batched: {batched}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_source_cannot_be_asked_the_guard_goes_by_the_time_that_passes() {
    let (_down, remote) = switched();
    let rig = Rig::guarded(remote);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let settled = source.acknowledged.clone();
    let (_go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(3)).await;
    rig.kept.send_replace(Some(KeptLog::unknown(Timestamp::UNIX_EPOCH)));
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(3_500))).await;
    assert_eq!(*settled.borrow(), Lsn::ZERO);
    meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
    assert_eq!(rig.lines(), ["1 100 retrying outage"]);
}

/// What will make no call is nothing by which to see that the remote is back.
#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_ready_keeps_no_parked_one_from_seeing_that_the_remote_is_back() {
    let (down, remote) = switched();
    let rig = Rig::guarded(remote);
    rig.kept.send_replace(kept(2_000));
    let (send, mut source) = rig.fed();
    let settled = source.acknowledged.clone();
    let (_go, mut stop) = watch::channel(false);
    let mut engine = rig.engine();
    let permits = tokio::sync::Semaphore::new(1_000_000);
    let slow = Hooked::new(&rig.store, Slow { permits, untold: Some("9") });
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = slow;
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    let mut stream = Stream::new().insert("1", "a").commit();
    send.send(std::mem::take(&mut stream.batch)).expect("it listens");
    meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
    send.send(stream.insert("9", "a").commit().batch).expect("it listens");
    // Several probes, so that each is taken up after the change that is not ready has come.
    let made = rig.calls().len();
    meanwhile(run.as_mut(), rig.remote.arrived(made + 3)).await;
    down.store(false, Ordering::Relaxed);
    meanwhile(run.as_mut(), rig.remote.arrived(made + 4)).await;
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(60))).await;
    assert!(rig.link("1").is_some());
}

/// Each process tries the change as often as it takes to know that the remote is down.
#[tokio::test(start_paused = true)]
async fn of_an_outage_no_change_dies_however_often_the_service_is_restarted() {
    let (_down, remote) = switched();
    let mut rig = Rig { attempts: 2, ..Rig::guarded(remote) };
    let mut stream = Stream::new().insert("1", "a").commit();
    for _ in 0..5 {
        rig.governor = breaks();
        let mut source = rig.source(std::mem::replace(&mut stream, Stream::new()), false);
        let (_go, mut stop) = watch::channel(false);
        let made = rig.calls().len();
        let run = rig.engine().run(&mut source, &mut stop);
        tokio::pin!(run);
        meanwhile(run.as_mut(), rig.remote.arrived(made + 2)).await;
        rig.kept.send_replace(kept(1_001));
        meanwhile(run.as_mut(), rig.remote.arrived(made + 8)).await;
        assert_eq!(rig.lines(), ["1 100 retrying outage"]);
        assert_eq!(rig.store.parked()[0].2.attempts, 0);
        rig.kept.send_replace(kept(0));
    }
}
