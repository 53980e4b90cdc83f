//! Children are deleted first, whatever the log says, and however many there are.

use super::{REFERENCES, family, in_order, paths};
use crate::harness::{eventually, wait::LONG};
use std::time::Duration;

#[tokio::test]
async fn a_cascade_of_thousands_passes_through_little_memory_children_first() {
    let live = family(REFERENCES).await;
    live.reconfigure(|yaml| yaml + "limits: { memory: 1MiB }\n");
    let mut service = live.run();
    let insert = "insert into loans select i, i, (i + 2) / 3 from generate_series(1, 6000) i;
                  insert into customers select i, 'c' from generate_series(1, 2000) i";
    // Every child is written before its parent, and every parent deleted before its children.
    live.postgres.execute(&format!("begin; {insert}; commit")).await;
    let within = Duration::from_secs(240);
    eventually("everything is there", within, async || held(&live, &mut service, 8_000)).await;
    live.parked_as(&[]).await;
    live.postgres.execute("delete from customers").await;
    eventually("nothing is there", within, async || held(&live, &mut service, 0)).await;
    live.parked_as(&[]).await;
    in_order(&live);
    live.acknowledged().await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

fn held(live: &crate::harness::Live, service: &mut crate::harness::Service, wanted: u64) -> Result<(), u64> {
    if let Some(status) = service.ended() {
        panic!("the service ended by itself, {status}\n{}", service.stderr());
    }
    let objects = live.bank.stats().objects;
    if objects == wanted { Ok(()) } else { Err(objects) }
}

#[tokio::test]
async fn a_deleted_parent_waits_for_the_children_the_remote_still_has() {
    let live = family(REFERENCES).await;
    let service = live.run();
    live.after(&["begin; insert into customers values (1, 'Ada'), (2, 'Bob'); insert into loans values (5, 10, 1), (6, 10, 1); commit"])
        .await;
    live.calls_made(4).await;
    // One child cannot be deleted for the time being.
    use rowcall::demo::{Fault, Rule};
    live.bank.faults().add(Rule::new(Fault::Status(422)).method("DELETE").path("/objects/loan/5"));
    live.after(&["delete from customers where id = 1"]).await;
    let parked = live.parked_as(&["customer 1 waiting children", "loan 5 rejected refused"]).await;
    let message = parked[0]["message"].as_str().expect("a message");
    assert!(message.contains("of route `loan`") && message.contains("go first"), "{message}");
    assert_eq!(live.calls(), ["DELETE /objects/loan/6"]);
    service.sigkill().await;
    let _service = live.run();
    live.bank.faults().clear();
    live.rowcall.command(&["parked", "retry", "--key", "5"]).await.expect_code(0);
    live.parked_as(&[]).await;
    let calls = live.calls();
    assert_eq!(paths(&calls), ["DELETE /objects/loan/5", "DELETE /objects/customer/1"]);
    in_order(&live);
}

#[tokio::test]
async fn a_parent_whose_key_changes_is_followed_by_its_children() {
    let live = family(REFERENCES).await;
    let _service = live.run();
    live.after(&[
        "begin; insert into customers values (1, 'Ada'); insert into loans values (5, 10, 1); commit",
    ])
    .await;
    live.calls_made(2).await;
    live.after(&["update customers set id = 2"]).await;
    eventually("the old one is gone", LONG, async || {
        let objects: Vec<String> = live.bank.dump().into_keys().collect();
        if objects == ["/objects/customer/2", "/objects/loan/5"] { Ok(()) } else { Err(objects) }
    })
    .await;
    live.parked_as(&[]).await;
    // The same key again, with everything that hangs on it.
    live.calls();
    live.after(&["begin; delete from customers; insert into customers values (2, 'Eve'); insert into loans values (5, 10, 2); commit"]).await;
    let calls = live.calls_made(4).await;
    let expected = [
        "DELETE /objects/loan/5",
        "DELETE /objects/customer/2",
        "PUT /objects/customer/2",
        "PUT /objects/loan/5",
    ];
    assert_eq!(paths(&calls), expected);
    live.parked_as(&[]).await;
    in_order(&live);
}
