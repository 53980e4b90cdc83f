//! What is known of keys, the checkpoint, and what is owed to rows.

use crate::state::samples::{
    at, begin, customer, deleting, id, link, linked, parking, recall, through, time,
};
use rowcall::{
    model::{ContentHash, Link, Lsn, ParkedState, RunId},
    state::{
        Binding, Checkpoint, Hold, KeyHash, Known, Owes, Owing, Repaid, RouteCounts, RouteKey, Settlement,
        StateStore,
    },
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

clauses! {
    async fn what_is_bound_is_the_checkpoint_even_if_it_is_older(store: &dyn StateStore) {
        assert_eq!(store.checkpoint().await.expect("a checkpoint"), Some(begin()));
        store.settle(through(500)).await.expect("a settlement");
        let binding = Binding { system_id: "8".to_owned(), timeline: 2, slot: "other".to_owned() };
        let again = Checkpoint { binding, lsn: Lsn::new(7), committed_at: Some(time(3)) };
        store.bind(&again).await.expect("to bind");
        assert_eq!(store.checkpoint().await.expect("a checkpoint"), Some(again));
    }

    async fn a_checkpoint_never_goes_back_by_settling(store: &dyn StateStore) {
        let mut reached = Vec::new();
        for (lsn, at) in [(Some(200), Some(2)), (Some(150), Some(1)), (None, None), (Some(300), None)] {
            let settlement =
                Settlement { through: lsn.map(Lsn::new), committed_at: at.map(time), ..Settlement::default() };
            let saved = store.settle(settlement).await.expect("a settlement").saved;
            let kept = store.checkpoint().await.expect("a checkpoint").expect("it is bound");
            assert_eq!((kept.binding, kept.lsn), (begin().binding, saved.through()));
            reached.push((saved.through().raw(), kept.committed_at));
        }
        let time = Some(time(2));
        assert_eq!(reached, [(200, time), (200, time), (200, time), (300, time)]);
    }

    async fn keys_are_recalled_in_the_order_asked(store: &dyn StateStore) {
        let keys = ["2", "10", "a,b", "a\\,b", "é 'quoted' \"", "", "1"];
        let links = keys.iter().map(|key| (at(key), link(json!({ "of": key }), 5))).collect();
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        let other = RouteKey { route: "other".into(), key: "2".into() };
        let asked = [at("1"), at("unknown"), at("a\\,b"), other, at(""), at("é 'quoted' \""), at("2"), at("1")];
        let known = store.recall(&asked).await.expect("an answer");
        let of = |known: &Known| known.link.as_ref().map(|link| link.saved["of"].clone());
        let expected = [Some("1"), None, Some("a\\,b"), None, Some(""), Some("é 'quoted' \""), Some("2"), Some("1")];
        assert_eq!(known.iter().map(of).collect::<Vec<_>>(), expected.map(|it| it.map(Value::from)));
        assert!(known.iter().all(|known| known.hold == Hold::Free));
        assert!(store.recall(&[]).await.expect("an answer").is_empty());
    }

    async fn what_has_a_link_or_is_parked_is_told_from_most_others(store: &dyn StateStore) {
        let links = (0..200).map(|key| (at(&format!("linked-{key}")), link(json!({}), 5))).collect();
        let parkings = (0..200).map(|key| parking(&format!("parked-{key}"), 7, ParkedState::Dead)).collect();
        store.settle(Settlement { links, parkings, ..Settlement::default() }).await.expect("a settlement");
        let filter = store.key_filter().await.expect("an answer").expect("a filter");
        let knows = |at: &RouteKey| filter.may_know(KeyHash::new(&at.route, &at.key));
        for key in 0..200 {
            assert!(knows(&at(&format!("linked-{key}"))) && knows(&at(&format!("parked-{key}"))), "{key}");
        }
        let strangers = (0..1_000).filter(|key| knows(&at(&format!("other-{key}")))).count();
        assert!(strangers < 100, "{strangers} of 1,000");
    }

    async fn a_link_is_what_was_settled_last_to_the_last_digit(store: &dyn StateStore) {
        let saved = r#"{"id": 12345678901234567890.10, "list": [1, null, "é"], "text": "a\\b\n\\u0000"}"#;
        let first: Value = serde_json::from_str(saved).expect("JSON");
        store.settle(linked("1", first.clone(), 5)).await.expect("a settlement");
        let mut known = recall(store, "1").await.link.expect("a link");
        assert_eq!((Value::Object(known.saved), known.change, known.gone), (first, id(5), false));
        store.settle(linked("1", json!({}), 9)).await.expect("a settlement");
        known = recall(store, "1").await.link.expect("a link");
        assert_eq!((known.saved.len(), known.change), (0, id(9)), "replaced, not merged");
    }

    async fn what_the_remote_was_told_is_kept_with_the_link_until_it_is_bound_again(store: &dyn StateStore) {
        let counts = vec![("loan".into(), RouteCounts { applied: 1, ..RouteCounts::default() })];
        store.settle(Settlement { counts, ..Settlement::default() }).await.expect("a settlement");
        for content in [Some(ContentHash(0)), None, Some(ContentHash(u64::MAX)), Some(ContentHash(1 << 63))] {
            let link = Link { change: id(5), content, ..Link::default() };
            let links = vec![(at("1"), Arc::new(link))];
            store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
            assert_eq!(recall(store, "1").await.link.expect("a link").content, content);
        }
        store.bind(&begin()).await.expect("to bind");
        let link = recall(store, "1").await.link.expect("a link");
        assert_eq!((link.change, link.content), (id(5), None), "changes that were sent may be given up by this");
    }

    async fn what_is_owed_to_a_row_stays_until_it_is_written(store: &dyn StateStore) {
        let owe = |key: &str, values: Value, transaction| {
            let Value::Object(values) = values else { panic!("an object") };
            let owing = Owing { at: at(key), values, transaction };
            let write_backs = vec![Owes { owing, change: id(5), anew: false }];
            Settlement { write_backs, ..Settlement::default() }
        };
        let owed = async || store.owed(10).await.expect("what is owed");
        assert_eq!(owed().await, []);
        let exact: Value = serde_json::from_str(r#"{"a": 12345678901234567890.10, "b": null}"#).expect("JSON");
        store.settle(owe("1", exact, Some(u32::MAX))).await.expect("a settlement");
        store.settle(owe("2", json!({ "a": "é" }), None)).await.expect("a settlement");
        assert_eq!(store.owed(1).await.expect("what is owed").len(), 1);
        let first = owed().await;
        assert_eq!(first.len(), 2);
        let one = first.iter().find(|it| &*it.owing.at.key == "1").expect("it is owed");
        assert_eq!((one.owing.transaction, one.attempts), (Some(u32::MAX), 0));
        // Said anew while it is being written: what it does not say is still owed.
        store.settle(owe("1", json!({ "b": 2 }), None)).await.expect("a settlement");
        let ended: Vec<_> = first.iter().map(|it| (it.clone(), Repaid::Done)).collect();
        store.repaid(&ended).await.expect("to remember");
        let again = owed().await;
        let values: Value = serde_json::from_str(r#"{"a": 12345678901234567890.10, "b": 2}"#).expect("JSON");
        assert_eq!(again.iter().map(|it| Value::Object(it.owing.values.clone())).collect::<Vec<_>>(), [values]);
        // In vain: it is owed still, and not due.
        let failed = Repaid::Failed { again_in: Duration::from_secs(3_600), error: "no".to_owned() };
        store.repaid(&[(again[0].clone(), failed)]).await.expect("to remember");
        assert_eq!(owed().await, []);
        store.settle(owe("1", json!({ "c": 3 }), None)).await.expect("a settlement");
        let due = owed().await;
        assert_eq!((due[0].owing.values.len(), due[0].attempts), (3, 0));
        store.repaid(&[(due[0].clone(), Repaid::Done)]).await.expect("to remember");
        assert_eq!(owed().await, []);
    }

    async fn a_row_that_was_deleted_is_owed_nothing_that_was_brought_before(store: &dyn StateStore) {
        let owed = async || -> Vec<(String, Value)> {
            let owed = store.owed(10).await.expect("what is owed");
            let mut owed: Vec<_> =
                owed.into_iter().map(|it| (it.owing.at.key.to_string(), Value::Object(it.owing.values))).collect();
            owed.sort_by(|a, b| a.0.cmp(&b.0));
            owed
        };
        store.settle(owes([("1", 5, json!({ "a": 1, "b": 1 }), false), ("2", 5, json!({ "a": 2 }), false)])).await
            .expect("a settlement");
        store.settle(owes([("1", 6, json!({}), true)])).await.expect("a settlement");
        assert_eq!(owed().await, [("2".to_owned(), json!({ "a": 2 }))]);
        // Inserted again in the same breath: nothing of the former one is left.
        store.settle(owes([("2", 7, json!({ "b": 9 }), true)])).await.expect("a settlement");
        assert_eq!(owed().await, [("2".to_owned(), json!({ "b": 9 }))]);
        // The delete is parked, and older changes end behind it.
        let parkings = vec![deleting(parking("1", 9, ParkedState::Queued))];
        store.settle(Settlement { parkings, ..owes([("1", 8, json!({ "a": 1 }), false)]) }).await.expect("a settlement");
        store.settle(owes([("1", 8, json!({ "a": 1 }), false)])).await.expect("a settlement");
        assert_eq!(owed().await.len(), 1);
        store.settle(owes([("1", 10, json!({ "a": 3 }), false)])).await.expect("a settlement");
        assert_eq!(owed().await[0], ("1".to_owned(), json!({ "a": 3 })), "that is the row which came after");
        // A truncate is about every row of its route, now and while it is parked.
        let other = RouteKey { route: "other".into(), key: "1".into() };
        let mut more = owes([("", 20, json!({}), true), ("1", 20, json!({ "a": 1 }), false)]);
        more.write_backs[1].owing.at = other.clone();
        more.parkings = vec![deleting(parking("", 20, ParkedState::Rejected))];
        store.settle(more).await.expect("a settlement");
        store.settle(owes([("2", 19, json!({ "a": 1 }), false)])).await.expect("a settlement");
        let left = store.owed(10).await.expect("what is owed");
        assert_eq!(left.iter().map(|it| &it.owing.at).collect::<Vec<_>>(), [&other]);
    }

    async fn the_ids_of_another_databases_transactions_are_forgotten(store: &dyn StateStore) {
        let mut owed = owes([("1", 5, json!({ "a": 1 }), false)]);
        owed.write_backs[0].owing.transaction = Some(7);
        store.settle(owed).await.expect("a settlement");
        let transaction = async || store.owed(10).await.expect("what is owed")[0].owing.transaction;
        store.bind(&begin()).await.expect("to bind");
        assert_eq!(transaction().await, Some(7), "the same database");
        let binding = Binding { system_id: "8".to_owned(), ..begin().binding };
        store.bind(&Checkpoint { binding, ..begin() }).await.expect("to bind");
        assert_eq!(transaction().await, None);
    }

    async fn a_deleted_key_is_remembered_as_gone(store: &dyn StateStore) {
        store.settle(linked("1", json!({ "id": 1 }), 5)).await.expect("a settlement");
        let gone =
            Link { change: id(9), gone: true, replayed: Some(RunId(3).anew(id(8))), ..Link::default() };
        let links = vec![(at("1"), Arc::new(gone.clone()))];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(recall(store, "1").await.link, Some(gone));
    }

    async fn links_are_counted_by_route_without_those_that_are_gone(store: &dyn StateStore) {
        assert_eq!(store.linked("loan").await.expect("a count"), 0);
        let gone = Arc::new(Link { gone: true, ..Link::default() });
        let other = RouteKey { route: "other".into(), key: "1".into() };
        let links = vec![
            (at("1"), link(json!({}), 5)), (at("2"), link(json!({}), 5)), (at("3"), gone), (other, link(json!({}), 5)),
        ];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(store.linked("loan").await.expect("a count"), 2);
    }

    async fn linked_keys_come_page_by_page_in_the_order_of_their_bytes(store: &dyn StateStore) {
        // No language has all of these in this order.
        let keys = ["", "1", "10", "2", "A", "B", "Z", "a", "a,b", "a\\,b", "b", "z", "É", "é", "\u{10ffff}"];
        let mut links: Vec<_> = keys.iter().map(|key| (at(key), link(json!({}), 5))).collect();
        links.push((at("aa"), Arc::new(Link { gone: true, change: id(5), ..Link::default() })));
        links.push((customer("1"), link(json!({}), 5)));
        links.reverse();
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        for limit in [1, 2, 4, 100] {
            let mut found: Vec<Arc<str>> = Vec::new();
            loop {
                let page = store.linked_keys("loan", found.last().map(|it| &**it), limit).await.expect("a page");
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found.iter().map(|it| &**it).collect::<Vec<_>>(), keys);
        }
        assert_eq!(store.linked_keys("loan", Some("Aaa"), 1).await.expect("a page"), ["B".into()]);
        assert!(store.linked_keys("nothing", None, 9).await.expect("a page").is_empty());
    }
}

/// What these changes leave to be written: key, position, values, and whether the row was deleted.
fn owes<const N: usize>(all: [(&str, u64, Value, bool); N]) -> Settlement {
    let owes = |(key, lsn, values, anew)| {
        let Value::Object(values) = values else { panic!("an object") };
        Owes { owing: Owing { at: at(key), values, transaction: None }, change: id(lsn), anew }
    };
    Settlement { write_backs: all.map(owes).into(), ..Settlement::default() }
}
