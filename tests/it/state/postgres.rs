//! What the real store promises beyond the port: one writer, and all or nothing.

use super::clauses::{at, begin, id, linked, open, parking, through};
use crate::harness::{Postgres, Version, eventually, wait::LONG};
use rowcall::{
    model::{Link, Lsn, ParkedState},
    postgres::Target,
    state::{
        Settlement, StateStore,
        postgres::{Lease, PostgresStore, migrate},
    },
};
use serde_json::json;
use std::sync::Arc;

async fn server() -> Postgres {
    let postgres = Postgres::start(Version::V16).await;
    migrate(&mut rowcall::postgres::connect(&target(&postgres)).await.expect("a connection"))
        .await
        .expect("the schema");
    postgres
}

fn target(postgres: &Postgres) -> Target {
    postgres.url().parse().expect("a URL")
}

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

#[tokio::test]
async fn a_settlement_that_fails_leaves_nothing_and_the_next_one_works() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    // No statement but one can refuse this, and it is neither the first nor the last.
    postgres.execute("alter table rowcall.parked add constraint no check (key <> 'refused')").await;
    let good = parking("1", 5, ParkedState::Retrying);
    let bad = parking("refused", 6, ParkedState::Retrying);
    let settlement =
        Settlement { parkings: vec![good, bad], through: Some(Lsn::new(900)), ..linked("1", json!({}), 5) };
    let error = store.settle(settlement).await.expect_err("it is refused").to_string();
    assert!(error.contains("settling") && error.contains("\"no\""), "{error}");
    assert_eq!(store.checkpoint().await.expect("an answer"), Some(begin()));
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0);
    assert!(known.link.is_none() && !known.held);
    store.settle(through(300)).await.expect("a settlement");
}

#[tokio::test]
async fn a_gone_link_is_forgotten_only_behind_the_checkpoint() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let gone = |lsn| Arc::new(Link { change: id(lsn), gone: true, ..Link::default() });
    let links = vec![(at("old"), gone(150)), (at("new"), gone(250))];
    store.settle(Settlement { links, ..Settlement::default() }).await.expect("a settlement");
    // It is looked for now and then only.
    for _ in 0..200 {
        store.settle(through(200)).await.expect("a settlement");
    }
    let known = store.recall(&[at("old"), at("new")]).await.expect("an answer");
    assert_eq!(known.iter().map(|it| it.link.is_some()).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_what_to_do() {
    let postgres = Postgres::start(Version::V16).await;
    let error = PostgresStore::open(&target(&postgres), "main").await.expect_err("no schema").to_string();
    assert!(error.contains("run `rowcall init`"), "{error}");
}
