//! The clauses of the port. Each is given a store that is bound and has nothing else in it.

use super::samples::{begin, open};
use crate::harness::{Postgres, each_version};
use rowcall::{
    postgres::Target,
    state::{StateStore, postgres::migrate},
};
use std::pin::Pin;

type Clause = for<'a> fn(&'a dyn StateStore) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Makes of each clause a test of the store in memory, and an entry of `CLAUSES`.
macro_rules! clauses {
    ($(async fn $name:ident($store:ident: &dyn StateStore) $body:block)+) => {
        $(async fn $name($store: &dyn StateStore) $body)+

        pub const CLAUSES: &[(&str, super::Clause)] =
            &[$((stringify!($name), |store| Box::pin($name(store)))),+];

        mod memory {
            $(#[tokio::test]
            async fn $name() {
                let store = rowcall::state::MemoryStore::default();
                $crate::state::clauses::bound(&store).await;
                super::$name(&store).await;
            })+
        }
    };
}

mod kin;
mod links;
mod parked;
mod runs;

each_version! {
    async fn the_postgres_store_keeps_every_clause(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create database ready").await;
        let ready: Target = postgres.url_of("ready").parse().expect("a URL");
        migrate(&mut rowcall::postgres::connect(&ready).await.expect("a connection")).await.expect("the schema");
        let all = [links::CLAUSES, parked::CLAUSES, kin::CLAUSES, runs::CLAUSES].concat();
        for (number, (name, clause)) in all.iter().enumerate() {
            eprintln!("clause: {name}");
            postgres.execute(&format!("create database c{number} template ready")).await;
            let store = open(&postgres.url_of(&format!("c{number}"))).await;
            bound(&store).await;
            clause(&store).await;
        }
    }
}

async fn bound(store: &dyn StateStore) {
    assert_eq!(store.checkpoint().await.expect("an answer"), None, "a new store is not bound");
    store.bind(&begin()).await.expect("to bind");
}
