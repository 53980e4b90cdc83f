use super::*;
use proptest::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_key_has_one_change_under_way_and_other_keys_do_not_wait_for_it() {
    let rig = Rig::new(FakeRemote::new().held());
    let stream = Stream::new().insert("1", "a").update("1", "b").insert("2", "a").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream, true);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), rig.remote.arrived(2)).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/2 a"]);
    rig.remote.release(10);
    run.await.expect("it runs");
    assert_eq!(rig.calls_of("1"), ["POST /create/1 a", "PATCH /update/1 b"]);
}

#[tokio::test(start_paused = true)]
async fn the_new_key_waits_for_the_old_ones_delete() {
    let rig = Rig::new(FakeRemote::new());
    rig.run(Stream::new().insert("old", "a").commit()).await;
    rig.remote.reply(status(503)).reply(status(503));
    let mut stream = Stream::new();
    stream.commit = 200;
    rig.run(stream.rename("old", "new", "b").commit()).await;
    let calls = rig.calls();
    assert_eq!(
        calls[1..],
        ["DELETE /delete/old"; 3]
            .map(String::from)
            .into_iter()
            .chain(["POST /create/new b".to_owned()])
            .collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_remote_never_has_more_calls_under_way_than_it_may() {
    let mut rig = Rig::new(FakeRemote::new().held());
    rig.governor = governor(3, None);
    let mut stream = Stream::new();
    for key in 0..10 {
        stream = stream.insert(&key.to_string(), "a");
    }
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(stream.commit(), true);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    for made in 3..=10 {
        meanwhile(run.as_mut(), rig.remote.arrived(made)).await;
        // Let everything that could run do so.
        assert!(futures_util::poll!(run.as_mut()).is_pending());
        assert_eq!(rig.calls().len(), made);
        rig.remote.release(1);
    }
    rig.remote.release(10);
    run.await.expect("it runs");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails in between, a key's calls are made in commit order, and its last state wins.
    #[test]
    fn calls_of_a_key_are_made_in_commit_order(
        changes in prop::collection::vec((0u8..4, 0u8..3), 1..40),
        failures in prop::collection::vec(any::<bool>(), 0..40),
        coalesce in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut rig = Rig::new(FakeRemote::new());
            rig.coalesce = coalesce;
            rig.attempts = 1_000;
            for fails in failures {
                rig.remote.reply(if fails { status(503) } else { status(200) });
            }
            let mut stream = Stream::new();
            let mut expected: BTreeMap<String, Option<String>> = BTreeMap::new();
            for (at, (key, size)) in changes.iter().enumerate() {
                let (key, v) = (key.to_string(), format!("{at:04}"));
                let present = expected.get(&key).is_some_and(Option::is_some);
                stream = match (present, size) {
                    (true, 0) => { expected.insert(key.clone(), None); stream.delete(&key) }
                    (true, _) => { expected.insert(key.clone(), Some(v.clone())); stream.update(&key, &v) }
                    (false, _) => { expected.insert(key.clone(), Some(v.clone())); stream.insert(&key, &v) }
                };
                if *size == 2 { stream = stream.commit(); }
            }
            rig.run(stream.commit()).await;
            for (key, last) in expected {
                let calls = rig.calls_of(&key);
                let values: Vec<&str> = calls.iter().filter_map(|it| it.split(' ').nth(2)).collect();
                prop_assert!(values.is_sorted(), "key {key}: {calls:?}");
                match last {
                    Some(v) => prop_assert!(calls.last().is_some_and(|it| it.ends_with(&v)), "{calls:?}"),
                    None => prop_assert!(calls.last().is_none_or(|it| it.starts_with("DELETE")), "{calls:?}"),
                }
            }
            prop_assert_eq!(rig.budget.used(), 0);
            Ok(())
        })?;
    }
}
