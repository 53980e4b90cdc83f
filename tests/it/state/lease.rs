//! One writer a source.

use super::{
    postgres::{server, target},
    samples::{begin, open, through},
};
use crate::harness::{Postgres, eventually, wait::LONG};
use rowcall::{
    model::Lsn,
    postgres::Target,
    state::{
        StateStore,
        postgres::{Lease, PostgresStore, is_leased},
    },
};

async fn lease(postgres: &Postgres, source: &str) -> Option<PostgresStore> {
    match PostgresStore::open(&target(postgres), source).await.expect("an answer") {
        Lease::Held(store) => Some(*store),
        Lease::Taken => None,
    }
}

#[tokio::test]
async fn a_source_has_one_writer_and_the_next_one_when_that_is_gone() {
    let postgres = server().await;
    let first = lease(&postgres, "main").await.expect("the lease");
    assert!(lease(&postgres, "main").await.is_none(), "it is taken");
    assert!(lease(&postgres, "other").await.is_some(), "another source is not");
    drop(first);
    eventually("the lease is free", LONG, async || lease(&postgres, "main").await.ok_or(())).await;
}

#[tokio::test]
async fn who_asks_whether_a_source_is_served_takes_nothing_from_anybody() {
    let postgres = server().await;
    let (one, other) = (postgres.client().await, postgres.client().await);
    // Numbers of locks have a sign.
    let names: Vec<String> = (0..20).map(|it| format!("source {it}")).collect();
    for name in &names {
        assert!(!is_leased(&one, name).await.expect("an answer"));
        let held = lease(&postgres, name).await.expect("the lease");
        for client in [&one, &other] {
            assert!(is_leased(client, name).await.expect("an answer"), "{name}");
            assert!(!is_leased(client, "another").await.expect("an answer"));
        }
        drop(held);
        eventually("the lease is free", LONG, async || {
            if is_leased(&one, name).await.expect("an answer") { Err(()) } else { Ok(()) }
        })
        .await;
    }
    // The same name in another database is another source.
    postgres.execute("create database elsewhere").await;
    let elsewhere = postgres.url_of("elsewhere").parse::<Target>().expect("a URL");
    let client = rowcall::postgres::connect(&elsewhere).await.expect("a connection");
    let _held = lease(&postgres, "main").await.expect("the lease");
    assert!(is_leased(&one, "main").await.expect("an answer"));
    assert!(!is_leased(&client, "main").await.expect("an answer"));
}

#[tokio::test]
async fn a_store_that_lost_its_connection_settles_nothing_more() {
    let postgres = server().await;
    let first = open(&postgres.url()).await;
    first.bind(&begin()).await.expect("to bind");
    first.settle(through(200)).await.expect("a settlement");
    postgres.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'").await;
    let second =
        eventually("the lease is free", LONG, async || lease(&postgres, "main").await.ok_or(())).await;
    let error = first.settle(through(900)).await.expect_err("it is not the writer any more").to_string();
    assert!(error.contains("settling"), "{error}");
    assert!(first.bind(&begin()).await.is_err());
    let kept = second.checkpoint().await.expect("an answer").expect("a checkpoint");
    assert_eq!(kept.lsn, Lsn::new(200));
    second.settle(through(300)).await.expect("a settlement");
}
