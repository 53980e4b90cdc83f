use super::*;

#[tokio::test(start_paused = true)]
async fn a_redelivered_change_is_skipped_without_a_call() {
    let rig = Rig::new(FakeRemote::new());
    let stream = || Stream::new().insert("1", "a").commit().update("1", "b").commit();
    rig.run(stream()).await;
    assert_eq!(rig.run(stream()).await, Lsn::new(201));
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 b"]);
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_delete_does_not_bring_the_key_back() {
    let rig = Rig::new(FakeRemote::new());
    let stream = || Stream::new().insert("1", "a").commit().delete("1").commit();
    rig.run(stream()).await;
    rig.run(stream()).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "DELETE /delete/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_parked_change_stays_as_it_is() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422));
    let stream = || Stream::new().insert("1", "a").commit().update("1", "b").commit();
    rig.run(stream()).await;
    let parked = rig.parked();
    rig.run(stream()).await;
    assert_eq!(rig.parked(), parked);
    assert_eq!(rig.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_the_answers_of_a_half_done_sequence_and_settles_the_rest() {
    let rig = Rig::new(FakeRemote::new().held());
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "two").insert("2", "a").commit(), false);
    let acknowledged = source.acknowledged.subscribe();
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    go.send_replace(true);
    assert!(futures_util::poll!(run.as_mut()).is_pending(), "it waits for the answers under way");
    rig.remote.release(2);
    run.await.expect("it stops");
    assert_eq!(rig.calls().len(), 2, "no further call was made");
    assert!(rig.link("2").is_some());
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Retrying, ParkReason::Interrupted)]);
    let (_, _, parked) = rig.store.parked().remove(0);
    assert_eq!(parked.answers.len(), 1);
    assert_eq!(*acknowledged.borrow(), Lsn::new(101));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever_and_settles_nothing_it_does_not_know() {
    let rig = Rig::new(FakeRemote::new().held());
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let acknowledged = source.acknowledged.subscribe();
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    go.send_replace(true);
    run.await.expect("it stops after the limit");
    assert_eq!((rig.link("1"), rig.parked()), (None, vec![]));
    assert_eq!(*acknowledged.borrow(), Lsn::ZERO, "it comes again");
}

/// Remembers of which changes it was told that they are uncertain.
#[derive(Default)]
struct Uncertain(watch::Sender<Vec<bool>>);

impl Synchronizer for Uncertain {
    fn next_step(&self, work: &synchronize::Work<'_>, _: &[crate::model::Answered]) -> Step {
        self.0.send_modify(|seen| seen.push(work.uncertain));
        match work.change.image.row().and_then(|row| row.get("v")) {
            Some(Cell::Text("invalid")) => {
                Step::Reject { reason: ParkReason::Invalid, message: "v is invalid".to_owned() }
            }
            _ => Step::Skip("seen".into()),
        }
    }
}

async fn uncertain(rig: &Rig, stream: Stream) -> Vec<bool> {
    let uncertain = Arc::new(Uncertain::default());
    let its = Arc::clone(&uncertain);
    let engine = rig.engine_with(|route| route.synchronizer = its, Arc::new(NoRows));
    let (_go, mut stop) = watch::channel(false);
    engine.run(&mut rig.source(stream, true), &mut stop).await.expect("it runs");
    uncertain.0.borrow().clone()
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_may_have_sent_is_uncertain() {
    let rig = Rig { sent_before: Lsn::new(100), ..Rig::new(FakeRemote::new()) };
    let stream = Stream::new().insert("1", "a").commit().insert("1", "b").commit();
    assert_eq!(uncertain(&rig, stream).await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn what_passes_an_older_change_that_gave_up_is_uncertain() {
    let rig = Rig { on_dead: OnDead::Continue, ..Rig::new(FakeRemote::new()) };
    let stream = Stream::new().insert("1", "invalid").commit().update("1", "b").commit();
    assert_eq!(uncertain(&rig, stream).await, [false, true]);
}

/// A doubt would keep the delete of its parent waiting.
#[tokio::test(start_paused = true)]
async fn what_was_refused_twice_is_in_no_doubt() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422)).reply(status(422));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), async {
        let refused = || rig.parked().iter().any(|(_, _, state, _)| *state == ParkedState::Rejected);
        for _ in 0..2 {
            while !refused() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if rig.calls().len() < 2 {
                rig.store.retry(&at("1"), id(100));
            }
        }
    })
    .await;
    go.send_replace(true);
    run.await.expect("it runs");
    assert_eq!(rig.calls().len(), 2);
    assert!(!rig.store.parked()[0].2.doubt);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_sent_is_not_merged_and_what_is_merged_keeps_the_oldest_call_key() {
    let rig = Rig { sent_before: Lsn::new(100), coalesce: true, ..Rig::new(FakeRemote::new()) };
    let stream = Stream::new().insert("1", "a").commit().update("1", "b").commit().update("1", "c").commit();
    rig.run(stream).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "PATCH /update/1 c"]);
    assert_eq!(rig.keys(), ["t-00000007-64-0-create", "t-00000007-C8-0-update"]);
    assert_eq!(rig.link("1").expect("a link").change, id(300));
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_the_answers_of_a_sequence_whose_last_call_fails_meanwhile() {
    let rig = Rig::new(FakeRemote::new().held());
    rig.remote.reply(status(201)).reply(status(503));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "two").commit(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    rig.remote.release(1);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    go.send_replace(true);
    assert!(futures_util::poll!(run.as_mut()).is_pending(), "it waits for the answer under way");
    rig.remote.release(1);
    run.await.expect("it stops");
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Retrying, ParkReason::Interrupted)]);
    assert_eq!(rig.store.parked().remove(0).2.answers.len(), 1, "the first call is not made again");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_loses_an_answer_does_not_keep_what_was_looked_up_before_the_call() {
    let rig = Rig::new(FakeRemote::new().held());
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "look").commit(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    rig.remote.release(1);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    go.send_replace(true);
    run.await.expect("it stops after the limit");
    assert_eq!(rig.calls(), ["GET /look/1", "POST /create/1 look"]);
    assert_eq!(rig.parked(), [], "nothing is known of it, so it comes again and looks again");
}

#[tokio::test(start_paused = true)]
async fn a_stop_forgets_who_waits_for_whom() {
    // So small that no lane is kept once it has nothing to do.
    let rig = Rig { budget: Budget::new(4), ..Rig::new(FakeRemote::new().held()) };
    let (go, mut stop) = watch::channel(false);
    let stream = Stream::new().insert("2", "a").commit().rename("1", "2", "b").commit();
    let mut source = rig.source(stream, false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    rig.remote.release(1);
    // The call ends; its settlement is under way when the stop comes.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    assert!(futures_util::poll!(run.as_mut()).is_pending());
    go.send_replace(true);
    for _ in 0..4 {
        assert!(futures_util::poll!(run.as_mut()).is_pending(), "the delete is held");
        tokio::task::yield_now().await;
    }
    rig.remote.release(1);
    run.await.expect("it stops");
    assert_eq!(rig.calls(), ["POST /create/2 a", "DELETE /delete/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_read_that_never_comes_back() {
    struct Stuck(watch::Sender<bool>);
    #[async_trait]
    impl RowReader for Stuck {
        async fn row(&self, _: &TableName, _: &[(String, String)]) -> Result<Option<Row>, SourceError> {
            self.0.send_replace(true);
            std::future::pending().await
        }
        async fn fetch(&self, _: &str, _: &[String]) -> Result<Option<Value>, SourceError> {
            Ok(None)
        }
    }
    let rig = Rig::new(FakeRemote::new());
    let (asked, mut reads) = watch::channel(false);
    let engine =
        rig.engine_with(|route| route.fetch = Some(crate::routing::Fetch::Row), Arc::new(Stuck(asked)));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), async { drop(reads.wait_for(|asked| *asked).await) }).await;
    go.send_replace(true);
    let hour = Duration::from_secs(3_600);
    tokio::time::timeout(hour, run).await.expect("it stops").expect("in order");
}

/// Were it not, a crash would have all of it sent again one by one, and the insert answered from
/// memory.
#[tokio::test(start_paused = true)]
async fn what_came_and_went_is_durable_before_its_key_is_sent_again() {
    let rig = Rig { coalesce: true, ..Rig::new(FakeRemote::new().held()) };
    let stream = Stream::new().insert("1", "a").commit().delete("1").commit().insert("1", "c").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    assert_eq!(rig.calls(), ["POST /create/1 c"]);
    let link = rig.link("1").expect("it is remembered");
    assert_eq!((link.gone, link.change), (true, id(200)));
    rig.remote.release(1);
    run.await.expect("it runs");
    assert_eq!(rig.calls().len(), 1);
}
