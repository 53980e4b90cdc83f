//! Who waits for whom, and what ends it.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_written_after_its_child_is_sent_before_it() {
    let family = Family::new();
    family.run(Rows::new().loan("5", "1").loan("6", "1").customer("1").commit()).await;
    assert_eq!(family.calls()[0], "PUT /customer/1");
    assert_eq!((family.calls().len(), family.refused(), family.parked()), (3, vec![], vec![]));
    let parent = json!({ "remote_id": "remote-/customer/1" });
    assert_eq!(family.bodies()[1..].iter().map(|it| &it["parent"]).collect::<Vec<_>>(), [&parent, &parent]);
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_for_its_parents_answer_and_nothing_else_waits_for_the_child() {
    let family = Family {
        rig: Rig { governor: governor(1, None), ..Family::with(|it| FakeRemote::answering(it).held()).rig },
        ..Family::new()
    };
    let rows = Rows::new().customer("1").loan("5", "1").customer("2").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = family.rig.source(Stream { batch: rows.batch, ..Stream::new() }, true);
    let run = family.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), family.rig.remote.arrived(1)).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    family.rig.remote.release(1);
    // The only slot is free for others, and the child is not forgotten.
    meanwhile(run.as_mut(), family.rig.remote.arrived(2)).await;
    family.rig.remote.release(9);
    run.await.expect("it runs");
    let mut calls = family.calls();
    calls.sort();
    assert_eq!(calls, ["PUT /customer/1", "PUT /customer/2", "PUT /loan/5"]);
    assert_eq!(family.parked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_a_parked_parent_is_parked_and_goes_on_in_order_once_that_is_sent() {
    let family = Family::new();
    family.rig.remote.answer(422, "{}");
    let rows =
        Rows::new().customer("1").commit().loan("5", "1").commit().update(1, "5", Some("1"), "b").commit();
    family.run(rows).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    assert_eq!(
        family.parked(),
        ["customer 1 rejected refused", "loan 5 waiting parent", "loan 5 queued behind"],
        "the stream has moved on"
    );
    let (_, _, parked) = family.rig.store.parked().remove(1);
    assert!(parked.message.contains("key 1 of route `customer`"), "{}", parked.message);
    // Trying the child again is in vain.
    family.retry("loan", "5");
    family.run(Rows::from(400).commit()).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    family.retry("customer", "1");
    family.run(Rows::from(500).commit()).await;
    assert_eq!(family.calls()[1..], ["PUT /customer/1", "PUT /loan/5", "PUT /loan/5"]);
    assert_eq!(family.bodies().iter().map(|it| &it["v"]).collect::<Vec<_>>(), ["a", "a", "a", "b"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

/// The first process made the call and heard nothing; the answer to the second says nothing of that.
#[tokio::test(start_paused = true)]
async fn a_parent_stays_while_its_refused_child_may_have_been_made_before_a_crash() {
    let mut family = Family::new();
    family.run(Rows::new().customer("1").commit()).await;
    let written = Rows::from(200).loan("5", "1").commit();
    // The delete was not written by then.
    let there = Lsn::new(written.commit - 1);
    let mut rows = written.delete(1, "5").delete(0, "1").commit();
    family.run_until_killed(&mut rows, 1, there).await;
    assert_eq!(family.objects(), ["/customer/1", "/loan/5"]);
    let calls = family.calls().len();
    family.rig.remote.answer(422, "{}");
    family.run(rows).await;
    assert_eq!(family.calls()[calls..], ["PUT /loan/5"]);
    let parked = ["customer 1 waiting children", "loan 5 rejected refused", "loan 5 queued behind"];
    assert_eq!(family.parked(), parked);
    family.retry("loan", "5");
    family.run(Rows::from(900).commit()).await;
    assert_eq!((family.refused(), family.objects(), family.parked()), (vec![], vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn children_are_deleted_before_their_parents_whatever_the_log_says() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").loan("6", "1").commit()).await;
    family.run(Rows::from(200).delete(0, "1").delete(1, "5").delete(1, "6").commit()).await;
    assert_eq!(family.calls().last().map(String::as_str), Some("DELETE /customer/1"));
    assert_eq!((family.refused(), family.parked(), family.objects()), (vec![], vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_is_not_deleted_while_a_child_is_linked_and_says_so() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    family.run(Rows::from(200).delete(0, "1").commit()).await;
    assert_eq!(family.parked(), ["customer 1 waiting children"]);
    let (_, _, parked) = family.rig.store.parked().remove(0);
    assert!(parked.message.contains("1 of route `loan`"), "{}", parked.message);
    // The child moves to another parent.
    family.run(Rows::from(300).customer("2").update(1, "5", Some("2"), "b").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_and_written_again_goes_in_the_order_of_parents_each_time() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    let rows = Rows::from(200).delete(0, "1").delete(1, "5").commit();
    family.run(rows.customer("1").loan("5", "1").commit()).await;
    assert_eq!(
        family.calls()[2..],
        ["DELETE /loan/5", "DELETE /customer/1", "PUT /customer/1", "PUT /loan/5"]
    );
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

/// `update customer set id = 2`, with `on update cascade`.
#[tokio::test(start_paused = true)]
async fn a_parent_changes_its_key_and_its_children_move_along() {
    let renamed = || Rows::from(200).rename(0, "1", "2").update(1, "5", Some("2"), "b").commit();
    for parked in [false, true] {
        let family = Family::new();
        family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
        if parked {
            family.put_aside(renamed()).await;
            family.run(Rows::from(300).commit()).await;
        } else {
            family.run(renamed()).await;
        }
        assert_eq!(family.calls()[2..], ["PUT /customer/2", "PUT /loan/5", "DELETE /customer/1"], "{parked}");
        assert_eq!((family.refused(), family.parked()), (vec![], vec![]), "{parked}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_name_other_parents_do_not_merge() {
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.rig.remote.answer(422, "{}");
    family.run(Rows::new().customer("9").commit().customer("1").loan("5", "9").commit()).await;
    let rows = Rows::from(300).update(1, "5", Some("1"), "b").update(1, "5", Some("1"), "c");
    family.run(rows.rename(0, "1", "2").update(1, "5", Some("2"), "d").commit()).await;
    let queued = "loan 5 queued behind";
    let parked = ["customer 9 rejected refused", "loan 5 waiting parent", queued, queued];
    let parked = [&["customer 1 waiting children"], &parked[..]].concat();
    assert_eq!(family.parked(), parked, "not even where they are parked");
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    let rows = Rows::from(200).update(1, "5", Some("1"), "b").update(1, "5", Some("1"), "c");
    family.run(rows.rename(0, "1", "2").update(1, "5", Some("2"), "d").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
    let told: Vec<Value> = family.bodies().iter().map(|it| it["v"].clone()).collect();
    assert_eq!(told.iter().filter(|v| *v == "b").count(), 0, "{told:?}");
    assert_eq!(told.iter().filter(|v| *v == "c").count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_came_and_went_is_sent_where_a_child_needs_it_in_between() {
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.run(Rows::new().customer("2").commit()).await;
    let rows = Rows::from(200).customer("1").loan("5", "1").update(1, "5", Some("2"), "b").delete(0, "1");
    family.run(rows.commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
}

#[tokio::test(start_paused = true)]
async fn a_tree_is_built_from_its_root_and_taken_down_from_its_leaves() {
    let family = Family::new();
    let rows =
        Rows::new().tree("4", Some("3")).tree("3", Some("2")).tree("2", Some("1")).tree("1", Some("1"));
    family.run(rows.commit()).await;
    assert_eq!(family.calls(), ["PUT /tree/1", "PUT /tree/2", "PUT /tree/3", "PUT /tree/4"]);
    let rows = Rows::from(200).delete(2, "1").delete(2, "2").delete(2, "3").delete(2, "4");
    family.run(rows.commit()).await;
    assert_eq!(family.calls()[4..], ["DELETE /tree/4", "DELETE /tree/3", "DELETE /tree/2", "DELETE /tree/1"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_is_not_deleted_while_a_child_that_needs_it_is_queued() {
    let family = Family::new();
    let rows = Rows::new().tree("2", None).tree("0", Some("2")).commit();
    // Deleting 2 waits for 0, so that everything else of 2 is parked behind it.
    let rows = rows.delete(2, "2").delete(2, "0").commit();
    let rows = rows.tree("0", None).tree("2", Some("0")).commit();
    let rows = rows.update(2, "2", None, "b").commit().delete(2, "0").commit();
    family.run(rows).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/2"]);
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_each_other_hold_up_nothing_else() {
    let family = Family::new();
    let rows = Rows::new().tree("1", Some("2")).tree("2", Some("1")).tree("3", Some("2")).tree("4", None);
    family.run(rows.commit()).await;
    assert_eq!(family.calls(), ["PUT /tree/4"]);
    assert_eq!(family.parked(), ["tree 1 waiting parent", "tree 2 waiting parent", "tree 3 waiting parent"]);
}

#[tokio::test(start_paused = true)]
async fn all_of_several_parents_have_to_be_there_and_none_is_no_reason_to_wait() {
    let family = Family {
        depends_on: &[("loan", "{{ row.customer == null ? null : row.customer.split('+') }}")],
        ..Family::new()
    };
    family.run(Rows::new().loan("5", "1+2").put(1, "6", None, "a").commit()).await;
    assert_eq!(family.calls(), ["PUT /loan/6"]);
    family.run(Rows::from(200).customer("1").commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent"]);
    family.run(Rows::from(300).customer("2").commit()).await;
    assert_eq!(family.parked(), [""; 0]);
    let body = family.bodies().pop().expect("a body");
    assert_eq!(
        body["parent"],
        json!([{ "remote_id": "remote-/customer/1" }, { "remote_id": "remote-/customer/2" }])
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_sent_waits_for_nobody() {
    let family = Family { when: Some("{{ row.v != 'draft' }}"), ..Family::new() };
    family.run(Rows::new().put(1, "5", Some("1"), "draft").commit()).await;
    assert_eq!((family.calls(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_somebody_else_wrote_is_found() {
    let family = Family::new();
    family.run(Rows::new().loan("5", "1").commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent"]);
    let at = RouteKey { route: "customer".into(), key: "1".into() };
    family.held.lock().expect("whole").objects.insert("/customer/1".to_owned(), Vec::new());
    let links = vec![(at, Arc::new(Link::default()))];
    let _ = family.rig.store.settle(crate::state::Settlement { links, ..Default::default() }).await;
    family.run(Rows::from(200).commit()).await;
    assert_eq!((family.calls(), family.parked()), (vec!["PUT /loan/5".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_a_waiting_child_to_come_again() {
    let family = Family { rig: Family::with(|it| FakeRemote::answering(it).held()).rig, ..Family::new() };
    let rows = Rows::new().customer("1").loan("5", "1").commit();
    let (go, mut stop) = watch::channel(false);
    let mut source = family.rig.source(Stream { batch: rows.batch, ..Stream::new() }, false);
    let acknowledged = source.acknowledged.subscribe();
    let run = family.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), family.rig.remote.arrived(1)).await;
    go.send_replace(true);
    assert!(futures_util::poll!(run.as_mut()).is_pending());
    family.rig.remote.release(9);
    run.await.expect("it stops");
    assert_eq!((family.calls().len(), family.parked()), (1, vec![]));
    assert_eq!(*acknowledged.borrow(), Lsn::ZERO, "the transaction comes again");
}
