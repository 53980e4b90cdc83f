//! Keys of parents change (`on update cascade`), and some of what that brings is never sent.

use super::*;

/// Its move frees the former parent, whose key may be wanted again: it is not left out for the row's
/// delete.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_at_the_remote_moves_before_it_is_deleted() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    family.rig.remote.answer(422, "{}");
    let rows = Rows::from(200).rename(0, "1", "2").update(1, "5", Some("2"), "b").commit();
    family.run(rows.delete(1, "5").commit()).await;
    let parked = [
        "customer 1 waiting children",
        "customer 2 rejected refused",
        "loan 5 waiting parent",
        "loan 5 queued behind",
    ];
    assert_eq!((family.parked(), family.calls().len()), (parked.map(str::to_owned).to_vec(), 3));
    // The next start looks at all that waits.
    family.run(Rows::from(400).commit()).await;
    assert_eq!((family.parked(), family.calls().len()), (parked.map(str::to_owned).to_vec(), 3));
    family.retry("customer", "2");
    family.run(Rows::from(500).commit()).await;
    assert_eq!(family.calls()[3..5], ["PUT /customer/2", "PUT /loan/5"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_what_was_left_out_goes_on_with_its_newer_change() {
    for apart in [false, true] {
        let family = Family::new();
        family.rig.remote.answer(422, "{}");
        let rows = Rows::new().tree("1", None).commit();
        let mut rows = rows.tree("9", None).tree("5", Some("1")).tree("7", Some("5")).commit();
        if apart {
            family.run(rows).await;
            assert_eq!(family.parked()[1..], ["tree 5 waiting parent", "tree 7 waiting parent"]);
            rows = Rows::from(300);
        }
        let rows = rows.rename_below(2, ("5", "6"), Some("9"), "a").update(2, "7", Some("6"), "b").commit();
        family.run(rows).await;
        assert_eq!((family.refused(), family.parked()), (vec![], vec!["tree 1 rejected refused".to_owned()]));
        assert_eq!(family.objects(), ["/tree/6", "/tree/7", "/tree/9"], "{apart}");
        assert_eq!(family.bodies().last().map(|body| body["v"].clone()), Some(json!("b")));
    }
}

/// The log has it below its former key first.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_its_own_parent_changes_its_key() {
    let family = Family::new();
    family.run(Rows::new().tree("2", Some("2")).commit()).await;
    let rows = Rows::from(200).rename_below(2, ("2", "3"), Some("2"), "a");
    family.run(rows.update(2, "3", Some("3"), "b").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/3"]);
}

/// Below the former key stands what waits for the delete of the new one, which stands behind that.
#[tokio::test(start_paused = true)]
async fn a_row_that_is_its_own_parent_changes_its_key_back() {
    for (apart, concurrency) in [(false, 1), (true, 1), (false, 4), (true, 4)] {
        let mut family = Family::new();
        family.rig.governor = governor(concurrency, None);
        let mut rows = Rows::new().tree("3", Some("3")).commit();
        if apart {
            family.run(rows).await;
            rows = Rows::from(200);
        }
        let rows = rows.rename_below(2, ("3", "2"), Some("3"), "a").update(2, "2", Some("2"), "b").commit();
        let rows = rows.rename_below(2, ("2", "3"), Some("2"), "c").update(2, "3", Some("3"), "d").commit();
        family.run(rows).await;
        assert_eq!((family.refused(), family.parked()), (vec![], vec![]), "{apart} {concurrency}");
        assert_eq!(family.objects(), ["/tree/3"], "{apart} {concurrency}");
        assert_eq!(family.bodies().last().map(|body| body["v"].clone()), Some(json!("d")));
    }
}

/// The former key is deleted once nothing is below it, which waits for the new key, which was below
/// the former one at first.
#[tokio::test(start_paused = true)]
async fn a_row_with_others_below_that_is_its_own_parent_changes_its_key() {
    let family = Family::new();
    let rows = Rows::new().tree("1", Some("1")).commit().tree("2", Some("1")).commit();
    let rows = rows.rename_below(2, ("1", "0"), Some("1"), "a").update(2, "0", Some("0"), "b");
    family.run(rows.update(2, "2", Some("0"), "c").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/0", "/tree/2"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_not_left_out_for_a_newer_one_that_lacks_a_column() {
    let family = Family::new();
    let rows = Rows::new().loan("5", "1").commit();
    let new = rows.row(1, [Cell::Text("5"), Cell::Text("2"), Cell::Null, Cell::Unchanged]);
    family.run(rows.customer("2").change(1, Image::Update { old: None, new }).commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent", "loan 5 queued behind"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_parent_is_parked_is_not_left_out_for_a_newer_one() {
    let family = Family::new();
    family.rig.remote.answer(422, "{}");
    let rows = Rows::new().customer("1").commit().customer("2").loan("5", "1").commit();
    family.run(rows.update(1, "5", Some("2"), "b").commit()).await;
    let parked = ["customer 1 rejected refused", "loan 5 waiting parent", "loan 5 queued behind"];
    assert_eq!(family.parked(), parked);
    family.retry("customer", "1");
    family.run(Rows::from(500).commit()).await;
    assert_eq!(family.calls()[2..], ["PUT /customer/1", "PUT /loan/5", "PUT /loan/5"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn changes_that_name_the_same_missing_parent_wait_for_it_together() {
    let family = Family::new();
    family.run(Rows::new().loan("5", "1").update(1, "5", Some("1"), "b").commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent", "loan 5 queued behind"]);
    family.run(Rows::from(200).customer("1").commit()).await;
    assert_eq!(family.calls(), ["PUT /customer/1", "PUT /loan/5", "PUT /loan/5"]);
}

/// What an outage put aside is durable ahead of older changes of other keys, which a crash makes come
/// again.
#[tokio::test(start_paused = true)]
async fn a_parked_delete_waits_for_the_older_changes_that_come_again() {
    let mut family = Family::new();
    family.run(Rows::new().customer("1").commit()).await;
    family.put_aside(Rows { ordinal: 4, ..Rows::from(300) }.delete(0, "1")).await;
    family.pace = Duration::from_secs(5);
    let rows = Rows::from(200).loan("5", "1").commit();
    family.run(rows.customer("2").update(1, "5", Some("2"), "b").delete(0, "1").commit()).await;
    assert_eq!(family.calls()[1..], ["PUT /loan/5", "PUT /customer/2", "PUT /loan/5", "DELETE /customer/1"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

/// Its children follow each time, and each time the former key is deleted once none of them is there.
#[tokio::test(start_paused = true)]
async fn a_parent_changes_its_key_to_and_fro() {
    let mut family = Family::new();
    family.rig.governor = governor(1, None);
    let rows = Rows::new().customer("2").commit().loan("0", "2").commit();
    let rows = rows.rename(0, "2", "3").update(1, "0", Some("3"), "b").commit();
    let rows = rows.rename(0, "3", "2").update(1, "0", Some("2"), "c").commit();
    let rows = rows.rename(0, "2", "3").update(1, "0", Some("3"), "d").commit();
    family.run(rows).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/3", "/loan/0"]);
}

/// The deleted row moves away from a former parent whose key another takes, and holds its own child
/// until that has moved there.
#[tokio::test(start_paused = true)]
async fn a_row_takes_the_former_key_of_its_parent() {
    let mut family = Family::new();
    family.rig.governor = governor(1, None);
    let rows = Rows::new().tree("2", Some("2")).commit().tree("1", None).tree("0", Some("1")).commit();
    let rows = rows.update(2, "1", Some("2"), "b").commit();
    let rows = rows.rename_below(2, ("2", "3"), Some("2"), "c").update(2, "1", Some("3"), "c");
    let rows = rows.update(2, "3", Some("3"), "c").commit();
    let rows = rows.rename_below(2, ("1", "2"), Some("3"), "d").update(2, "0", Some("2"), "d").commit();
    family.run(rows).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/0", "/tree/2", "/tree/3"]);
}

/// What merged in memory says as much of the row's parents as the oldest of it: it is held against
/// what is parked of them by that.
#[tokio::test(start_paused = true)]
async fn a_row_whose_newer_changes_were_merged_does_not_wait_for_its_former_parent() {
    let mut family = Family::new();
    family.rig.governor = governor(1, None);
    family.rig.coalesce = true;
    let rows = Rows::new().tree("2", Some("2")).commit();
    let rows = rows.rename_below(2, ("2", "1"), Some("2"), "a").update(2, "1", Some("1"), "b").commit();
    let mut rows = rows.tree("2", Some("1")).commit().update(2, "1", None, "c").commit();
    family.run_until_killed(&mut rows, 2, Lsn::new(500)).await;
    family.run(rows).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/1", "/tree/2"]);
}
