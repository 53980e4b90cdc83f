//! Exactly what was asked for is sent again.

use super::{ENTITY, TABLE, by_object, counts, replay, slots_are};
use crate::harness::{Live, each_version};

each_version! {
    async fn a_checkpoint_brings_exactly_the_changes_since_it(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers select i, 'before' from generate_series(1, 20) i"]).await;
        live.acknowledged().await;
        live.rowcall.command(&["checkpoint", "create", "here"]).await.expect_code(0);
        live.bank.take_journal();
        live.after(&[
            "insert into customers values (30, 'a')",
            "update customers set name = name || '!' where id <= 5",
            "update customers set name = name || '?' where id <= 3",
            "delete from customers where id = 2",
            "insert into customers values (2, 'again')",
            "delete from customers where id = 30",
        ])
        .await;
        let first = by_object(&live.bank.take_journal());
        let run = replay(&live, &["--from", "here"]).await;
        assert_eq!(by_object(&live.bank.take_journal()), first, "the same calls, in their order, with their keys");
        assert_eq!(counts(&run), [12, 12, 0, 0], "{run}");
        assert_eq!((&run["state"], &run["expected"]), (&"done".into(), &12.into()));
        slots_are(&live, "rowcall rowcall_cp_here").await;

        replay(&live, &["--from", "here", "--new-keys"]).await;
        let anew = by_object(&live.bank.take_journal());
        let calls = |of: &[(String, String)]| of.iter().map(|(call, _)| call.clone()).collect::<Vec<_>>();
        assert_eq!(calls(&anew), calls(&first));
        let keys: std::collections::BTreeSet<&String> = first.iter().chain(&anew).map(|(_, key)| key).collect();
        assert_eq!(keys.len(), 24, "no key is used twice");
        live.after(&["update customers set name = 'live' where id = 1"]).await;
        assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"live"}"#]);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }
}
