//! Connections break, servers restart, instances take over.

use crate::harness::{Live, Service, Version, eventually, postgres::Stop, wait::LONG};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

async fn says(service: &Service, what: &str) {
    eventually(what, LONG, async || {
        let said = service.stderr();
        if said.contains(what) { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_restarts_or_crashes_is_found_again() {
    let mut live = Live::new(Version::V16, TABLE, ENTITY).await;
    let mut service = live.run();
    live.after(&["insert into customers values (1)"]).await;
    for (id, how) in [(2, Stop::Fast), (3, Stop::Immediate)] {
        // Not settled when the server goes.
        live.postgres.execute(&format!("insert into customers values ({id})")).await;
        live.postgres.stop(how).await;
        live.postgres.start_again().await;
        live.after(&[&format!("insert into customers values ({id}0)")]).await;
    }
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls, [1, 2, 20, 3, 30].map(|id| format!("PUT /objects/c/{id} {{}}")));
    assert!(service.ended().is_none());
    let backends = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null";
    live.postgres.execute(backends).await;
    live.after(&["insert into customers values (4)"]).await;
    assert_eq!(live.calls(), ["PUT /objects/c/4 {}"]);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start_is_waited_for() {
    let mut live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("insert into customers values (1)").await;
    live.postgres.stop(Stop::Fast).await;
    let service = live.run();
    says(&service, &format!("127.0.0.1:{}", live.postgres.port())).await;
    live.postgres.start_again().await;
    live.after(&[]).await;
    assert_eq!(live.calls(), ["PUT /objects/c/1 {}"]);
    // It stops in order while it waits, too.
    live.postgres.stop(Stop::Fast).await;
    says(&service, "again_in_ms").await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_instance_waits_and_takes_over() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let first = live.run();
    live.after(&["insert into customers values (1)"]).await;
    let second = live.run();
    says(&second, "another instance holds this source: waiting as its standby").await;
    live.after(&["insert into customers values (2)"]).await;
    assert_eq!(live.calls(), ["PUT /objects/c/1 {}", "PUT /objects/c/2 {}"]);
    let third = live.run();
    says(&third, "waiting as its standby").await;
    third.sigterm();
    assert_eq!(third.wait().await.code(), Some(0), "a standby stops in order");
    first.sigkill().await;
    live.after(&["insert into customers values (3)"]).await;
    assert_eq!(live.calls(), ["PUT /objects/c/3 {}"]);
    says(&second, "streaming").await;
    let status = live.rowcall.command(&["status"]).await.expect_code(0);
    let instance = format!(":{})", second.pid().expect("it runs"));
    assert!(status.stdout.contains(&instance), "{}", status.stdout);
}

/// Somebody else streams from the slot, under no lease of ours.
#[tokio::test]
async fn a_slot_that_another_state_reads_from_is_waited_for_and_then_refused() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("create database other").await;
    let elsewhere = live.postgres.url_of("other");
    let first = live.run();
    live.after(&["insert into customers values (1)"]).await;
    // The same slot with its state in another database: no lease tells them apart.
    let other = crate::harness::Rowcall::with_config(
        &std::fs::read_to_string(live.rowcall.config())
            .expect("the configuration")
            .replace("heartbeat: 50ms", &format!("heartbeat: 50ms, state: {{ url: \"{elsewhere}\" }}")),
    );
    other.command(&["init"]).await.expect_code(0);
    let mut second = other.run();
    says(&second, "replication slot `rowcall` is in use").await;
    assert!(second.ended().is_none());
    live.after(&["insert into customers values (2)"]).await;
    assert_eq!(live.calls().len(), 2);
    first.sigterm();
    assert_eq!(first.wait().await.code(), Some(0));
    // What the other one has read is not in the slot any more.
    let (status, stderr) = second.end().await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("made anew or moved by someone else"), "{stderr}");
}
