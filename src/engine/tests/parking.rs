use super::*;

#[tokio::test(start_paused = true)]
async fn a_change_that_may_not_be_sent_is_parked_and_the_stream_goes_on() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "invalid").insert("2", "a").commit();
    assert_eq!(rig.run(stream).await, Lsn::new(101));
    assert_eq!(rig.calls(), ["POST /create/2 a"]);
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Rejected, ParkReason::Invalid)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_keeps_failing_is_parked_dead_after_its_last_attempt() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(503)).break_off().reply(status(503));
    assert_eq!(rig.run(Stream::new().insert("1", "a").commit()).await, Lsn::new(101));
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(
        rig.keys().iter().collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "the same key each time"
    );
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Dead, ParkReason::Refused)]);
}

#[tokio::test(start_paused = true)]
async fn later_changes_of_a_parked_key_queue_behind_it_in_order() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422));
    let stream = Stream::new().insert("1", "a").commit().update("1", "b").commit().insert("2", "x").commit();
    assert_eq!(rig.run(stream).await, Lsn::new(301), "the stream moves on");
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/2 x"]);
    let queued = (("1").to_owned(), 200, ParkedState::Queued, ParkReason::Behind);
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Rejected, ParkReason::Refused), queued]);
}

#[tokio::test(start_paused = true)]
async fn a_retried_change_and_all_that_queued_behind_it_run_in_order_and_free_the_key() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422));
    rig.run(Stream::new().insert("1", "a").commit().update("1", "b").commit().update("1", "c").commit())
        .await;
    rig.store.retry(&at("1"), id(100));

    let (go, mut stop) = watch::channel(false);
    let mut stream = Stream::new();
    stream.commit = 400;
    let mut source = rig.source(stream.insert("2", "x").commit(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(5)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(
        rig.calls_of("1"),
        ["POST /create/1 a", "POST /create/1 a", "PATCH /update/1 b", "PATCH /update/1 c"]
    );
    assert_eq!(rig.parked(), []);

    let mut stream = Stream::new();
    stream.commit = 500;
    rig.run(stream.update("1", "d").commit()).await;
    assert_eq!(rig.calls_of("1").last().map(String::as_str), Some("PATCH /update/1 d"), "the key is free");
}

#[tokio::test(start_paused = true)]
async fn a_retry_resumes_at_the_step_that_failed() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(201)).reply(status(422));
    rig.run(Stream::new().insert("1", "two").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/1 two", "POST /second/1 two"]);
    rig.store.retry(&at("1"), id(100));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), false);
    source.batches.clear();
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(3)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.calls()[2..], ["POST /second/1 two"]);
    assert_eq!(rig.keys()[1], rig.keys()[2]);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_synchronizer_parks_its_change_and_nothing_else() {
    let rig = Rig::new(FakeRemote::new());
    rig.run(Stream::new().insert("1", "panic").insert("2", "a").commit()).await;
    assert_eq!(rig.calls(), ["POST /create/2 a"]);
    assert_eq!(rig.parked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_truncate_waits_for_a_person_and_then_deletes_what_is_older_than_it() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "a").insert("2", "a").commit();
    let stream = stream.change(Image::Truncate).commit().insert("3", "a").commit();
    rig.run(stream).await;
    assert_eq!(rig.parked(), [(String::new(), 200, ParkedState::Rejected, ParkReason::Truncate)]);
    assert_eq!(rig.calls().len(), 3, "nothing is deleted");

    rig.store.retry(&at(""), id(200));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), false);
    source.batches.clear();
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(5)).await;
    go.send_replace(true);
    run.await.expect("it runs");
    let mut deleted = rig.calls().split_off(3);
    deleted.sort();
    assert_eq!(deleted, ["DELETE /delete/1", "DELETE /delete/2"]);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_truncate_behind_another_waits_for_a_decision_of_its_own() {
    let rig = Rig::new(FakeRemote::new());
    let stream = Stream::new().insert("1", "a").commit();
    let stream = stream.change(Image::Truncate).commit().change(Image::Truncate).commit();
    rig.run(stream).await;
    let waits = |commit| (String::new(), commit, ParkedState::Rejected, ParkReason::Truncate);
    assert_eq!(rig.parked(), [waits(200), waits(300)]);
}
