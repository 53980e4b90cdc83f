//! What the meters are told.

use super::*;
use crate::metrics::{CallEnd, Class, OutcomeKind};

#[tokio::test(start_paused = true)]
async fn each_end_of_a_change_and_each_request_is_counted_once() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(503)).break_off().reply(status(200)).reply(status(422));
    rig.run(Stream::new().insert("1", "a").commit()).await;
    rig.run(Stream { commit: 200, ..Stream::new() }.insert("2", "b").insert("3", "invalid").commit()).await;
    let route = rig.meter.route("t");
    assert_eq!(OutcomeKind::ALL.map(|it| route.outcome(it).get()), [1, 0, 0, 2]);
    let attempts = |class| rig.remote_meter.attempts(class).get();
    let (answered, refused) = (attempts(Class::Answered), attempts(Class::Refused));
    assert_eq!((answered, refused, attempts(Class::Failing), attempts(Class::Transport)), (1, 1, 1, 1));
    assert_eq!(CallEnd::ALL.map(|it| rig.remote_meter.calls(it).get()), [1, 1, 0]);
    assert_eq!((rig.remote_meter.retries.get(), rig.meter.captured.get()), (2, 3));
    assert_eq!(route.latency.buckets().last().map(|(_, count)| count), Some(1));
    // A retry by hand that succeeds: it is applied now too, and not parked any more.
    rig.store.retry(&at("2"), id(200));
    let made = rig.calls().len();
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(made + 1)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!((route.drained.get(), route.outcome(OutcomeKind::Applied).get()), (1, 2));
    assert_eq!(route.outcome(OutcomeKind::Parked).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn how_far_it_is_is_told() {
    let rig = Rig::new(FakeRemote::new());
    rig.run(Stream::new().insert("1", "a").commit()).await;
    assert_eq!((rig.meter.received.get(), rig.meter.settled.get()), (101, 101));
    assert!(rig.meter.settling.buckets().last().is_some_and(|(_, count)| count >= 1));
}
