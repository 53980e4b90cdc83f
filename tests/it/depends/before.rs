//! What was there before anything was said of parents and children.

use super::{ENTITIES, TABLES, family, paths};

#[tokio::test]
async fn parents_from_before_the_first_start_are_named_and_come_when_they_are_touched() {
    let live = family(&format!("{TABLES}; insert into customers values (1, 'Ada')")).await;
    let service = live.run();
    live.after(&["insert into loans values (5, 1, 10)"]).await;
    live.parked_as(&["loan 5 waiting parent"]).await;
    let said = service.stderr();
    assert!(
        said.contains("table public.customers has rows, and none of them is known to be at the remote")
            && said.contains(r#"update "public"."customers" set "id" = "id""#),
        "{said}"
    );
    live.after(&[r#"update "public"."customers" set "id" = "id""#]).await;
    live.parked_as(&[]).await;
    let calls = live.calls_made(2).await;
    assert_eq!(paths(&calls), ["PUT /objects/customer/1", "PUT /objects/loan/5"]);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    let again = live.run();
    live.after(&[]).await;
    assert!(!again.stderr().contains("known to be at the remote"), "{}", again.stderr());
}

/// The loans stay at the remote, so a customer does not wait for them to go.
#[tokio::test]
async fn a_parent_that_waits_goes_on_once_its_children_are_not_deleted_any_more() {
    let live = family(TABLES).await;
    let service = live.run();
    live.after(&["insert into customers values (1, 'Ada')", "insert into loans values (5, 1, 10)"]).await;
    live.after(&["delete from customers"]).await;
    live.parked_as(&["customer 1 waiting children"]).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    let (before, _) = ENTITIES.rsplit_once("    delete:").expect("it is there");
    live.configure(before);
    live.calls();
    let _service = live.run();
    // The bank would refuse it, since it still has the loan.
    live.parked_as(&["customer 1 rejected conflict"]).await;
}
