//! What becomes of each row of a batch.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

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
