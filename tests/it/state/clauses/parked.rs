//! Parked changes: what holds what, what is due, and what merges.

use crate::state::samples::{at, change, due, due_of_all, id, link, parked, parking, recall, row};
use bytes::Bytes;
use rowcall::{
    model::{
        Answer, Answered, Cell, Change, ChangeId, Headers, Image, Link, Lsn, ParkReason, Parked, ParkedState,
        Row, RunId,
    },
    state::{Again, Hold, Parking, RouteKey, Settlement, StateStore, Wanted},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

clauses! {
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
        let headers = Headers::from([("etag", "7")]);
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
        let replay = Again { until: Lsn::new(50), run: Some(RunId(3)) };
        let again = |lsn, state| Parking { replayed: Some(replay), ..parking("1", lsn, state) };
        let settled = store.settle(parked([again(5, ParkedState::Retrying)])).await.expect("a settlement");
        assert_eq!(settled.oldest, [(at("1"), id(5))]);
        let settled = store.settle(parked([parking("1", 60, ParkedState::Queued)])).await.expect("a settlement");
        assert_eq!(settled.oldest, [(at("1"), id(5))]);
        assert_eq!(recall(store, "1").await.oldest, Some(id(5)));
        assert_eq!(store.due(&due_of_all(9)).await.expect("what is due")[0].replayed, Some(replay));
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
}
