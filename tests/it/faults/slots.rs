//! What others do to the slot while the service runs, so that changes are not in it any more: it stops and
//! says so (invariant 8). The same while it is stopped, and a slot that the server invalidates, are in `resume`.

use crate::harness::{Live, Service, each_version, eventually, wait::LONG};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

const END_THE_STREAM: &str =
    "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null";

/// The service comes back to its slot soon, so it may be in use again.
async fn to_the_slot(live: &Live, sql: &str) {
    eventually(sql, LONG, async || {
        let client = live.postgres.client().await;
        client.batch_execute(END_THE_STREAM).await.map_err(|error| error.to_string())?;
        client.batch_execute(sql).await.map_err(|error| error.to_string())
    })
    .await;
}

/// It ends with a message that has all these parts.
async fn stops(service: Service, parts: &[&str]) {
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
}

async fn goes_on_once_it_is_bound_anew(live: &Live) {
    live.rowcall.command(&["init", "--rebind"]).await.expect_code(0);
    live.calls();
    live.after_start("insert into customers values (3)").await;
    assert_eq!(live.calls(), ["PUT /objects/c/3 {}"]);
}

each_version! {
    async fn a_slot_that_is_dropped_under_the_service_stops_it(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        to_the_slot(&live, "select pg_drop_replication_slot('rowcall')").await;
        live.postgres.execute("insert into customers values (2)").await;
        stops(service, &["replication slot `rowcall`", "run `rowcall init --rebind`"]).await;
        assert_eq!(live.calls(), ["PUT /objects/c/1 {}"]);
        goes_on_once_it_is_bound_anew(&live).await;
    }

    async fn a_slot_that_is_advanced_under_the_service_stops_it(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        // What is written meanwhile is not on its way to it either.
        service.signal("STOP");
        eventually("nobody streams", LONG, async || {
            live.postgres.execute(END_THE_STREAM).await;
            match live.postgres.text("select active from pg_replication_slots").await.as_deref() {
                Some("f") => Ok(()),
                active => Err(active.map(str::to_owned)),
            }
        })
        .await;
        live.postgres.execute("insert into customers values (2)").await;
        to_the_slot(&live, "select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())").await;
        service.signal("CONT");
        stops(service, &["replication slot `rowcall`", "the checkpoint", "run `rowcall init --rebind`"]).await;
        assert_eq!(live.calls(), ["PUT /objects/c/1 {}"]);
        goes_on_once_it_is_bound_anew(&live).await;
    }
}
