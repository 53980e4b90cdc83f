//! The demo's writer: seeded, and as varied as it claims.

use crate::harness::{Postgres, Version};
use rowcall::demo::{
    Dice,
    world::{Writer, compare, configuration, create, expected, seed},
};
use std::path::Path;

#[tokio::test]
async fn the_same_seed_makes_the_same_rows_whoever_else_writes() {
    let postgres = Postgres::start(Version::V16).await;
    let mut worlds = Vec::new();
    for database in ["one", "two"] {
        postgres.execute(&format!("create database {database}")).await;
        let mut client = postgres.client_of(database).await;
        create(&client).await.expect("the tables");
        create(&client).await.expect("again");
        seed(&client, 20).await.expect("the rows");
        let mut dice = Dice::new(7);
        let mut writers = [0, 1].map(|number| Writer::new(dice.split(), number, 2, 60));
        let (mut rolled_back, mut summaries) = (0, String::new());
        for turn in 0..600 {
            let written = writers[turn % 2].write(&mut client).await.expect("a transaction");
            rolled_back += usize::from(written.rolled_back);
            summaries += &written.summary;
        }
        assert!((30..150).contains(&rolled_back), "{rolled_back} of 600 rolled back");
        for kind in
            ["new customer", "renamed", "gone with", "is now", "new loan", "extended", "new collateral"]
        {
            assert!(summaries.contains(kind), "never: {kind}");
        }
        worlds.push(expected(&client).await.expect("its rows"));
    }
    assert!(worlds[0].len() > 50, "only {} objects are left", worlds[0].len());
    let comparison = compare(&worlds[0], &worlds[1]);
    assert!(comparison.is_equal(), "{comparison}");
}

#[tokio::test]
async fn a_wide_one_writes_what_is_rare() {
    let postgres = Postgres::start(Version::V16).await;
    let mut client = postgres.client().await;
    create(&client).await.expect("the tables");
    seed(&client, 20).await.expect("the rows");
    let mut writers = [0, 1].map(|number| Writer::new(Dice::new(7 + number), number, 2, 60).wide());
    let (mut most, mut summaries) = (0, String::new());
    let mut longest = 0;
    for turn in 0..1_500 {
        let written = writers[turn % 2].write(&mut client).await.expect("a transaction");
        most = most.max(written.rows);
        summaries += &written.summary;
        if turn % 50 == 0 {
            let row = client.query_one("select max(length(name)) from customers", &[]).await;
            longest = longest.max(row.expect("a row").get::<_, i32>(0));
        }
    }
    assert!(most > 1_000, "{most} rows in one transaction");
    assert!(longest > 100_000, "{longest} characters at most");
    for kind in ["long name", "called", "again", "at once", "is now", "gone with"] {
        assert!(summaries.contains(kind), "never: {kind}");
    }
}

#[test]
fn its_configuration_is_a_good_one() {
    let urls = ["postgres://postgres@/postgres?host=/tmp/a%20b&port=5432", "http://127.0.0.1:8080"];
    let yaml = configuration(urls[0], urls[1], "rowcall_demo");
    let loaded = rowcall::config::load_text("demo", &yaml, Path::new(""), &|_| None);
    let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
    assert_eq!(config.remotes["bank"].url, urls[1]);
    assert_eq!(config.entities.keys().collect::<Vec<_>>(), ["collateral", "customer", "loan"]);
}
