//! The checkpoint belongs to one database and one slot: anything else is noticed (invariant 8).

use crate::harness::{Live, each_version};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

/// It stops with a message that has all these parts and the choices.
async fn refuses(live: &Live, parts: &[&str]) {
    let (status, stderr) = live.run().end().await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    for part in parts.iter().chain(&["`rowcall init --rebind`", "could skip changes"]) {
        assert!(stderr.contains(part), "no `{part}` in: {stderr}");
    }
}

async fn goes_on_after_rebinding(live: &Live, id: i32) {
    let rebound = live.rowcall.command(&["init", "--rebind"]).await.expect_code(0);
    assert!(rebound.stdout.contains("the checkpoint is bound to system"), "{}", rebound.stdout);
    let service = live.run();
    live.after(&[&format!("insert into customers values ({id})")]).await;
    let call = format!("PUT /objects/c/{id} {{}}");
    let calls = live.calls();
    assert_eq!(calls.last(), Some(&call), "{calls:?}");
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

each_version! {
    async fn another_database_or_slot_is_refused_until_a_person_decides(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        let busy = live.rowcall.command(&["init", "--rebind"]).await.expect_code(1);
        assert!(busy.stderr.contains("an instance is running on this source"), "{}", busy.stderr);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
        live.calls();

        // The state of another cluster, such as after a dump and restore.
        live.postgres.execute("update rowcall.checkpoint set system_id = '4711'").await;
        refuses(&live, &["another database cluster", "was 4711"]).await;
        // Plain `init` decides nothing.
        live.rowcall.command(&["init"]).await.expect_code(0);
        refuses(&live, &["another database cluster"]).await;
        goes_on_after_rebinding(&live, 2).await;

        live.postgres.execute("update rowcall.checkpoint set timeline = 7").await;
        refuses(&live, &["timeline 1, was on 7", "failed over or restored"]).await;
        goes_on_after_rebinding(&live, 3).await;

        live.postgres.execute("select pg_drop_replication_slot('rowcall')").await;
        refuses(&live, &["replication slot `rowcall` is gone"]).await;
        // Made anew it lacks what was written in between, which must not go unnoticed.
        live.postgres.execute("insert into customers values (100)").await;
        live.rowcall.command(&["init"]).await.expect_code(0);
        refuses(&live, &["beyond the checkpoint", "made anew or moved by someone else"]).await;
        goes_on_after_rebinding(&live, 4).await;

        // Somebody read from the slot what was ours.
        live.postgres.execute(
            "insert into customers values (101);
             select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())",
        ).await;
        live.postgres.execute("select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())").await;
        refuses(&live, &["beyond the checkpoint"]).await;
        goes_on_after_rebinding(&live, 5).await;

        live.rowcall.command(&["status"]).await.expect_code(0);
        live.reconfigure(|yaml| {
            yaml.replace("heartbeat: 50ms", "heartbeat: 50ms, capture: { logical: { slot: other } }")
        });
        live.rowcall.command(&["init"]).await.expect_code(0);
        refuses(&live, &["the slot is `other`, was `rowcall`"]).await;
        goes_on_after_rebinding(&live, 6).await;
    }
}
