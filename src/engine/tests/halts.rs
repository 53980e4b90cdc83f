//! What a person has paused.

use super::{
    outage::{acknowledged, kept},
    *,
};
use crate::model::HaltOf;

fn halt(what: HaltOf, name: &str) -> Halt {
    let (since, who) = (Timestamp::UNIX_EPOCH, "token".to_owned());
    Halt { what, name: name.to_owned(), since, who, reason: Some("the bank asked".to_owned()) }
}

fn well() -> FakeRemote {
    FakeRemote::answering(|_, _| Ok(Answer { status: 200, ..Answer::default() }))
}

/// Lets everything happen that needs no time but this much.
async fn pass(run: Pin<&mut impl Future<Output = Result<(), EngineError>>>, time: Duration) {
    meanwhile(run, tokio::time::sleep(time)).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_paused_remote_and_what_waits_is_put_aside_as_in_an_outage() {
    let rig = Rig::guarded(well());
    rig.halts.send_replace(vec![halt(HaltOf::Remote, "fake")]);
    let stream = Stream::new().insert("1", "a").insert("2", "a").commit().update("1", "b").commit();
    let mut source = rig.source(stream, false);
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    pass(run.as_mut(), Duration::from_secs(60)).await;
    assert_eq!((rig.calls(), rig.lines()), (vec![], vec![]), "it waits in memory while the log may be kept");
    let gauges = rig.store.remotes().remove("fake").expect("the remote");
    assert_eq!(gauges.gate, "halted");
    let why = "remote `fake` is paused since 1970-01-01T00:00:00Z by token: the bank asked";
    assert_eq!(gauges.why.as_deref(), Some(why));
    rig.kept.send_replace(kept(1_001));
    meanwhile(run.as_mut(), acknowledged(&settled, 201)).await;
    assert_eq!(rig.lines(), ["1 100 retrying outage", "1 200 queued behind", "2 100 retrying outage"]);
    assert!(rig.store.parked()[0].2.message.contains(why), "{}", rig.store.parked()[0].2.message);
    pass(run.as_mut(), Duration::from_secs(600)).await;
    assert_eq!(rig.calls(), Vec::<String>::new(), "nobody tries whether it is back");
    rig.kept.send_replace(kept(0));
    rig.halts.send_replace(Vec::new());
    meanwhile(run.as_mut(), rig.remote.arrived(3)).await;
    pass(run.as_mut(), Duration::from_secs(5)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.lines(), Vec::<String>::new());
    assert_eq!(rig.calls_of("1"), ["POST /create/1 a", "PATCH /update/1 b"]);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_leaves_the_others_of_its_remote_alone_and_goes_on_in_order() {
    let rig = Rig::guarded(well());
    rig.halts.send_replace(vec![halt(HaltOf::Route, "t")]);
    let other = Route { name: "other".into(), ..rig.route() };
    let stream = Stream::new().insert("1", "a").commit().update("1", "b").commit();
    let mut source = rig.source(stream, false);
    let settled = source.acknowledged.clone();
    let (go, mut stop) = watch::channel(false);
    let run = rig.engine_of([rig.route(), other], Arc::new(NoRows)).run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), acknowledged(&settled, 201)).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 b"], "those of the other route");
    assert_eq!(rig.lines(), ["1 100 retrying outage", "1 200 queued behind"]);
    let parked = rig.store.parked();
    assert_eq!((&*parked[0].0.route, parked[0].2.attempts, parked[0].2.doubt), ("t", 0, false));
    let message = &parked[0].2.message;
    assert_eq!(message, "route `t` is paused since 1970-01-01T00:00:00Z by token: the bank asked");
    pass(run.as_mut(), Duration::from_secs(600)).await;
    assert_eq!(rig.calls().len(), 2);
    rig.halts.send_replace(Vec::new());
    meanwhile(run.as_mut(), rig.remote.arrived(4)).await;
    pass(run.as_mut(), Duration::from_secs(5)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.calls()[2..], ["POST /create/1 a", "PATCH /update/1 b"]);
    assert_eq!((rig.lines(), rig.budget.used()), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_the_middle_of_a_sequence_keeps_its_answers() {
    let rig = Rig::guarded(well());
    let mut source = rig.source(Stream::new().insert("1", "two").commit(), false);
    let (go, mut stop) = watch::channel(false);
    let halts = rig.halts.clone();
    let remote = FakeRemote::answering(move |call, _| {
        if call.path.starts_with("/create") {
            halts.send_replace(vec![halt(HaltOf::Remote, "fake")]);
        }
        Ok(Answer { status: 200, ..Answer::default() })
    });
    let rig = Rig { remote: Arc::new(remote), ..rig };
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    pass(run.as_mut(), Duration::from_secs(60)).await;
    let before = rig.calls();
    assert!(before.len() <= 2, "{before:?}");
    rig.halts.send_replace(Vec::new());
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.calls(), ["POST /create/1 two", "POST /second/1 two"], "each step is sent once");
}
