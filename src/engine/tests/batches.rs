use super::*;
use crate::{
    routing::Batch as Sizes,
    synchronize::{Classes, Declaration, Sequences},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// `POST /put` with `[{id, v}]`, `POST /remove` with `[id]`; what is answered for a row is saved.
fn declared() -> Arc<dyn Synchronizer> {
    declared_as(json!({ "id": "{{ key }}", "v": "{{ row.v }}" }), None)
}

/// The same with something else for each row.
fn declared_as(each: Value, when: Option<&str>) -> Arc<dyn Synchronizer> {
    let each = json!({ "each": each });
    let sequences: Sequences = serde_json::from_value(json!({
        "upsert": [{
            "name": "put", "post": "/put", "body": each,
            "failed": "{{ answer.body[index].?error }}", "save": { "at": "{{ answer.body[index].at }}" },
        }],
        "delete": [{ "name": "remove", "post": "/remove", "body": { "each": "{{ key }}" } }],
    }))
    .expect("settings");
    let declaration = Declaration {
        entity: "t",
        sequences: &sequences,
        settings: &Value::Null,
        when,
        validate: &[],
        rules: &[],
        always: false,
        parents: Arc::default(),
        batched: true,
        at: crate::mapping::At::default(),
        columns: None,
        fetched: false,
    };
    Classes::standard().build(None, &declaration).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The `v`s of a call's rows, or the keys it removes.
pub(super) fn rows(call: &Call) -> Vec<String> {
    let body = call.body.bytes().expect("a body");
    let items: Vec<Value> = serde_json::from_slice(body).expect("a list");
    let text = |it: &Value| it.as_str().or_else(|| it["v"].as_str()).unwrap_or_default().to_owned();
    items.iter().map(text).collect()
}

/// Refuses a call with a row whose `v` begins with `poison`; says that one of `bad` failed.
pub(super) fn bank() -> FakeRemote {
    FakeRemote::answering(|call, _| Ok(answer(&rows(call))))
}

pub(super) fn answer(rows: &[String]) -> Answer {
    if rows.iter().any(|v| v.starts_with("poison")) {
        return Answer { status: 422, body: "there is poison in it".into(), ..Answer::default() };
    }
    let result = |(at, v): (usize, &String)| match v.starts_with("bad") {
        true => json!({ "error": format!("no {v}") }),
        false => json!({ "at": at }),
    };
    let results: Vec<Value> = rows.iter().enumerate().map(result).collect();
    Answer { status: 200, body: json!(results).to_string().into(), ..Answer::default() }
}

const WITHIN: Duration = Duration::from_millis(200);

pub(super) fn sizes(size: u32) -> Sizes {
    Sizes { size, within: Span(WITHIN), ..Sizes::default() }
}

fn batch(route: &mut Route, sizes: Sizes) {
    route.batch = Some(sizes);
    route.synchronizer = declared();
}

/// Lets the changes of a route share calls, at most so many each.
pub(super) fn batched(route: &mut Route, size: u32) {
    batch(route, sizes(size));
}

impl Rig {
    pub(super) fn batching(&self, sizes: Sizes) -> Engine {
        self.engine_with(|route| batch(route, sizes), Arc::new(NoRows))
    }

    async fn run_batches(&self, sizes: Sizes, stream: Stream) -> Lsn {
        let (_go, mut stop) = watch::channel(false);
        let mut source = self.source(stream, true);
        self.batching(sizes).run(&mut source, &mut stop).await.expect("it runs");
        *source.acknowledged.borrow()
    }

    /// `/put a b c`, in the order of arrival.
    fn batches(&self) -> Vec<String> {
        let line = |it: crate::remote::SeenCall| format!("{} {}", it.call.path, rows(&it.call).join(" "));
        self.remote.seen().into_iter().map(line).collect()
    }
}

pub(super) fn inserts(stream: Stream, keys: impl IntoIterator<Item = u32>) -> Stream {
    keys.into_iter().fold(stream, |stream, key| stream.insert(&key.to_string(), &format!("v{key}")))
}

#[tokio::test(start_paused = true)]
async fn changes_gather_until_a_batch_is_full_or_its_first_row_has_waited_long_enough() {
    let rig = Rig::new(bank());
    let begun = Instant::now();
    let end = rig.run_batches(sizes(3), inserts(Stream::new(), 1..=7).commit()).await;
    assert_eq!(end, Lsn::new(101));
    assert_eq!(rig.batches(), ["/put v1 v2 v3", "/put v4 v5 v6", "/put v7"]);
    let waited = begun.elapsed();
    assert!(waited >= WITHIN && waited < 2 * WITHIN, "{waited:?}");
    assert_eq!(rig.link("5").expect("a link").saved["at"], json!(1));
    assert_eq!(rig.budget.used(), 0, "everything is freed");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_is_sent_at_once() {
    let rig = Rig::new(bank());
    let begun = Instant::now();
    rig.run_batches(sizes(3), inserts(Stream::new(), 1..=6).commit()).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(rig.batches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_does_not_grow_beyond_its_bytes_and_a_long_row_goes_by_itself() {
    let rig = Rig::new(bank());
    let limits = Sizes { bytes: crate::model::ByteSize(1_024), ..sizes(100) };
    let long = "x".repeat(400);
    let stream = (1..=4).fold(Stream::new(), |stream, key| stream.insert(&key.to_string(), &long));
    let endless = "y".repeat(5_000);
    rig.run_batches(limits, stream.insert("5", &endless).commit()).await;
    let counts: Vec<usize> = rig.batches().iter().map(|it| it.split(' ').count() - 1).collect();
    assert_eq!(counts, [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_in_one_batch_at_a_time_and_its_changes_keep_their_order() {
    let rig = Rig::new(bank());
    let stream = Stream::new().insert("1", "a").update("1", "b").insert("2", "x").delete("1").commit();
    rig.run_batches(sizes(10), stream).await;
    assert_eq!(rig.batches(), ["/put a x", "/put b", "/remove 1"]);
    assert!(rig.link("1").expect("a tombstone").gone);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_batch_merges() {
    let rig = Rig { coalesce: true, ..Rig::new(bank()) };
    let engine = rig.batching(sizes(1));
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new(), true);
    let mut later = Stream::new().insert("1", "a").commit();
    source.batches = VecDeque::from([std::mem::take(&mut later.batch)]);
    let later = later.update("1", "b").update("1", "c").commit();
    source.batches.push_back(later.batch);
    engine.run(&mut source, &mut stop).await.expect("it runs");
    assert_eq!(rig.batches().last().map(String::as_str), Some("/put c"));
    assert!(!rig.batches().contains(&"/put b".to_owned()), "{:?}", rig.batches());
}

#[tokio::test(start_paused = true)]
async fn each_row_has_a_result_of_its_own() {
    let rig = Rig::new(bank());
    let stream = inserts(Stream::new(), [1]).insert("2", "bad2").insert("3", "v3").commit();
    assert_eq!(rig.run_batches(sizes(3), stream).await, Lsn::new(101));
    assert_eq!(rig.parked(), [("2".to_owned(), 100, ParkedState::Rejected, ParkReason::Refused)]);
    let (_, _, parked) = rig.store.parked().remove(0);
    assert_eq!(parked.message, "step `put` was answered with 200, but not for this row: no bad2");
    assert_eq!((parked.attempts, parked.answers.len()), (1, 0));
    assert_eq!(rig.link("3").expect("a link").saved["at"], json!(2), "its own place, not its neighbour's");
    assert_eq!(rig.batches().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_not_wanted_or_cannot_be_written_concerns_no_other() {
    let rig = Rig::new(bank());
    let each = json!({ "id": "{{ key }}", "v": "{{ string(int(row.v)) }}" });
    let batched = |route: &mut Route| {
        route.batch = Some(sizes(2));
        route.synchronizer = declared_as(each, Some("{{ row.v != 'unwanted' }}"));
    };
    let engine = rig.engine_with(batched, Arc::new(NoRows));
    let stream = Stream::new().insert("1", "11").insert("2", "unwanted").insert("3", "no number");
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream.insert("4", "44").commit(), true);
    engine.run(&mut source, &mut stop).await.expect("it runs");
    assert_eq!(rig.batches(), ["/put 11 44"], "they take no place in the batch either");
    assert_eq!(rig.link("2"), None);
    assert_eq!(rig.parked(), [("3".to_owned(), 100, ParkedState::Rejected, ParkReason::Template)]);
}

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
async fn a_batch_whose_attempts_are_used_up_is_parked_row_by_row() {
    let rig = Rig::new(bank());
    rig.remote.reply(status(503)).reply(status(503)).reply(status(503));
    rig.run_batches(sizes(2), inserts(Stream::new(), 1..=2).commit()).await;
    let dead = |key: &str| (key.to_owned(), 100, ParkedState::Dead, ParkReason::Refused);
    assert_eq!(rig.parked(), [dead("1"), dead("2")]);
    assert!(rig.store.parked()[0].2.message.ends_with("(in one call with 1 other rows)"));
    assert_eq!(rig.remote.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_about_the_caller_is_not_asked_again_in_halves() {
    for code in [401, 403, 302] {
        let rig = Rig::new(bank());
        rig.remote.reply(status(code));
        rig.run_batches(sizes(8), inserts(Stream::new(), 1..=8).commit()).await;
        assert_eq!((rig.remote.seen().len(), rig.parked().len()), (1, 8), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_slot_of_the_remote_carries_a_whole_batch() {
    let rig = Rig { governor: governor(1, None), ..Rig::new(bank().held()) };
    let stream = inserts(Stream::new(), 1..=4).commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    let run = rig.batching(sizes(2)).run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    assert!(futures_util::poll!(run.as_mut()).is_pending());
    assert_eq!(rig.batches(), ["/put v1 v2"]);
    rig.remote.release(2);
    run.await.expect("it runs");
    assert_eq!(rig.batches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_batch_under_way_and_leaves_the_one_that_gathers() {
    let rig = Rig::new(bank().held());
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(inserts(Stream::new(), 1..=3).commit(), false);
    let acknowledged = source.acknowledged.subscribe();
    let run = rig.batching(sizes(2)).run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    go.send_replace(true);
    assert!(futures_util::poll!(run.as_mut()).is_pending(), "it waits for the answer");
    rig.remote.release(1);
    run.await.expect("it stops");
    assert_eq!(rig.batches(), ["/put v1 v2"]);
    assert!(rig.link("1").is_some() && rig.link("2").is_some());
    assert_eq!((rig.link("3"), rig.parked()), (None, vec![]), "it comes again");
    assert_eq!(*acknowledged.borrow(), Lsn::ZERO);
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
async fn a_row_that_says_nothing_new_takes_no_part_and_one_that_failed_is_not_taken_for_told() {
    let rig = Rig::new(bank());
    rig.run_batches(sizes(2), inserts(Stream::new(), 1..=2).commit()).await;
    let mut stream = Stream::new();
    stream.commit = 200;
    // Back to what it was last told, after something that was sent and failed.
    rig.run_batches(sizes(2), stream.insert("1", "v1").insert("2", "bad").commit()).await;
    assert_eq!(rig.batches(), ["/put v1 v2", "/put bad"]);
    assert!(rig.link("1").expect("a link").content.is_some());
    assert!(rig.link("2").expect("a link").content.is_none(), "who knows what it has now");
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

/// Writes no call with a row whose `v` is `panic`.
struct Fragile(Arc<dyn Synchronizer>);

impl Synchronizer for Fragile {
    fn next_step(&self, work: &synchronize::Work<'_>, answers: &[crate::model::Answered]) -> Step {
        self.0.next_step(work, answers)
    }

    fn batching(&self) -> Option<&dyn synchronize::Batching> {
        Some(self)
    }
}

impl synchronize::Batching for Fragile {
    fn kind(&self, work: &synchronize::Work<'_>) -> usize {
        self.0.batching().expect("it batches").kind(work)
    }

    fn call(&self, works: &[synchronize::Work<'_>]) -> Result<Call, synchronize::Rejection> {
        let v = |work: &synchronize::Work<'_>| match work.change.image.row().and_then(|row| row.get("v")) {
            Some(Cell::Text(v)) => v == "panic",
            _ => false,
        };
        assert!(!works.iter().any(v), "a bug");
        self.0.batching().expect("it batches").call(works)
    }

    fn results(&self, works: &[synchronize::Work<'_>], answer: &Answer) -> synchronize::Results {
        self.0.batching().expect("it batches").results(works, answer)
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_row_parks_that_row_and_no_other() {
    let rig = Rig::new(bank());
    let fragile = |route: &mut Route| {
        batch(route, sizes(4));
        route.synchronizer = Arc::new(Fragile(declared()));
    };
    let (_go, mut stop) = watch::channel(false);
    let stream = inserts(Stream::new(), 1..=3).insert("4", "panic").commit();
    let mut source = rig.source(stream, true);
    rig.engine_with(fragile, Arc::new(NoRows)).run(&mut source, &mut stop).await.expect("it runs");
    assert_eq!(rig.parked(), [("4".to_owned(), 100, ParkedState::Rejected, ParkReason::Template)]);
    assert_eq!(rig.batches(), ["/put v1 v2", "/put v3"]);
}

/// What is in a batch merges no more, so no more is gathered than the remote can soon take.
#[tokio::test(start_paused = true)]
async fn only_a_few_batches_are_gathered_ahead_of_a_remote_that_is_busy() {
    let rig = Rig { coalesce: true, governor: governor(1, None), ..Rig::new(bank().held()) };
    let (_go, mut stop) = watch::channel(false);
    let mut stream = inserts(Stream::new(), 1..=20).commit();
    let mut source = rig.source(Stream::new(), true);
    source.batches = VecDeque::from([std::mem::take(&mut stream.batch)]);
    let later = (1..=20).fold(stream, |stream, key| stream.update(&key.to_string(), &format!("w{key}")));
    source.batches.push_back(later.commit().batch);
    let run = rig.batching(sizes(1)).run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(1)).await;
    for _ in 0..100 {
        assert!(futures_util::poll!(run.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    rig.remote.release(100);
    run.await.expect("it runs");
    let batches = rig.batches();
    assert!(batches.len() < 30, "the others merged: {batches:?}");
    assert!((1..=20).all(|key| batches.contains(&format!("/put w{key}"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever rows are poison and whatever calls fail in between: exactly those are parked, and
    /// every other one is applied once.
    #[test]
    fn every_poison_row_is_found_and_no_other_is_parked(
        poison in prop::collection::vec(prop::bool::weighted(0.2), 1..60),
        size in 1_u32..70,
        failures in prop::collection::vec(any::<bool>(), 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
            let took = Arc::clone(&taken);
            let remote = FakeRemote::answering(move |call, _| {
                let rows = rows(call);
                let answer = answer(&rows);
                if answer.status == 200 {
                    took.lock().expect("no panic").extend(rows);
                }
                Ok(answer)
            });
            let rig = Rig { attempts: 1_000, ..Rig::new(remote) };
            for _ in failures.into_iter().filter(|fails| *fails) {
                rig.remote.reply(status(503));
            }
            let mut stream = Stream::new();
            for (key, poison) in poison.iter().enumerate() {
                let v = if *poison { format!("poison{key}") } else { format!("v{key}") };
                stream = stream.insert(&key.to_string(), &v);
            }
            rig.run_batches(sizes(size), stream.commit()).await;
            let parked: BTreeSet<String> = rig.parked().into_iter().map(|it| it.0).collect();
            let expected = poison.iter().enumerate().filter(|(_, it)| **it).map(|(key, _)| key.to_string());
            prop_assert_eq!(parked, expected.collect::<BTreeSet<_>>());
            let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for seen in rig.remote.seen() {
                let rows = rows(&seen.call);
                let before = keys.insert(seen.key.to_string(), rows.clone());
                prop_assert!(before.is_none_or(|it| it == rows), "one key, one body");
            }
            let taken = taken.lock().expect("no panic").clone();
            for (key, poison) in poison.iter().enumerate() {
                prop_assert_eq!(rig.link(&key.to_string()).is_some(), !poison);
                let v = format!("v{key}");
                prop_assert_eq!(taken.iter().filter(|it| **it == v).count(), usize::from(!poison));
            }
            prop_assert_eq!(rig.budget.used(), 0);
            Ok(())
        })?;
    }
}
