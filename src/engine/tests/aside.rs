//! Batches whose remote does not take them for longer than the log may be kept.

use super::{
    batches::{answer, inserts, rows, sizes},
    outage::{acknowledged, kept},
    *,
};
use crate::{metrics::OutcomeKind, remote::CallError};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU16, Ordering},
};

/// How the remote answers: 0 for well, 1 for not at all, otherwise with this status.
#[derive(Clone, Default)]
struct Mood(Arc<AtomicU16>);

impl Mood {
    fn is(&self, mood: u16) {
        self.0.store(mood, Ordering::Relaxed);
    }

    fn remote(&self) -> FakeRemote {
        let mood = self.clone();
        FakeRemote::answering(move |call, _| {
            let rows = rows(call);
            let lost = rows.iter().any(|row| row.starts_with("breaks"));
            match mood.0.load(Ordering::Relaxed) {
                0 if !lost => Ok(answer(&rows)),
                0 | 1 => {
                    let (remote, message) = ("fake".to_owned(), "reset".to_owned());
                    Err(CallError::Transport { remote, message })
                }
                code => status(code),
            }
        })
    }
}

impl Rig {
    /// Each row was sent under one key all along, and each key carried one body.
    fn assert_one_call_for_each_row(&self) {
        let mut calls: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for seen in self.remote.seen() {
            for row in rows(&seen.call) {
                calls.entry(row).or_default().insert(format!("{} {:?}", seen.key, rows(&seen.call)));
            }
        }
        assert!(calls.values().all(|it| it.len() == 1), "{calls:#?}");
    }

    async fn drained(&self) {
        while !self.store.parked().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_may_have_arrived_is_put_aside_whole_and_sent_again_as_the_same_call() {
    let mood = Mood::default();
    mood.is(1);
    let rig = Rig::guarded(mood.remote());
    let (send, mut source) = rig.fed();
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.batching(sizes(3)).run(&mut source, &mut stop);
    tokio::pin!(run);
    let mut stream = inserts(Stream::new(), 1..=2).commit();
    send.send(std::mem::take(&mut stream.batch)).expect("it listens");
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    rig.kept.send_replace(kept(2_000));
    meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
    let aside = ["1 100 retrying outage", "2 100 retrying outage"];
    assert_eq!(rig.lines(), aside);
    // Behind them, and others that would share a call with them.
    let stream = inserts(stream.update("1", "w1"), 3..=9).commit();
    send.send(stream.batch).expect("it listens");
    meanwhile(run.as_mut(), acknowledged(&settled, 201)).await;
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(3_600))).await;
    mood.is(0);
    rig.kept.send_replace(kept(0));
    meanwhile(run.as_mut(), rig.drained()).await;
    go.send_replace(true);
    run.await.expect("it runs");
    rig.assert_one_call_for_each_row();
    assert_eq!(rig.link("1").map(|it| it.change), Some(id(200)));
    assert_eq!((rig.store.links().len(), rig.budget.used()), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn batches_that_a_slow_remote_does_not_take_hold_up_the_log_no_longer_than_single_calls() {
    // With 503 it may have acted, with 425 it has not.
    for code in [503, 425] {
        let mood = Mood::default();
        mood.is(code);
        let governor = Governor::new("fake", 2, None, &Breaker { failures: 0, ..Breaker::default() });
        let rig = Rig { governor, attempts: 1_000, ..Rig::guarded(mood.remote()) };
        let (send, mut source) = rig.fed();
        let settled = source.acknowledged.clone();
        let (go, mut stop) = watch::channel(false);
        let run = rig.batching(sizes(3)).run(&mut source, &mut stop);
        tokio::pin!(run);
        send.send(inserts(Stream::new(), 1..=2).commit().batch).expect("it listens");
        meanwhile(run.as_mut(), rig.remote.arrived(6)).await;
        assert_eq!(*settled.borrow(), Lsn::ZERO, "the log is kept as long as it may be");
        rig.kept.send_replace(kept(2_000));
        meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
        mood.is(0);
        rig.kept.send_replace(kept(0));
        meanwhile(run.as_mut(), rig.drained()).await;
        go.send_replace(true);
        run.await.expect("it runs");
        assert_eq!((rig.store.links().len(), rig.budget.used()), (2, 0), "{code}");
        let counted = |kind| rig.meter.route("t").outcome(kind).get();
        let counted = [OutcomeKind::Parked, OutcomeKind::Applied].map(counted);
        assert_eq!(counted, [2, 2], "{code}: each is counted when it is put aside, and when it is sent");
        if code == 503 {
            rig.assert_one_call_for_each_row();
        }
    }
}

/// The batch with the row that breaks the remote cannot be cut, and must not be all that is tried.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_kept_lets_others_see_that_the_remote_is_back() {
    let mood = Mood::default();
    mood.is(1);
    let breaker = Breaker { failures: 1, open: Span(Duration::from_secs(1)), ..Breaker::default() };
    let governor = Governor::new("fake", 1, None, &breaker);
    let rig = Rig { governor, ..Rig::guarded(mood.remote()) };
    let (send, mut source) = rig.fed();
    let settled = source.acknowledged.clone();
    let (_go, mut stop) = watch::channel(false);
    let run = rig.batching(sizes(2)).run(&mut source, &mut stop);
    tokio::pin!(run);
    let mut stream = Stream::new().insert("1", "breaks").insert("2", "v2").commit();
    send.send(std::mem::take(&mut stream.batch)).expect("it listens");
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    rig.kept.send_replace(kept(2_000));
    meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
    send.send(inserts(stream, 3..=3).commit().batch).expect("it listens");
    meanwhile(run.as_mut(), acknowledged(&settled, 201)).await;
    mood.is(0);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(600))).await;
    assert!(rig.link("3").is_some(), "{:?}", rig.lines());
    assert_eq!(rig.lines(), ["1 100 retrying outage", "2 100 retrying outage"]);
    rig.assert_one_call_for_each_row();
}

#[tokio::test(start_paused = true)]
async fn a_parked_row_that_tried_alone_whether_the_remote_is_back_shares_no_call_later() {
    let mood = Mood::default();
    mood.is(1);
    let rig = Rig::guarded(mood.remote());
    let (send, mut source) = rig.fed();
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.batching(sizes(3)).run(&mut source, &mut stop);
    tokio::pin!(run);
    rig.kept.send_replace(kept(2_000));
    let mut stream = inserts(Stream::new(), 1..=1).commit();
    send.send(std::mem::take(&mut stream.batch)).expect("it listens");
    meanwhile(run.as_mut(), acknowledged(&settled, 101)).await;
    send.send(inserts(stream, 2..=9).commit().batch).expect("it listens");
    meanwhile(run.as_mut(), acknowledged(&settled, 201)).await;
    // An hour of tries, a minute apart: every row has its turn.
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(3_600))).await;
    let tried: BTreeSet<String> = rig.remote.seen().iter().flat_map(|it| rows(&it.call)).collect();
    assert_eq!(tried.len(), 9);
    mood.is(0);
    rig.kept.send_replace(kept(0));
    meanwhile(run.as_mut(), rig.drained()).await;
    go.send_replace(true);
    run.await.expect("it runs");
    rig.assert_one_call_for_each_row();
    assert_eq!((rig.store.links().len(), rig.budget.used()), (9, 0));
}
