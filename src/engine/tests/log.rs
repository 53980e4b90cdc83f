//! One record for each request, under a name that no other has.

use super::{
    store::{Hook, Hooked},
    *,
};
use crate::{
    call_log::{CallLogSink, Record},
    engine::log::{CallLog, Subject, Watch},
    metrics::RemoteMeter,
    model::CallKey,
    remote::Shown,
};
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

impl Rig {
    /// `POST 503 retry refused`, by id.
    fn recorded(&self) -> Vec<String> {
        let line = |it: crate::call_log::CallRecord| {
            let status = it.response.map_or("-".to_owned(), |it| it.status.to_string());
            let class = it.class.map(|it| format!(" {it}")).unwrap_or_default();
            format!("{} {} {status} {}{class}", it.attempt, it.method, it.outcome)
        };
        self.log.records().into_iter().map(line).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_leaves_a_record_that_says_how_it_ended() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(503)).break_off().reply(status(200)).reply(status(422));
    rig.run(Stream::new().insert("1", "a").commit()).await;
    rig.run(Stream { commit: 200, ..Stream::new() }.insert("2", "b").commit()).await;
    assert_eq!(
        rig.recorded(),
        [
            "1 POST 503 retry refused",
            "2 POST - retry transport",
            "3 POST 200 answered",
            "1 POST 422 rejected refused"
        ]
    );
    let records = rig.log.records();
    let [first, .., last] = &records[..] else { panic!("there are several") };
    assert_eq!((&*first.route, &*first.entity, &*first.step, &*first.remote), ("t", "t", "create", "fake"));
    assert_eq!((&*first.keys[0], &*first.changes[0], first.run), ("1", "0/64.0", None));
    assert_eq!(first.call_key.to_string(), rig.remote.seen()[0].key.to_string());
    assert!(first.request.body.contains('a') && first.error.is_none(), "{first:?}");
    assert!(records[1].error.as_ref().is_some_and(|error| error.contains("no answer")), "{records:?}");
    assert_eq!(first.trace, records[1].trace, "all calls of a change share a trace");
    assert_ne!(first.trace, last.trace);
    let spans: BTreeSet<_> = records.iter().map(|it| it.span).collect();
    assert_eq!(spans.len(), records.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_after_it_was_parked_is_counted_on() {
    let rig = Rig::new(FakeRemote::new());
    rig.remote.reply(status(422));
    rig.run(Stream::new().insert("1", "a").commit()).await;
    for answer in [422, 200] {
        rig.store.retry(&at("1"), id(100));
        rig.remote.reply(status(answer));
        let made = rig.calls().len();
        let (go, mut stop) = watch::channel(false);
        let mut source = rig.source(Stream::new(), false);
        let run = rig.engine().run(&mut source, &mut stop);
        tokio::pin!(run);
        meanwhile(run.as_mut(), rig.remote.arrived(made + 1)).await;
        go.send_replace(true);
        run.await.expect("it runs");
    }
    assert_eq!(
        rig.recorded(),
        ["1 POST 422 rejected refused", "2 POST 422 rejected refused", "3 POST 200 answered"]
    );
}

/// Neither a kill nor an orderly stop in the middle of a call makes two requests share a name, although the
/// next process counts from where it was settled last.
#[tokio::test(start_paused = true)]
async fn requests_of_several_lives_have_records_of_their_own() {
    let mut rig = Rig::new(FakeRemote::new());
    let stream = || Stream::new().insert("1", "a").commit();
    for (made, orderly) in [(1, true), (2, false), (3, true)] {
        rig.remote.reply(status(503));
        {
            let (go, mut stop) = watch::channel(false);
            let mut source = rig.source(stream(), false);
            let run = rig.engine().run(&mut source, &mut stop);
            tokio::pin!(run);
            let kept = async {
                while rig.log.records().len() < made {
                    tokio::task::yield_now().await;
                }
            };
            meanwhile(run.as_mut(), kept).await;
            if orderly {
                go.send_replace(true);
                run.await.expect("it stops");
            }
        }
        rig = Rig { sent_before: Lsn::new(200), nonce: rig.nonce + 1, ..rig };
    }
    rig.run(stream()).await;
    let mut recorded = rig.recorded();
    recorded.sort();
    assert_eq!(recorded[0], "1 POST 200 answered");
    assert_eq!(recorded[1..], ["1 POST 503 retry refused"; 3]);
    let records = rig.log.records();
    let ids: BTreeSet<_> = records.iter().map(|it| &it.id).collect();
    let spans: BTreeSet<_> = records.iter().map(|it| &it.span).collect();
    assert_eq!((ids.len(), spans.len()), (4, 4), "{ids:?}");
    let calls: BTreeSet<_> = records.iter().map(|it| &it.call_key).collect();
    assert_eq!(calls.len(), 1, "and yet it is the same call for the remote: {calls:?}");
}

struct Stuck;

impl CallLogSink for Stuck {
    fn write(&self, _: Record<'_>) -> Option<BoxFuture<'_, ()>> {
        Some(Box::pin(std::future::pending()))
    }
}

/// A token is replaced, say, and the call made once more, while the log has no room.
#[tokio::test(start_paused = true)]
async fn records_of_one_attempt_come_in_their_order_where_the_first_has_to_wait() {
    #[derive(Default)]
    struct Narrow(Mutex<Vec<u32>>);

    impl CallLogSink for Narrow {
        fn write(&self, record: Record<'_>) -> Option<BoxFuture<'_, ()>> {
            let attempt = record.attempt;
            let took = move || self.0.lock().expect("the numbers").push(attempt);
            if attempt > 1 {
                took();
                return None;
            }
            Some(Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                took();
            }))
        }
    }

    let sink = Arc::new(Narrow::default());
    let log = CallLog { sink: Some(sink.clone()), clock: || Timestamp::UNIX_EPOCH };
    let call = Call {
        step: "create".into(),
        method: Method::Post,
        path: "/loans".to_owned(),
        headers: Vec::new(),
        body: Body::Empty,
        handles: Vec::new(),
        accept: Vec::new(),
        lookup: None,
    };
    let change = ChangeId { commit: Lsn::new(1), ordinal: 0 };
    let key = CallKey { route: "loan".into(), origin: 0, change, key: None, step: "create".into() };
    let (name, meter) = (Arc::from("loan"), RemoteMeter::default());
    let subject = Subject {
        route: &name,
        remote: &name,
        meter: &meter,
        keys: ["1".into()].into(),
        changes: vec![change],
        run: None,
        scope: None,
    };
    let mut watch = Watch::new(&log, &call, &key, subject);
    for number in 1..=3 {
        watch.begins(number);
        watch.sends(Shown { url: "https://bank.example/loans".to_owned(), headers: [].into() });
        watch.ends(Some(status(200).as_ref()), "answered", None);
    }
    watch.keep().await;
    assert_eq!(*sink.0.lock().expect("the numbers"), [1, 2, 3]);
}

/// Its disk is full and it is to block, say: that holds calls up, but no stop, and costs no answer.
#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_keeps_no_stop_from_settling_what_was_answered() {
    let rig = Rig::new(FakeRemote::new());
    let mut engine = rig.engine();
    Arc::get_mut(&mut engine.ground).expect("not shared yet").log.sink = Some(Arc::new(Stuck));
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    assert!(futures_util::poll!(run.as_mut()).is_pending(), "the call waits for the log");
    go.send_replace(true);
    run.await.expect("it stops");
    assert!(rig.link("1").is_some() && rig.parked().is_empty());
}

/// The call is not waited for, but it was made.
#[tokio::test(start_paused = true)]
async fn a_request_under_way_has_its_record_when_the_state_is_lost() {
    struct Lost(AtomicBool);

    #[async_trait]
    impl Hook for Lost {
        async fn fails(&self) -> bool {
            self.0.load(Relaxed)
        }
    }

    let rig = Rig::new(FakeRemote::new().held());
    let store = Hooked::new(&rig.store, Lost(AtomicBool::new(false)));
    let mut engine = rig.engine();
    Arc::get_mut(&mut engine.ground).expect("not shared yet").store = Arc::clone(&store) as _;
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit().insert("2", "a").commit(), false);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    store.hook.0.store(true, Relaxed);
    rig.remote.release(1);
    run.await.expect_err("the first one cannot be settled");
    let mut recorded = rig.recorded();
    recorded.sort();
    assert_eq!(recorded, ["1 POST - interrupted", "1 POST 200 answered"]);
}
