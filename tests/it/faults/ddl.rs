//! Tables are altered, and made anew, while changes flow. What fits the mapping is sent in its order; what does
//! not is parked with what is wrong (columns that are dropped: `replicate::columns`); what would be skipped in
//! silence is said.

use crate::harness::{Live, each_version, eventually, wait::LONG};

const TABLE: &str = "create table things (id int primary key, v int not null, name text)";

const ENTITY: &str = "
  thing:
    table: things
    upsert: [{ put: '/objects/thing/{{ row.id }}', body: { v: '{{ row.v }}', name: '{{ row.name }}' } }]
    delete: [{ delete: '/objects/thing/{{ row.id }}', accept: [200, 204, 404] }]";

each_version! {
    async fn a_mapped_column_that_is_retyped_or_renamed_in_mid_stream_is_sent_or_parked_in_order(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&[
            "insert into things values (1, 1, 'a'), (2, 1, 'a')",
            // Before, in and behind the transaction that alters it; not settled in between.
            "update things set v = 2 where id = 1",
            "begin; update things set v = 3 where id = 1; alter table things alter v type numeric(9,2); \
             update things set v = 4.5 where id = 1; commit",
            "update things set v = 5 where id = 1",
            "alter table things alter v type text; update things set v = 'six' where id = 1",
        ]).await;
        let of_one: Vec<String> = live.calls().into_iter().filter(|it| it.contains("thing/1 ")).collect();
        assert_eq!(of_one, [
            r#"PUT /objects/thing/1 {"v":1,"name":"a"}"#,
            r#"PUT /objects/thing/1 {"v":2,"name":"a"}"#,
            r#"PUT /objects/thing/1 {"v":3,"name":"a"}"#,
            r#"PUT /objects/thing/1 {"v":4.50,"name":"a"}"#,
            r#"PUT /objects/thing/1 {"v":5.00,"name":"a"}"#,
            r#"PUT /objects/thing/1 {"v":"six","name":"a"}"#,
        ]);
        live.after(&["alter table things rename name to title; update things set v = '7'", "update things set v = '8' where id = 2"]).await;
        assert!(live.calls().is_empty(), "there is no `name` any more");
        let parked =
            live.parked_as(&["thing 1 rejected template", "thing 2 rejected template", "thing 2 queued behind"]).await;
        assert!(parked[0]["message"].as_str().is_some_and(|it| it.contains("`name`")), "{parked:?}");
        live.acknowledged().await;
        // The mapping follows: what was parked is sent, in its order.
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
        live.configure(&ENTITY.replace("row.name", "row.title"));
        let service = live.run();
        live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
        live.parked_as(&[]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, [
            r#"PUT /objects/thing/1 {"v":"7","name":"a"}"#,
            r#"PUT /objects/thing/2 {"v":"7","name":"a"}"#,
            r#"PUT /objects/thing/2 {"v":"8","name":"a"}"#,
        ]);
        service.sigkill().await;
    }

    /// It leaves the publication when it is dropped: until `init` its changes are not captured, which is said.
    async fn a_table_that_is_dropped_and_made_anew_is_said_and_goes_on_after_init(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into things values (1, 1, 'a')"]).await;
        live.after(&["update things set v = 2", &format!("drop table things; {TABLE}")]).await;
        assert_eq!(live.calls().last().map(String::as_str), Some(r#"PUT /objects/thing/1 {"v":2,"name":"a"}"#));
        eventually("it is said", LONG, async || {
            let said = service.stderr();
            if said.contains("`rowcall` does not have public.things any more") { Ok(()) } else { Err(said) }
        })
        .await;
        let check = live.rowcall.command(&["check"]).await.expect_code(1).stdout;
        assert!(check.contains("publication `rowcall` lacks public.things") && check.contains("run `rowcall init`"), "{check}");
        live.rowcall.command(&["init"]).await.expect_code(0);
        live.after(&["insert into things values (1, 3, 'b')", "insert into things values (2, 1, 'b')"]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, [
            r#"PUT /objects/thing/1 {"v":3,"name":"b"}"#,
            r#"PUT /objects/thing/2 {"v":1,"name":"b"}"#,
        ]);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
        // A start without it is refused.
        live.postgres.execute(&format!("drop table things; {TABLE}")).await;
        let (status, said) = live.run().end().await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("does not have public.things: run `rowcall init`"), "{said}");
    }
}
