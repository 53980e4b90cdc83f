//! The clauses of the port. Each is given a store that is bound and has nothing else in it.

use crate::harness::{Postgres, each_version};
use bytes::Bytes;
use rowcall::{
    model::{
        Answer, Answered, Cell, Change, ChangeId, Column, ContentHash, Image, Link, Lsn, ParkReason, Parked,
        ParkedState, Row, RowBuilder, RunCounts, RunEnd, RunId, RunKind, RunProgress, RunRequest, RunState,
        Table, TableId, Type,
    },
    postgres::Target,
    state::{
        Binding, Checkpoint, Hold, Known, MemoryStore, Owes, Owing, Parking, RELEASED_AT_ONCE, Repaid,
        RouteCounts, RouteKey, Run, Settlement, StateStore, Wanted,
        postgres::{Lease, PostgresStore, migrate},
    },
};
use serde_json::{Map, Value, json};
use std::{pin::Pin, sync::Arc, time::Duration};

type Clause = for<'a> fn(&'a dyn StateStore) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! clauses {
    ($(async fn $name:ident($store:ident: &dyn StateStore) $body:block)+) => {
        $(async fn $name($store: &dyn StateStore) $body)+

        const CLAUSES: &[(&str, Clause)] = &[$((stringify!($name), |store| Box::pin($name(store)))),+];

        mod memory {
            $(#[tokio::test]
            async fn $name() {
                let store = super::MemoryStore::default();
                super::bound(&store).await;
                super::$name(&store).await;
            })+
        }
    };
}

each_version! {
    async fn the_postgres_store_keeps_every_clause(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create database ready").await;
        let ready: Target = postgres.url_of("ready").parse().expect("a URL");
        migrate(&mut rowcall::postgres::connect(&ready).await.expect("a connection")).await.expect("the schema");
        for (number, (name, clause)) in CLAUSES.iter().enumerate() {
            eprintln!("clause: {name}");
            postgres.execute(&format!("create database c{number} template ready")).await;
            let store = open(&postgres.url_of(&format!("c{number}"))).await;
            bound(&store).await;
            clause(&store).await;
        }
    }
}

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
        let gone = Link { change: id(9), gone: true, ..Link::default() };
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

    async fn a_parked_change_holds_its_key_until_it_has_ended(store: &dyn StateStore) {
        let settled = store.settle(parked([parking("1", 5, ParkedState::Rejected)])).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Held)]);
        assert_eq!([recall(store, "1").await.hold, recall(store, "2").await.hold], [Hold::Held, Hold::Free]);
        // Its link may be written in the same breath.
        let links = vec![(at("1"), link(json!({}), 5)), (at("2"), link(json!({}), 6))];
        let resolved = Settlement { resolved: vec![(at("1"), id(5))], links, ..Settlement::default() };
        let settled = store.settle(resolved).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Free)], "a key without parked changes is not mentioned");
        let known = recall(store, "1").await;
        assert!(known.hold == Hold::Free && known.link.is_some());
    }

    async fn what_is_due_comes_back_whole(store: &dyn StateStore) {
        let old = row("1", Cell::Text("before \" \\ é"));
        let image = Image::Update { old: Some(old), new: row("1", Cell::Unchanged) };
        let change = Arc::new(Change { image, ..change(5) });
        let body = Bytes::from_static(b"{\"nul\": \"\\u0000\", \"text\": \"\\\\u0000\"}");
        let headers = vec![("etag".to_owned(), "7".to_owned())];
        let answers: Vec<Answered> = [body, Bytes::from_static(b"\xff\0"), Bytes::new()].into_iter().enumerate()
            .map(|(number, body)| {
                let answer = Answer { status: 201, headers: headers.clone(), body };
                Answered { step: format!("item[{number}]").into(), answer }
            }).collect();
        let mut it = parking("1", 5, ParkedState::Retrying);
        it.parked.answers = answers.clone();
        it.parked.called = id(3);
        it.change = Arc::clone(&change);
        store.settle(parked([it])).await.expect("a settlement");
        let due = store.due(&due_of_all(10)).await.expect("what is due").pop().expect("one");
        assert_eq!((due.at, due.answers, due.called), (at("1"), answers, id(3)));
        assert_eq!((due.change.id, due.change.committed_at), (change.id, change.committed_at));
        assert_eq!((&due.change.table.name, &due.change.table.columns), (&change.table.name, &change.table.columns));
        assert_eq!(due.change.image, change.image);
    }

    async fn a_redelivered_parked_change_stays_as_it_is(store: &dyn StateStore) {
        let mut first = parking("1", 5, ParkedState::Retrying);
        first.parked.called = id(3);
        store.settle(parked([first])).await.expect("a settlement");
        let settled = store.settle(parked([parking("1", 5, ParkedState::Rejected)])).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Held)]);
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
        assert_eq!(store.due(&due_of_all(1)).await.expect("what is due")[0].called, id(3));
    }

    async fn what_is_sent_again_stays_so_and_the_oldest_of_a_key_is_told(store: &dyn StateStore) {
        let again = |lsn, state| Parking { replayed: Some(Lsn::new(50)), ..parking("1", lsn, state) };
        let settled = store.settle(parked([again(5, ParkedState::Retrying)])).await.expect("a settlement");
        assert_eq!(settled.oldest, [(at("1"), id(5))]);
        let settled = store.settle(parked([parking("1", 60, ParkedState::Queued)])).await.expect("a settlement");
        assert_eq!(settled.oldest, [(at("1"), id(5))]);
        assert_eq!(recall(store, "1").await.oldest, Some(id(5)));
        assert_eq!(store.due(&due_of_all(9)).await.expect("what is due")[0].replayed, Some(Lsn::new(50)));
        let ended = Settlement { resolved: vec![(at("1"), id(5))], ..Settlement::default() };
        assert_eq!(store.settle(ended).await.expect("a settlement").oldest, [(at("1"), id(60))]);
        assert_eq!(store.due(&due_of_all(9)).await.expect("what is due")[0].replayed, None);
        let ended = Settlement { resolved: vec![(at("1"), id(60))], ..Settlement::default() };
        assert_eq!(store.settle(ended).await.expect("a settlement").oldest, []);
        assert_eq!(recall(store, "1").await.oldest, None);
    }

    async fn the_end_of_a_retry_replaces_what_was_parked(store: &dyn StateStore) {
        store.settle(parked([parking("1", 5, ParkedState::Retrying)])).await.expect("a settlement");
        let ended = |state| Parking { again: true, ..parking("1", 5, state) };
        store.settle(parked([ended(ParkedState::Dead)])).await.expect("a settlement");
        assert!(due(store).await.is_empty() && recall(store, "1").await.hold == Hold::Held);
        store.settle(parked([ended(ParkedState::Retrying)])).await.expect("a settlement");
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
    }

    async fn a_retry_that_ends_after_its_change_was_discarded_does_not_bring_it_back(store: &dyn StateStore) {
        let ended = Parking { again: true, ..parking("1", 5, ParkedState::Dead) };
        let settled = store.settle(parked([ended])).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Free)]);
        assert_eq!(recall(store, "1").await.hold, Hold::Free);
    }

    async fn only_what_is_retrying_and_the_oldest_of_its_key_is_due(store: &dyn StateStore) {
        use ParkedState::{Dead, Queued, Rejected, Retrying, Waiting};
        let all = [
            parking("1", 5, Retrying), parking("1", 6, Retrying), parking("2", 5, Rejected), parking("2", 6, Queued),
            parking("3", 5, Dead), parking("3", 7, Retrying), parking("4", 8, Retrying),
            parking("5", 8, Waiting), parking("5", 9, Retrying),
        ];
        store.settle(parked(all)).await.expect("a settlement");
        let mut keys = due(store).await;
        keys.sort();
        assert_eq!(keys, [("1".to_owned(), 5), ("4".to_owned(), 8)]);
        assert_eq!(store.due(&due_of_all(1)).await.expect("what is due").len(), 1, "no more than asked for");
    }

    async fn a_queued_change_that_has_become_the_oldest_is_due(store: &dyn StateStore) {
        use ParkedState::{Queued, Rejected};
        let all = [parking("1", 5, Rejected), parking("1", 6, Queued), parking("1", 7, Queued)];
        store.settle(parked(all)).await.expect("a settlement");
        assert!(due(store).await.is_empty());
        for next in [6, 7] {
            let resolved = vec![(at("1"), id(next - 1))];
            let settled = store.settle(Settlement { resolved, ..Settlement::default() }).await.expect("a settlement");
            assert_eq!(settled.held, [(at("1"), Hold::Held)]);
            assert_eq!(due(store).await, [("1".to_owned(), next)]);
        }
        // The one before it was discarded just before it was parked itself.
        store.settle(parked([parking("2", 9, Queued)])).await.expect("a settlement");
        assert_eq!(due(store).await.len(), 2);
    }

    async fn what_gave_up_and_lets_pass_holds_its_key_no_more(store: &dyn StateStore) {
        use ParkedState::{Dead, Queued, Retrying};
        let passes = |state| Parking { lets_pass: true, ..parking("1", 5, state) };
        let settled = store.settle(parked([passes(Retrying), parking("1", 6, Queued)])).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Held)], "it has not given up yet");
        let again = Parking { again: true, ..passes(Dead) };
        let settled = store.settle(parked([again])).await.expect("a settlement");
        assert_eq!((settled.held, due(store).await), (vec![(at("1"), Hold::Held)], vec![("1".to_owned(), 6)]));
        let resolved = Settlement { resolved: vec![(at("1"), id(6))], ..Settlement::default() };
        assert_eq!(store.settle(resolved).await.expect("a settlement").held, [(at("1"), Hold::Passing)]);
        assert_eq!(recall(store, "1").await.hold, Hold::Passing);
    }

    async fn queued_changes_merge_and_what_they_absorbed_is_known_again(store: &dyn StateStore) {
        use ParkedState::{Queued, Retrying};
        let merging = |lsn, notes| {
            let new = row("1", notes);
            let image = Image::Update { old: None, new };
            let change = Arc::new(Change { image, ..change(lsn) });
            Parking { merges: true, change, ..parking("1", lsn, Queued) }
        };
        let first = [parking("1", 5, Retrying), merging(6, Cell::Text("known")), merging(7, Cell::Unchanged)];
        store.settle(parked(first)).await.expect("a settlement");
        store.settle(parked([merging(8, Cell::Unchanged)])).await.expect("a settlement");
        // Redelivered, after a crash.
        let again = |lsn| Parking { merges: false, ..merging(lsn, Cell::Null) };
        store.settle(parked([again(6), again(7), again(8)])).await.expect("a settlement");
        let resolved = |lsn| Settlement { resolved: vec![(at("1"), id(lsn))], ..Settlement::default() };
        store.settle(resolved(5)).await.expect("a settlement");
        let due = store.due(&due_of_all(9)).await.expect("what is due");
        let seen: Vec<_> = due.iter().map(|it| (it.change.id, it.called, it.change.image.row())).collect();
        assert_eq!(seen, [(id(8), id(6), Some(&row("1", Cell::Text("known"))))]);
        // It may have been sent by now.
        store.settle(parked([merging(9, Cell::Null)])).await.expect("a settlement");
        let settled = store.settle(resolved(8)).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Held)]);
        let settled = store.settle(resolved(9)).await.expect("a settlement");
        assert_eq!(settled.held, [(at("1"), Hold::Free)]);
    }

    async fn what_is_due_comes_page_by_page_and_within_its_bytes(store: &dyn StateStore) {
        let keys = ["a", "b", "c", "d", "e"];
        let all = keys.map(|key| parking(key, 5, ParkedState::Retrying));
        store.settle(parked(all)).await.expect("a settlement");
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let wanted = Wanted { after, ..due_of_all(2).remove(0) };
            let page = store.due(&[wanted]).await.expect("what is due");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 2);
            after = Some(last.place.clone());
            seen.extend(page.iter().map(|it| it.at.key.to_string()));
        }
        assert_eq!(seen, keys);
        let wanted = Wanted { bytes: 1, ..due_of_all(9).remove(0) };
        assert_eq!(store.due(&[wanted]).await.expect("what is due").len(), 1, "one in any case");
        let late = Parking { again: true, ..parking("a", 5, ParkedState::Retrying) };
        let late = Parking { parked: Parked { wait: Duration::from_secs(3_600), ..late.parked.clone() }, ..late };
        store.settle(parked([late])).await.expect("a settlement");
        assert_eq!(due(store).await.len(), 4, "not yet");
    }

    async fn the_insert_half_of_a_key_change_is_due_after_its_delete_half(store: &dyn StateStore) {
        let half = |key, ordinal, image: fn(Row) -> Image| {
            let id = ChangeId { commit: Lsn::new(5), ordinal };
            let change = Arc::new(Change { id, image: image(row(key, Cell::Null)), ..change(5) });
            let it = parking(key, 5, ParkedState::Retrying);
            Parking { change, parked: Parked { called: id, ..it.parked.clone() }, ..it }
        };
        let delete = half("2", 2, |old| Image::Delete { old });
        let halves = parked([half("1", 3, |new| Image::Insert { new }), delete.clone()]);
        store.settle(halves).await.expect("a settlement");
        assert_eq!(due(store).await, [("2".to_owned(), 5)]);
        let resolved = Settlement { resolved: vec![(at("2"), delete.change.id)], ..Settlement::default() };
        store.settle(resolved).await.expect("a settlement");
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
    }

    async fn changes_of_one_transaction_are_in_the_order_of_their_ordinals(store: &dyn StateStore) {
        let mut all: Vec<Parking> = Vec::new();
        for ordinal in [10, 2] {
            let change = Change { id: ChangeId { commit: Lsn::new(5), ordinal }, ..change(5) };
            all.push(Parking { change: Arc::new(change), ..parking("1", 5, ParkedState::Retrying) });
        }
        store.settle(parked(all)).await.expect("a settlement");
        let due = store.due(&due_of_all(10)).await.expect("what is due");
        assert_eq!(due.iter().map(|due| due.change.id.ordinal).collect::<Vec<_>>(), [2]);
    }

    async fn a_truncate_spreads_to_the_linked_keys_that_have_not_changed_since(store: &dyn StateStore) {
        let gone = Arc::new(Link { change: id(5), gone: true, ..Link::default() });
        let other = RouteKey { route: "other".into(), key: "1".into() };
        let links = vec![
            (at("1"), link(json!({ "id": "L1" }), 5)), (at("2"), gone), (at("3"), link(json!({}), 50)),
            (other, link(json!({}), 5)),
        ];
        let truncate = Arc::new(Change { image: Image::Truncate, ..change(10) });
        let mut whole = parking("", 10, ParkedState::Rejected);
        (whole.change, whole.parked.reason) = (truncate, ParkReason::Truncate);
        store.settle(Settlement { links, parkings: vec![whole], ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(store.spread_truncate("loan", id(10)).await.expect("a count"), 1);
        let due = store.due(&due_of_all(10)).await.expect("what is due");
        let seen: Vec<_> = due.iter().map(|it| (&*it.at.key, it.change.id, it.change.image.clone())).collect();
        assert_eq!(seen, [("1", id(10), Image::Truncate)]);
        assert_eq!(recall(store, "").await.hold, Hold::Free, "the one for the whole table has given way");
        assert_eq!(store.spread_truncate("loan", id(10)).await.expect("a count"), 0, "once");
    }

    async fn a_link_remembers_what_it_depends_on(store: &dyn StateStore) {
        let parents = [customer("7"), RouteKey { route: "loan.b".into(), key: "a/b,\\,\"é".into() }];
        let it = Link { parents: parents.to_vec(), ..Link::clone(&link(json!({}), 5)) };
        let links = vec![(at("1"), Arc::new(it.clone())), (at("2"), link(json!({}), 5))];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(recall(store, "1").await.link, Some(it));
        let of = [(parents[0].clone(), id(9)), (parents[1].clone(), id(4)), (customer("8"), id(9))];
        let counted = store.children(&of, &routes()).await.expect("an answer");
        let one = vec![(Arc::from("loan"), 1)];
        assert_eq!(counted, [one.clone(), one, vec![]], "what it is told last does not matter");
        assert_eq!(store.children(&of[..1], &["other".into()]).await.expect("an answer"), [vec![]]);
        let gone = Arc::new(Link { change: id(6), gone: true, ..Link::default() });
        let links = vec![(at("1"), gone)];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(store.children(&of[..1], &routes()).await.expect("an answer"), [vec![]]);
    }

    async fn a_child_is_due_once_its_parent_is_linked(store: &dyn StateStore) {
        let waits = || waiting(at("1"), 5, ParkReason::Parent, customer("7"));
        let other = waiting(at("2"), 5, ParkReason::Parent, customer("8"));
        let settled = store.settle(parked([waits(), other])).await.expect("a settlement");
        assert_eq!((settled.released, due(store).await), (0, vec![]));
        // The other one's parent is linked, but nobody says so.
        let links = vec![(customer("7"), link(json!({}), 9)), (customer("8"), link(json!({}), 9))];
        let stirred = vec![customer("7"), customer("9")];
        let settlement = Settlement { links, stirred, ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, 1);
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
        assert_eq!((store.sweep().await.expect("a sweep"), store.sweep().await.expect("a sweep")), (1, 0));
        assert_eq!(due(store).await.len(), 2);
        // Its parent came while it was being parked.
        let again = store.settle(parked([Parking { again: true, ..waits() }])).await.expect("a settlement");
        assert_eq!((again.released, due(store).await.len()), (1, 2));
    }

    async fn a_child_is_not_due_while_an_older_delete_of_its_parent_is_parked(store: &dyn StateStore) {
        let delete = |lsn| deleting(Parking { at: customer("7"), ..parking("", lsn, ParkedState::Dead) });
        let links = vec![(customer("7"), link(json!({}), 1))];
        let parkings = vec![delete(5), waiting(at("1"), 9, ParkReason::Parent, customer("7"))];
        let settlement = Settlement { links, parkings, ..Settlement::default() };
        let settled = store.settle(settlement).await.expect("a settlement");
        assert_eq!((settled.released, settled.leaving), (0, vec![(customer("7"), id(5))]));
        let known = store.recall(&[customer("7")]).await.expect("an answer").remove(0);
        assert_eq!((known.hold, known.leaving, known.oldest), (Hold::Held, Some(id(5)), Some(id(5))));
        assert_eq!(store.sweep().await.expect("a sweep"), 0);
        let resolved = Settlement { resolved: vec![(customer("7"), id(5))], ..Settlement::default() };
        let settled = store.settle(resolved).await.expect("a settlement");
        assert_eq!(settled.leaving, []);
        assert_eq!(store.sweep().await.expect("a sweep"), 1);
        // One that comes after it is no reason to wait.
        let parkings = vec![delete(19), waiting(at("2"), 15, ParkReason::Parent, customer("7"))];
        let settled = store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(settled.released, 1);
    }

    async fn a_delete_that_lets_later_changes_pass_keeps_no_child_waiting(store: &dyn StateStore) {
        let delete = deleting(Parking { at: customer("7"), lets_pass: true, ..parking("", 5, ParkedState::Dead) });
        let links = vec![(customer("7"), link(json!({}), 9))];
        let parkings = vec![delete, waiting(at("1"), 10, ParkReason::Parent, customer("7"))];
        let settlement = Settlement { links, parkings, ..Settlement::default() };
        let settled = store.settle(settlement).await.expect("a settlement");
        assert_eq!((settled.released, settled.leaving), (1, vec![]));
        let known = store.recall(&[customer("7")]).await.expect("an answer").remove(0);
        assert_eq!((known.hold, known.leaving), (Hold::Passing, None));
    }

    async fn a_truncated_parent_leaves_like_a_deleted_one(store: &dyn StateStore) {
        let mut truncate = Parking { at: customer("7"), ..parking("", 5, ParkedState::Dead) };
        truncate.change = Arc::new(Change { image: Image::Truncate, ..change(5) });
        let settled = store.settle(parked([truncate])).await.expect("a settlement");
        assert_eq!(settled.leaving, [(customer("7"), id(5))]);
    }

    async fn an_insert_half_does_not_wait_for_a_delete_half_that_waits_for_children(store: &dyn StateStore) {
        let half = |ordinal, it: Parking| {
            let id = ChangeId { ordinal, ..it.change.id };
            let parked = Parked { called: id, ..it.parked };
            Parking { change: Arc::new(Change { id, ..Change::clone(&it.change) }), parked, ..it }
        };
        let links = vec![(at("1"), child(3, &["7"]))];
        let delete = half(0, waiting(customer("7"), 5, ParkReason::Children, customer("7")));
        let insert = half(1, Parking { at: customer("8"), ..parking("", 5, ParkedState::Retrying) });
        let settlement = Settlement { links, parkings: vec![delete, insert], ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, 0);
        assert_eq!(due(store).await, [("8".to_owned(), 5)], "its children may have to move there first");
    }

    async fn so_many_waiting_changes_go_on_at_once_and_a_sweep_finds_the_others(store: &dyn StateStore) {
        let more = 3;
        let waits = |key| waiting(at(&format!("{key}")), 5, ParkReason::Parent, customer("7"));
        store.settle(parked((0..RELEASED_AT_ONCE + more).map(waits))).await.expect("a settlement");
        let (links, stirred) = (vec![(customer("7"), link(json!({}), 9))], vec![customer("7")]);
        let settlement = Settlement { links, stirred, ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, RELEASED_AT_ONCE);
        assert_eq!(store.sweep().await.expect("a sweep"), more);
        assert_eq!(store.sweep().await.expect("a sweep"), 0);
    }

    async fn a_deleted_parent_is_due_once_its_last_child_is_gone(store: &dyn StateStore) {
        let waits = || waiting(customer("7"), 9, ParkReason::Children, customer("7"));
        let links = vec![(at("1"), child(5, &["7", "8"])), (at("2"), child(10, &["7"]))];
        let settlement = Settlement { links, parkings: vec![waits()], ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, 0);
        let gone = Arc::new(Link { change: id(10), gone: true, ..Link::default() });
        for (links, released) in [((at("1"), gone), 0), ((at("2"), child(11, &["8"])), 1)] {
            let settlement = Settlement { links: vec![links], stirred: vec![customer("7")], ..Settlement::default() };
            assert_eq!(store.settle(settlement).await.expect("a settlement").released, released);
        }
        let due = store.due(&due_of_all(9)).await.expect("what is due");
        assert_eq!(due.iter().map(|it| it.at.clone()).collect::<Vec<_>>(), [customer("7")]);
        let again = store.settle(parked([Parking { again: true, ..waits() }])).await.expect("a settlement");
        assert_eq!(again.released, 1, "its last child went while it was being parked");
    }

    async fn a_deleted_parent_is_not_due_while_an_older_change_of_a_child_will_go_on(store: &dyn StateStore) {
        use ParkedState::{Dead, Queued, Retrying};
        let of = |it: Parking| Parking { parents: vec![customer("7")], ..it };
        let parkings = vec![
            waiting(customer("7"), 9, ParkReason::Children, customer("7")),
            parking("1", 4, Retrying), of(parking("1", 5, Queued)),
            parking("2", 4, Dead), of(parking("2", 5, Queued)),
            of(parking("3", 10, Retrying)),
        ];
        assert_eq!(store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement").released, 0);
        let counted = store.children(&[(customer("7"), id(9))], &routes()).await.expect("an answer");
        assert_eq!(counted, [vec![(Arc::from("loan"), 1)]], "neither what a person has to see to, nor what is newer");
        // Parked again by who knows nothing of its parents.
        store.settle(parked([Parking { again: true, ..parking("1", 5, Queued) }])).await.expect("a settlement");
        let stirred = vec![customer("7")];
        let resolved = |id| Settlement { resolved: vec![(at("1"), id)], stirred: stirred.clone(), ..Settlement::default() };
        assert_eq!(store.settle(resolved(id(4))).await.expect("a settlement").released, 0);
        assert_eq!(store.settle(resolved(id(5))).await.expect("a settlement").released, 1);
    }

    async fn what_waits_for_a_parent_in_vain_is_due_once_a_newer_change_needs_no_older_one(store: &dyn StateStore) {
        let partial = || {
            let it = parking("3", 7, ParkedState::Queued);
            let image = Image::Update { old: None, new: row("3", Cell::Unchanged) };
            Parking { change: Arc::new(Change { image, ..Change::clone(&it.change) }), ..it }
        };
        let waits = |key, parent| waiting(at(key), 5, ParkReason::Parent, customer(parent));
        let queued = |key| parking(key, 7, ParkedState::Queued);
        let of_parent = |key, lsn| Parking { at: customer(key), ..parking("", lsn, ParkedState::Rejected) };
        let parkings = vec![
            // Its parent may come; what is there of its parent is newer; it lacks a column; nothing is newer.
            of_parent("1", 6), waits("1", "1"), queued("1"),
            of_parent("2", 8), waits("2", "2"), queued("2"),
            waits("3", "3"), partial(),
            waits("4", "4"),
        ];
        store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(due(store).await, [("2".to_owned(), 5)]);
        let wait = |key| (at(key), id(5), customer(key));
        let judged = store.in_vain(&["4", "2", "3", "1"].map(wait)).await.expect("an answer");
        assert_eq!(judged, [false, true, false, false]);
        // The parent that might have come has ended without a link.
        let settlement = Settlement { resolved: vec![(customer("1"), id(6))], stirred: vec![customer("1")], ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, 1);
        store.settle(parked([queued("4")])).await.expect("a settlement");
        assert_eq!(due(store).await, ["2", "1", "4"].map(|key| (key.to_owned(), 5)));
        // Meanwhile a parent has come.
        let links = vec![(customer("4"), link(json!({}), 9))];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        let judged = store.in_vain(&["1", "2", "4"].map(wait)).await.expect("an answer");
        assert_eq!(judged, [true, true, false]);
        assert_eq!(store.in_vain(&[]).await.expect("an answer"), [false; 0]);
    }

    async fn what_waits_for_a_parent_and_is_deleted_later_is_due_unless_it_is_linked(store: &dyn StateStore) {
        let waits = |key| waiting(at(key), 5, ParkReason::Parent, customer("7"));
        let parent = Parking { at: customer("7"), ..parking("", 4, ParkedState::Rejected) };
        let linked = vec![(at("2"), link(json!({}), 3))];
        store.settle(Settlement { links: linked, ..Settlement::default() }).await.expect("a settlement");
        store.settle(parked([parent, waits("1"), parking("1", 6, ParkedState::Queued), waits("2")])).await.expect("a settlement");
        assert_eq!(due(store).await, []);
        let deletes = ["1", "2"].map(|key| deleting(parking(key, 7, ParkedState::Queued)));
        store.settle(parked(deletes)).await.expect("a settlement");
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
    }

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
        let first = RunProgress { cursor: cursor(), expected: Some(40), ..progress(one, [10, 7, 2, 1]) };
        let settlement = Settlement { runs: vec![first, progress(two, [1, 0, 1, 0])], ..through(200) };
        store.settle(settlement).await.expect("a settlement");
        settle_runs(store, [progress(one, [5, 0, 5, 0])]).await;
        let [a, b] = &runs(store).await[..] else { panic!("both are open") };
        assert_eq!(a.counts, counts([15, 7, 7, 1]));
        assert_eq!((&a.cursor, a.expected, a.state), (&cursor(), Some(40), RunState::Running), "left as they were");
        assert_eq!((b.counts, &b.cursor, b.expected), (counts([1, 0, 1, 0]), &None, None));
        let on = RunProgress { cursor: Some(json!(9)), expected: Some(41), ..progress(one, [0; 4]) };
        settle_runs(store, [on, progress(RunId(99), [1; 4])]).await;
        let a = runs(store).await.remove(0);
        assert_eq!((a.cursor, a.expected, a.counts), (Some(json!(9)), Some(41), counts([15, 7, 7, 1])));
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

pub fn ask(kind: RunKind, entity: Option<&str>) -> RunRequest {
    RunRequest { kind, entity: entity.map(Arc::from), options: Map::new(), origin: "command".into() }
}

pub fn counts([read, applied, skipped, parked]: [u64; 4]) -> RunCounts {
    RunCounts { read, applied, skipped, parked }
}

pub fn progress(run: RunId, of: [u64; 4]) -> RunProgress {
    RunProgress { run, cursor: None, counts: counts(of), expected: None, end: None }
}

async fn runs(store: &dyn StateStore) -> Vec<Run> {
    store.runs().await.expect("the runs")
}

pub async fn settle_runs(store: &dyn StateStore, runs: impl IntoIterator<Item = RunProgress>) {
    let runs = runs.into_iter().collect();
    let _ = store.settle(Settlement { runs, ..Settlement::default() }).await.expect("a settlement");
}

/// What these changes leave to be written: key, position, values, and whether the row was deleted.
fn owes<const N: usize>(all: [(&str, u64, Value, bool); N]) -> Settlement {
    let owes = |(key, lsn, values, anew)| {
        let Value::Object(values) = values else { panic!("an object") };
        Owes { owing: Owing { at: at(key), values, transaction: None }, change: id(lsn), anew }
    };
    Settlement { write_backs: all.map(owes).into(), ..Settlement::default() }
}

/// A change of a loan that waits for a customer, or a deleted customer that waits for its loans.
fn waiting(at: RouteKey, lsn: u64, reason: ParkReason, waits_for: RouteKey) -> Parking {
    let mut it = parking("", lsn, ParkedState::Waiting);
    (it.at, it.parked.reason, it.parked.waits_for) = (at, reason, Some(waits_for));
    if reason == ParkReason::Children {
        it = deleting(it);
    }
    it
}

fn deleting(it: Parking) -> Parking {
    let id = it.change.id;
    let image = Image::Delete { old: row("1", Cell::Unchanged) };
    Parking { change: Arc::new(Change { image, ..change(id.commit.raw()) }), ..it }
}

fn customer(key: &str) -> RouteKey {
    RouteKey { route: "other".into(), key: key.into() }
}

fn child(lsn: u64, parents: &[&str]) -> Arc<Link> {
    let parents = parents.iter().map(|key| customer(key)).collect();
    Arc::new(Link { parents, ..Link::clone(&link(json!({}), lsn)) })
}

async fn bound(store: &dyn StateStore) {
    assert_eq!(store.checkpoint().await.expect("an answer"), None, "a new store is not bound");
    store.bind(&begin()).await.expect("to bind");
}

pub async fn open(url: &str) -> PostgresStore {
    let target: Target = url.parse().expect("a URL");
    match PostgresStore::open(&target, "main").await.expect("a store") {
        Lease::Held(store) => *store,
        Lease::Taken => panic!("somebody holds the lease of {url}"),
    }
}

pub fn begin() -> Checkpoint {
    let binding = Binding { system_id: "7".to_owned(), timeline: 1, slot: "rowcall".to_owned() };
    Checkpoint { binding, lsn: Lsn::new(100), committed_at: None }
}

async fn recall(store: &dyn StateStore, key: &str) -> Known {
    store.recall(&[at(key)]).await.expect("an answer").remove(0)
}

async fn due(store: &dyn StateStore) -> Vec<(String, u64)> {
    let due = store.due(&due_of_all(100)).await.expect("what is due");
    due.iter().map(|due| (due.at.key.to_string(), due.change.id.commit.raw())).collect()
}

pub fn through(lsn: u64) -> Settlement {
    Settlement { through: Some(Lsn::new(lsn)), ..Settlement::default() }
}

pub fn linked(key: &str, saved: Value, lsn: u64) -> Settlement {
    Settlement { links: vec![(at(key), link(saved, lsn))], ..Settlement::default() }
}

fn parked(parkings: impl IntoIterator<Item = Parking>) -> Settlement {
    Settlement { parkings: parkings.into_iter().collect(), ..Settlement::default() }
}

/// Every route the clauses use.
fn routes() -> [Arc<str>; 2] {
    ["loan".into(), "other".into()]
}

/// So many of what is due of each route the clauses use.
pub fn due_of_all(limit: usize) -> Vec<Wanted> {
    let wanted = |route: &str| Wanted { route: route.into(), after: None, limit, bytes: usize::MAX };
    ["loan", "other"].map(wanted).into()
}

pub fn at(key: &str) -> RouteKey {
    RouteKey { route: "loan".into(), key: key.into() }
}

pub fn id(lsn: u64) -> ChangeId {
    ChangeId { commit: Lsn::new(lsn), ordinal: 0 }
}

fn time(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).expect("a time")
}

fn link(saved: Value, lsn: u64) -> Arc<Link> {
    let saved: Map<String, Value> = saved.as_object().cloned().expect("an object");
    Arc::new(Link { saved, change: id(lsn), gone: false, parents: Vec::new(), content: None })
}

pub fn parking(key: &str, lsn: u64, state: ParkedState) -> Parking {
    let message = "the remote said no\0".to_owned();
    let parked = Parked {
        state,
        reason: ParkReason::Refused,
        message,
        answers: Vec::new(),
        attempts: 0,
        called: id(lsn),
        wait: Duration::ZERO,
        doubt: false,
        waits_for: None,
    };
    let change = Arc::new(change(lsn));
    Parking {
        at: at(key),
        change,
        parked,
        again: false,
        lets_pass: false,
        merges: false,
        born: false,
        parents: Vec::new(),
        replayed: None,
    }
}

fn change(lsn: u64) -> Change {
    let new = row("1", Cell::Null);
    Change {
        id: id(lsn),
        table: Arc::clone(&new.table),
        image: Image::Insert { new },
        committed_at: time(1),
        transaction: None,
    }
}

fn row(id: &str, notes: Cell<'_>) -> Row {
    let column = |name: &str, ty| Column { name: name.into(), ty, identity: name == "id" };
    let columns = vec![column("id", Type::Int), column("notes", Type::Text)];
    let table = Arc::new(Table { id: TableId(1), name: "public.loans".parse().expect("a name"), columns });
    let mut row = RowBuilder::default();
    row.push(Cell::Text(id));
    row.push(notes);
    row.finish(table)
}
