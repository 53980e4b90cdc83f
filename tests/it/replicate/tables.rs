//! Tables of every kind: partitioned, related, emptied, with keys of every kind.

use crate::harness::{Live, Version, each_version, eventually, wait::LONG};

each_version! {
    async fn a_partitioned_table_is_one_table(version: Version) {
        let entities = "
  event:
    table: events
    upsert: [{ put: '/objects/event/{{ row.id }}', body: { at: '{{ row.at }}' } }]
    delete: [{ delete: '/objects/event/{{ row.id }}' }]";
        let sql = "create table events (id int, at date, primary key (id, at)) partition by range (at);
            create table events_2023 partition of events for values from ('2023-01-01') to ('2024-01-01');
            create table events_2024 (at date not null, id int not null, primary key (id, at));
            alter table events attach partition events_2024 for values from ('2024-01-01') to ('2025-01-01')";
        let live = Live::new(version, sql, &entities.replace("table: events", "table: events\n    key: id")).await;
        let _service = live.run();
        live.after(&[
            "insert into events values (1, '2023-05-01'), (2, '2024-05-01')",
            "insert into events_2024 (id, at) values (3, '2024-06-01')",
            "create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01')",
            "insert into events values (4, '2025-01-01')",
        ]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, [
            r#"PUT /objects/event/1 {"at":"2023-05-01"}"#,
            r#"PUT /objects/event/2 {"at":"2024-05-01"}"#,
            r#"PUT /objects/event/3 {"at":"2024-06-01"}"#,
            r#"PUT /objects/event/4 {"at":"2025-01-01"}"#,
        ]);
        // A row that moves to another partition is deleted and inserted.
        live.after(&["update events set at = '2024-05-02' where id = 1"]).await;
        let calls = live.calls();
        assert_eq!(calls.last().map(String::as_str), Some(r#"PUT /objects/event/1 {"at":"2024-05-02"}"#), "{calls:?}");
    }

    async fn a_truncate_waits_for_a_person(version: Version) {
        let entities = "
  a:
    table: a
    upsert: [{ put: '/objects/a/{{ row.id }}', body: {}, save: { was: '{{ answer.body.ok }}' } }]
    delete: [{ delete: '/objects/a/{{ key }}' }]
  b:
    table: b
    upsert: [{ put: '/objects/b/{{ row.id }}', body: {} }]
    delete: [{ delete: '/objects/b/{{ key }}' }]";
        let live = Live::new(version, "create table a (id int primary key); create table b (id int primary key)", entities)
            .await;
        let _service = live.run();
        live.after(&["insert into a values (1), (2), (3), (5), (6)", "insert into b values (1)", "delete from a where id = 3"]).await;
        live.after(&["truncate a, b", "insert into a values (2), (4)"]).await;
        live.calls();
        let parked = live.parked_as(&["a  rejected truncate", "b  rejected truncate"]).await;
        let message = |at: usize| parked[at]["message"].as_str().expect("a message").to_owned();
        assert!(message(0).contains("public.a was truncated: 4 or more objects"), "{}", message(0));
        assert_eq!(live.bank.dump().len(), 6, "nothing is deleted by itself");
        live.acknowledged().await;
        live.rowcall.command(&["parked", "discard", "--route", "b"]).await.expect_code(0);
        live.rowcall.command(&["parked", "retry", "--route", "a", "--reason", "truncate"]).await.expect_code(0);
        let mut calls = live.calls_made(3).await;
        calls.sort();
        let deleted = ["DELETE /objects/a/1", "DELETE /objects/a/5", "DELETE /objects/a/6"];
        assert_eq!(calls, deleted, "what was sent since stays");
        live.parked_as(&[]).await;
        assert_eq!(live.bank.dump().into_keys().collect::<Vec<_>>(), ["/objects/a/2", "/objects/a/4", "/objects/b/1"]);
        // A key that was deleted by the truncate is a new object.
        live.after(&["insert into a values (1)"]).await;
        assert_eq!(live.calls(), ["PUT /objects/a/1 {}"]);
    }
}

#[tokio::test]
async fn keys_of_every_kind_keep_rows_apart() {
    let entities = "
  pair:
    table: pairs
    always: true
    upsert: [{ put: '/objects/pair/{{ row.a }}-{{ row.b }}', body: { key: '{{ key }}' } }]
    delete: [{ delete: '/objects/pair/{{ row.a }}-{{ row.b }}' }]
  thing:
    table: \"Shop.Odd Things\"
    upsert: [{ put: '/objects/thing/{{ row[\"the id\"] }}', body: { key: '{{ key }}' } }]
    delete: [{ delete: '/objects/thing/{{ row[\"the id\"] }}' }]
  named:
    table: named
    key: code
    upsert: [{ put: '/objects/named/{{ row.code }}', body: { id: '{{ row.id }}' } }]
    delete: [{ delete: '/objects/named/{{ row.code }}' }]";
    let sql = "create table pairs (a text, b timestamptz, v int, primary key (b, a));
        create schema \"Shop\"; create table \"Shop\".\"Odd Things\" (\"the id\" uuid primary key);
        create table named (id serial primary key, code text not null unique);
        alter table named replica identity using index named_code_key";
    let live = Live::new(Version::V16, sql, entities).await;
    let _service = live.run();
    live.after(&[
        "insert into pairs values ('x,y', '2024-01-01 00:00+01', 1), ('ä/ö', '2024-01-01 00:00:00Z', 1)",
    ])
    .await;
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls.len(), 2);
    assert!(
        calls[0].starts_with("PUT /objects/pair/%C3%A4%2F%C3%B6-2024-01-01T00") && calls[0].contains("ä/ö"),
        "{calls:?}"
    );
    assert!(calls[1].contains(r"x\\,y"), "{calls:?}");
    live.after(&["update pairs set v = 2 where a = 'x,y'", "delete from pairs where a = 'x,y'"]).await;
    let calls = live.calls();
    assert!(
        calls[0].starts_with("PUT /objects/pair/x%2Cy-")
            && calls[1].starts_with("DELETE /objects/pair/x%2Cy-"),
        "{calls:?}"
    );
    live.after(&[
        "insert into \"Shop\".\"Odd Things\" values ('A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11')",
        "delete from \"Shop\".\"Odd Things\"",
        "insert into named (code) values ('n 1')",
        "update named set code = 'n/2'",
        "delete from named",
    ])
    .await;
    let mut calls = live.calls();
    calls.sort_by_key(|call| call.contains("named"));
    assert_eq!(
        calls,
        [
            r#"PUT /objects/thing/a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 {"key":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}"#,
            "DELETE /objects/thing/a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            r#"PUT /objects/named/n%201 {"id":1}"#,
            "DELETE /objects/named/n%201",
            r#"PUT /objects/named/n%2F2 {"id":1}"#,
            "DELETE /objects/named/n%2F2",
        ]
    );
}

/// A child's row brings its parent up again; the child's own columns are not the entity's.
#[tokio::test]
async fn a_child_table_syncs_its_parent_again() {
    let entities = "
  loan:
    table: loans
    tables: { collaterals: { key: loan_id } }
    fetch: select count(*) as n from collaterals where loan_id = $1
    upsert: [{ put: '/objects/loan/{{ row.id }}', body: { name: '{{ row.name }}', n: '{{ fetched.n }}', op: '{{ op }}' } }]
    delete: [{ delete: '/objects/loan/{{ row.id }}' }]";
    let sql = "create table loans (id int primary key, name text);
        create table collaterals (id int primary key, loan_id int references loans on delete cascade);
        alter table collaterals replica identity full";
    let live = Live::new(Version::V16, sql, entities).await;
    let _service = live.run();
    live.after(&["insert into loans values (1, 'a'), (2, 'b')"]).await;
    live.calls();
    live.after(&["insert into collaterals values (10, 1)"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/loan/1 {"name":"a","n":1,"op":"read"}"#]);
    live.after(&["update collaterals set loan_id = 2"]).await;
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(
        calls,
        [
            r#"PUT /objects/loan/1 {"name":"a","n":0,"op":"read"}"#,
            r#"PUT /objects/loan/2 {"name":"b","n":1,"op":"read"}"#,
        ]
    );
    live.after(&["delete from collaterals"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/loan/2 {"name":"b","n":0,"op":"read"}"#]);
}

/// A commit is in the log before other sessions see it, for as long as it waits for a standby.
#[tokio::test]
async fn what_is_read_again_is_read_once_its_transaction_is_visible() {
    let entities = "
  loan:
    table: loans
    tables: { collaterals: { key: loan_id } }
    fetch: select count(*) as n from collaterals where loan_id = $1
    upsert: [{ put: '/objects/loan/{{ row.id }}', body: { n: '{{ fetched.n }}' } }]
    delete: [{ delete: '/objects/loan/{{ row.id }}' }]";
    let sql = "create table loans (id int primary key);
        create table collaterals (id int primary key, loan_id int references loans on delete cascade);
        alter table collaterals replica identity full; insert into loans values (1)";
    let live = Live::new(Version::V16, sql, entities).await;
    live.postgres.execute("alter database postgres set synchronous_commit = local").await;
    let _service = live.run();
    live.after(&[]).await;
    live.postgres.execute("alter system set synchronous_standby_names = 'nobody'").await;
    live.postgres.execute("select pg_reload_conf()").await;
    let writer = live.postgres.client().await;
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn(async move {
        writer.batch_execute("set synchronous_commit = on; insert into collaterals values (10, 1)").await
    });
    let client = live.postgres.client().await;
    eventually("the change has come", LONG, async || {
        let sql = "select coalesce(sum(in_flight), 0)::bigint from rowcall.route_status";
        let in_flight: i64 = client.query_one(sql, &[]).await.expect("a count").get(0);
        if in_flight > 0 || live.bank.stats().requests > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    live.postgres.execute("alter system reset synchronous_standby_names").await;
    live.postgres.execute("select pg_reload_conf()").await;
    writing.join_next().await.expect("it writes").expect("no panic").expect("to write");
    live.after(&[]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/loan/1 {"n":1}"#]);
    // The parent goes with its children: deleting them must not bring it back.
    live.after(&["delete from loans"]).await;
    assert_eq!(live.calls(), ["DELETE /objects/loan/1"]);
}
