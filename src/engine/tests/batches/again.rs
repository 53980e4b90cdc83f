//! Batches that are sent again, and changes that are put into others.

use super::*;
use std::collections::BTreeSet;

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_with_the_same_body_under_the_same_key() {
    let rig = Rig::new(bank());
    rig.remote.reply(status(503)).break_off();
    rig.run_batches(sizes(2), inserts(Stream::new(), 1..=2).commit()).await;
    let seen = rig.remote.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|it| *it == seen[0]), "{seen:?}");
    assert!(rig.link("2").is_some());
}

#[tokio::test(start_paused = true)]
async fn parked_changes_that_are_taken_up_again_share_a_call() {
    let rig = Rig::new(bank());
    rig.remote.reply(status(503)).reply(status(503)).reply(status(503));
    rig.run_batches(sizes(3), inserts(Stream::new(), 1..=3).commit()).await;
    (1..=3).for_each(|key| rig.store.retry(&at(&key.to_string()), id_of(100, key)));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), false);
    source.batches.clear();
    let run = rig.batching(sizes(3)).run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(4)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.batches()[3], "/put v1 v2 v3");
    assert_eq!(rig.parked(), []);
}

fn id_of(commit: u64, place: u64) -> ChangeId {
    ChangeId { commit: Lsn::new(commit), ordinal: 2 * (place - 1) }
}

/// If a newer change had the key under which an earlier process had sent it, a remote would answer
/// it from memory although the older state was sent again in between.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_has_other_keys_and_the_rest_has_the_same() {
    let stream = || inserts(Stream::new(), [1]).commit();
    let keys = async |sent_before: u64| {
        let rig = Rig { sent_before: Lsn::new(sent_before), ..Rig::new(bank()) };
        rig.run_batches(sizes(1), stream()).await;
        rig.keys().remove(0)
    };
    let (fresh, again, once_more) = (keys(0).await, keys(100).await, keys(500).await);
    assert_eq!(fresh, keys(99).await, "it was not there to be sent");
    assert_eq!([&fresh, &again, &once_more].into_iter().collect::<BTreeSet<_>>().len(), 3);
    assert!(fresh.starts_with("t-00000007-64-0-") && fresh.ends_with("-put"), "{fresh}");
}

#[tokio::test(start_paused = true)]
async fn while_the_breaker_is_open_batches_wait_without_losing_attempts() {
    for failure in [None, Some(500), Some(502), Some(503), Some(504)] {
        let governor = Governor::new("fake", 8, None, &Breaker { failures: 2, ..Breaker::default() });
        let rig = Rig { attempts: 3, governor, ..Rig::new(bank()) };
        for _ in 0..6 {
            match failure {
                None => rig.remote.break_off(),
                Some(code) => rig.remote.reply(status(code)),
            };
        }
        let end = rig.run_batches(sizes(2), inserts(Stream::new(), 1..=2).commit()).await;
        assert_eq!(end, Lsn::new(101));
        let seen = rig.remote.seen();
        assert!(seen.iter().all(|it| *it == seen[0]), "the same call each time");
        assert_eq!(rig.parked(), [], "{failure:?}");
        assert_eq!(seen.len(), 7, "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_of_what_an_earlier_process_may_have_sent() {
    let rig = Rig { sent_before: Lsn::new(100), ..Rig::new(bank()) };
    let stream = Stream::new().insert("1", "poison").commit().insert("2", "poison").commit();
    rig.run_batches(sizes(1), stream).await;
    let parked = rig.store.parked();
    let doubt: Vec<_> = parked.iter().map(|(at, _, parked)| (&*at.key, parked.doubt)).collect();
    assert_eq!(doubt, [("1", true), ("2", false)]);
}
