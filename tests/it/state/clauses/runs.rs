//! Bounded runs.

use crate::state::samples::{ask, counts, progress, settle_runs, through};
use rowcall::{
    model::{Lsn, RunEnd, RunId, RunKind, RunProgress, RunRequest, RunState},
    state::{Run, Settlement, StateStore},
};
use serde_json::{Value, json};

clauses! {
    async fn a_run_that_is_asked_for_is_begun_once_and_keeps_its_base(store: &dyn StateStore) {
        let exact: Value = serde_json::from_str(r#"{"where": "a\\b 'é'", "n": 12345678901234567890.10}"#).expect("JSON");
        let Value::Object(options) = exact else { panic!("an object") };
        let request = RunRequest { options, ..ask(RunKind::Snapshot, Some("loan")) };
        assert_eq!(runs(store).await, []);
        let first = store.ask_run(&request).await.expect("a run");
        let second = store.ask_run(&ask(RunKind::Replay, None)).await.expect("a run");
        assert!(first < second);
        let [loan, all] = &runs(store).await[..] else { panic!("both are open") };
        assert_eq!((loan.id, loan.kind, loan.entity.as_deref()), (first, RunKind::Snapshot, Some("loan")));
        assert_eq!((&loan.options, &*loan.origin, loan.state), (&request.options, "command", RunState::Requested));
        assert_eq!((loan.base, loan.started_at, &loan.cursor, loan.expected), (None, None, &None, None));
        assert_eq!((all.id, all.kind, &all.entity), (second, RunKind::Replay, &None));
        assert!(store.begin_run(first, Lsn::new(700)).await.expect("an answer"));
        assert!(!store.begin_run(first, Lsn::new(900)).await.expect("an answer"), "it runs already");
        assert!(!store.begin_run(RunId(99), Lsn::new(900)).await.expect("an answer"), "there is none");
        let begun = runs(store).await.remove(0);
        assert_eq!((begun.state, begun.base), (RunState::Running, Some(Lsn::new(700))));
        assert!(begun.started_at.is_some_and(|it| it >= begun.requested_at) && begun.finished_at.is_none());
    }

    async fn a_run_comes_on_by_what_is_settled(store: &dyn StateStore) {
        let one = store.ask_run(&ask(RunKind::Snapshot, Some("loan"))).await.expect("a run");
        let two = store.ask_run(&ask(RunKind::Prune, Some("loan"))).await.expect("a run");
        for id in [one, two] {
            assert!(store.begin_run(id, Lsn::new(700)).await.expect("an answer"));
        }
        let cursor = || Some(json!({ "after": ["7", null], "text": "\\u0000 é" }));
        let report = || Some(json!({ "found": { "missing": 1 } }));
        let first = RunProgress { cursor: cursor(), expected: Some(40), report: report(), ..progress(one, [10, 7, 2, 1]) };
        let settlement = Settlement { runs: vec![first, progress(two, [1, 0, 1, 0])], ..through(200) };
        store.settle(settlement).await.expect("a settlement");
        settle_runs(store, [progress(one, [5, 0, 5, 0])]).await;
        let [a, b] = &runs(store).await[..] else { panic!("both are open") };
        assert_eq!(a.counts, counts([15, 7, 7, 1]));
        assert_eq!((&a.cursor, a.expected, a.state), (&cursor(), Some(40), RunState::Running), "left as they were");
        assert_eq!((b.counts, &b.cursor, b.expected), (counts([1, 0, 1, 0]), &None, None));
        assert_eq!((&a.report, &b.report), (&report(), &None));
        let (cursor, report) = (Some(json!(9)), Some(json!(1)));
        let on = RunProgress { cursor, expected: Some(41), report, ..progress(one, [0; 4]) };
        settle_runs(store, [on, progress(RunId(99), [1; 4])]).await;
        let a = runs(store).await.remove(0);
        assert_eq!((a.cursor, a.expected, a.counts), (Some(json!(9)), Some(41), counts([15, 7, 7, 1])));
        assert_eq!(a.report, Some(json!(1)));
    }

    async fn a_run_that_is_over_does_not_come_back(store: &dyn StateStore) {
        for end in [RunEnd::Done, RunEnd::Failed("no such \0 column".to_owned())] {
            let id = store.ask_run(&ask(RunKind::Audit, Some("loan"))).await.expect("a run");
            assert!(store.begin_run(id, Lsn::new(700)).await.expect("an answer"));
            settle_runs(store, [RunProgress { end: Some(end), ..progress(id, [1, 1, 0, 0]) }]).await;
            assert_eq!(runs(store).await, []);
            settle_runs(store, [RunProgress { cursor: Some(json!(1)), ..progress(id, [1, 1, 0, 0]) }]).await;
            assert!(!store.begin_run(id, Lsn::new(900)).await.expect("an answer"));
            assert_eq!(runs(store).await, []);
        }
    }

    async fn it_is_known_whether_a_run_was_ever_asked_for(store: &dyn StateStore) {
        let asked = async |kind, entity, origin| store.was_asked(kind, entity, origin).await.expect("an answer");
        let initial = RunRequest { origin: "initial".into(), ..ask(RunKind::Snapshot, Some("loan")) };
        assert!(!asked(RunKind::Snapshot, Some("loan"), "initial").await);
        let id = store.ask_run(&initial).await.expect("a run");
        store.ask_run(&ask(RunKind::Replay, None)).await.expect("a run");
        settle_runs(store, [RunProgress { end: Some(RunEnd::Done), ..progress(id, [0; 4]) }]).await;
        assert!(asked(RunKind::Snapshot, Some("loan"), "initial").await, "although it is over");
        assert!(asked(RunKind::Replay, None, "command").await);
        assert!(!asked(RunKind::Snapshot, Some("loan"), "command").await);
        assert!(!asked(RunKind::Prune, Some("loan"), "initial").await);
        assert!(!asked(RunKind::Snapshot, None, "initial").await);
        assert!(!asked(RunKind::Replay, Some("loan"), "command").await);
    }
}

async fn runs(store: &dyn StateStore) -> Vec<Run> {
    store.runs().await.expect("the runs")
}
