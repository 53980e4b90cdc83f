//! What waits for its parent, or for its children to go.

use crate::state::samples::{
    at, change, customer, deleting, due, due_of_all, id, link, parked, parking, recall, row,
};
use rowcall::{
    model::{Answer, Answered, Cell, Change, ChangeId, Image, Link, ParkReason, Parked, ParkedState},
    state::{Hold, Leaving, Parking, RELEASED_AT_ONCE, RouteKey, Settlement, StateStore},
};
use serde_json::json;
use std::sync::Arc;

clauses! {
    async fn a_link_remembers_what_it_depends_on(store: &dyn StateStore) {
        let parents = [customer("7"), RouteKey { route: "loan.b".into(), key: "a/b,\\,\"é".into() }];
        let it = Link { parents: parents.to_vec(), ..Link::clone(&link(json!({}), 5)) };
        let links = vec![(at("1"), Arc::new(it.clone())), (at("2"), link(json!({}), 5))];
        store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(recall(store, "1").await.link, Some(it));
        let of = [(parents[0].clone(), 9), (parents[1].clone(), 4), (customer("8"), 9)].map(leaving);
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
        let counted = store.children(&[leaving((customer("7"), 9))], &routes()).await.expect("an answer");
        assert_eq!(counted, [vec![(Arc::from("loan"), 1)]], "neither what a person has to see to, nor what is newer");
        // Parked again by who knows nothing of its parents.
        store.settle(parked([Parking { again: true, ..parking("1", 5, Queued) }])).await.expect("a settlement");
        let stirred = vec![customer("7")];
        let resolved = |id| Settlement { resolved: vec![(at("1"), id)], stirred: stirred.clone(), ..Settlement::default() };
        assert_eq!(store.settle(resolved(id(4))).await.expect("a settlement").released, 0);
        assert_eq!(store.settle(resolved(id(5))).await.expect("a settlement").released, 1);
    }

    async fn a_deleted_parent_is_not_due_while_a_child_that_gave_up_may_be_at_the_remote(store: &dyn StateStore) {
        let half_done = child_of_7("1", ParkedState::Rejected, vec![created()], false);
        let in_doubt = child_of_7("2", ParkedState::Dead, Vec::new(), true);
        let refused = child_of_7("3", ParkedState::Rejected, Vec::new(), false);
        let delete = waiting(customer("7"), 9, ParkReason::Children, customer("7"));
        let parkings = vec![half_done, in_doubt, refused, delete];
        assert_eq!(store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement").released, 0);
        let counted = store.children(&[leaving((customer("7"), 9))], &routes()).await.expect("an answer");
        assert_eq!(counted, [vec![(Arc::from("loan"), 2)]], "but what was refused at once is not there");
        for (key, released) in [("1", 0), ("2", 1)] {
            let (resolved, stirred) = (vec![(at(key), id(4))], vec![customer("7")]);
            let settlement = Settlement { resolved, stirred, ..Settlement::default() };
            assert_eq!(store.settle(settlement).await.expect("a settlement").released, released);
        }
    }

    async fn a_deleted_parent_that_may_be_gone_waits_for_no_child_that_gave_up_in_doubt(store: &dyn StateStore) {
        use ParkedState::{Queued, Rejected, Retrying};
        let delete = waiting(customer("7"), 9, ParkReason::Children, customer("7"));
        let parkings = vec![
            child_of_7("1", Rejected, vec![created()], false), child_of_7("2", Rejected, Vec::new(), true),
            child_of_7("3", Retrying, Vec::new(), true), parking("4", 3, Rejected), child_of_7("4", Queued, Vec::new(), true),
            child_of_7("5", Rejected, Vec::new(), true),
            Parking { parked: Parked { doubt: true, ..delete.parked }, ..delete },
        ];
        // What was refused may have been so because its parent is gone.
        let links = vec![(at("5"), link(json!({}), 2))];
        assert_eq!(store.settle(Settlement { links, parkings, ..Settlement::default() }).await.expect("a settlement").released, 0);
        let delete = Leaving { may_be_sent: true, ..leaving((customer("7"), 9)) };
        let counted = store.children(&[delete], &routes()).await.expect("an answer");
        assert_eq!(counted, [vec![(Arc::from("loan"), 2)]], "the half done one, and the one that goes on by itself");
        for (key, released) in [("1", 0), ("3", 1)] {
            let (resolved, stirred) = (vec![(at(key), id(4))], vec![customer("7")]);
            let settlement = Settlement { resolved, stirred, ..Settlement::default() };
            assert_eq!(store.settle(settlement).await.expect("a settlement").released, released);
        }
    }

    async fn a_deleted_parent_is_not_due_while_a_row_of_the_remote_has_to_move_on_under_it(store: &dyn StateStore) {
        use ParkedState::{Queued, Rejected};
        let head = |key, answers, doubt| so_far(parking(key, 3, Rejected), answers, doubt);
        let moves = |key| Parking { parents: vec![customer("7")], ..parking(key, 4, Queued) };
        let delete = waiting(customer("7"), 9, ParkReason::Children, customer("7"));
        let parkings = vec![
            head("1", vec![created()], false), moves("1"),
            head("2", Vec::new(), true), moves("2"),
            head("3", Vec::new(), false), moves("3"),
            head("4", Vec::new(), false), moves("4"),
            delete,
        ];
        let links = vec![(at("3"), link(json!({}), 2))];
        assert_eq!(store.settle(Settlement { links, parkings, ..Settlement::default() }).await.expect("a settlement").released, 0);
        for (may_be_sent, count) in [(false, 3), (true, 2)] {
            let delete = Leaving { may_be_sent, ..leaving((customer("7"), 9)) };
            let counted = store.children(&[delete], &routes()).await.expect("an answer");
            assert_eq!(counted, [vec![(Arc::from("loan"), count)]], "half done, linked, and in doubt unless the delete is too");
        }
        for (key, released) in [("2", 0), ("1", 0), ("3", 1)] {
            let (resolved, stirred) = (vec![(at(key), id(3)), (at(key), id(4))], vec![customer("7")]);
            let settlement = Settlement { resolved, stirred, ..Settlement::default() };
            assert_eq!(store.settle(settlement).await.expect("a settlement").released, released);
        }
    }

    async fn a_row_that_may_be_at_the_remote_waits_for_its_parent_although_it_is_deleted(store: &dyn StateStore) {
        let waits = |key, doubt| {
            let it = waiting(at(key), 5, ParkReason::Parent, customer("7"));
            Parking { parked: Parked { doubt, ..it.parked }, ..it }
        };
        let delete = |key| deleting(parking(key, 7, ParkedState::Queued));
        // The parent may come.
        let parent = Parking { at: customer("7"), ..parking("", 3, ParkedState::Rejected) };
        let parkings = vec![parent, waits("1", false), delete("1"), waits("2", true), delete("2")];
        store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
        assert_eq!(due(store).await, [("1".to_owned(), 5)]);
        // It will not.
        let settlement = Settlement { resolved: vec![(customer("7"), id(3))], stirred: vec![customer("7")], ..Settlement::default() };
        assert_eq!(store.settle(settlement).await.expect("a settlement").released, 1);
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

/// One of the customer 7.
fn child_of_7(key: &str, state: ParkedState, answers: Vec<Answered>, doubt: bool) -> Parking {
    let it = so_far(parking(key, 4, state), answers, doubt);
    Parking { parents: vec![customer("7")], ..it }
}

/// It came so far.
fn so_far(it: Parking, answers: Vec<Answered>, doubt: bool) -> Parking {
    Parking { parked: Parked { answers, doubt, ..it.parked }, ..it }
}

fn created() -> Answered {
    Answered { step: "create".into(), answer: Answer { status: 201, ..Answer::default() } }
}

/// A delete that was not sent.
fn leaving((at, lsn): (RouteKey, u64)) -> Leaving {
    Leaving { at, change: id(lsn), may_be_sent: false }
}

fn child(lsn: u64, parents: &[&str]) -> Arc<Link> {
    let parents = parents.iter().map(|key| customer(key)).collect();
    Arc::new(Link { parents, ..Link::clone(&link(json!({}), lsn)) })
}

/// Every route the clauses use.
fn routes() -> [Arc<str>; 2] {
    ["loan".into(), "other".into()]
}
