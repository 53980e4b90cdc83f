//! Changes that share a call: how they gather.

use super::*;
use crate::{
    routing::Batch as Sizes,
    synchronize::{Classes, Declaration, Sequences},
};
use serde_json::json;

mod again;
mod rows;

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
