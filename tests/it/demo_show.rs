//! The demo says what is wrong when it cannot go on.

use crate::harness::{Postgres, Version, eventually, rowcall, wait::LONG};
use ::rowcall::demo::{Choices, Replicator, Shown, show};
use async_trait::async_trait;
use std::{
    io::{self, Write},
    sync::Arc,
};
use tokio::{sync::watch, time::timeout};

/// Does nothing, or ends as it is told to.
struct Idle {
    init: Result<(), String>,
    ends: Option<Result<(), String>>,
}

#[async_trait]
impl Replicator for Idle {
    async fn init(&self, configuration: &str) -> Result<(), String> {
        assert!(
            configuration.contains("rowcall_demo") && !configuration.contains("@NAME@"),
            "{configuration}"
        );
        self.init.clone()
    }

    async fn run(&self, _: &str, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        match &self.ends {
            Some(end) => end.clone(),
            None => {
                let _ = stop.wait_for(|stop| *stop).await;
                Ok(())
            }
        }
    }
}

/// A screen that can be watched.
struct Watched(watch::Sender<String>);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What it shows, and how it ends, when it is interrupted once it has counted rows.
async fn shown(database_url: String, idle: Idle) -> (String, Result<usize, String>) {
    let choices = Choices {
        database_url,
        bank: "127.0.0.1:0".to_owned(),
        customers: 10,
        rate: 50,
        seed: 1,
        seconds: None,
        terminal: false,
    };
    let mut screen = Watched(watch::Sender::default());
    let mut seen = screen.0.subscribe();
    let interrupted = async move {
        let counted = seen.wait_for(|text| text.contains(" rows "));
        let _ = timeout(LONG, counted).await.expect("it counts rows");
    };
    let result = show(&choices, Arc::new(idle), &mut screen, interrupted).await;
    let ended = match result {
        Ok(Shown::Interrupted(comparison)) => Ok(comparison.of),
        Ok(Shown::Judged(_)) => Err("it judged, though it was interrupted".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    (screen.0.borrow().clone(), ended)
}

#[tokio::test]
async fn it_counts_rows_in_and_ends_when_interrupted() {
    let postgres = Postgres::start(Version::V16).await;
    let (said, ended) = shown(postgres.url(), Idle { init: Ok(()), ends: None }).await;
    assert!(ended.is_ok_and(|objects| objects > 20), "{said}");
    assert!(said.contains("The bank listens on http://127.0.0.1:") && said.contains(" rows "), "{said}");
}

#[tokio::test]
async fn a_replicator_that_fails_or_just_ends_is_an_error() {
    let postgres = Postgres::start(Version::V16).await;
    for (number, (idle, expected)) in [
        (Idle { init: Err("no privilege".to_owned()), ends: None }, "the replicator stopped: no privilege"),
        (Idle { init: Ok(()), ends: Some(Err("slot lost".to_owned())) }, "the replicator stopped: slot lost"),
        (
            Idle { init: Ok(()), ends: Some(Ok(())) },
            "the replicator stopped: it ended, though nobody told it to",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        postgres.execute(&format!("create database d{number}")).await;
        let url = postgres.url_of(&format!("d{number}"));
        assert_eq!(shown(url, idle).await.1, Err(expected.to_owned()));
    }
}

#[tokio::test]
async fn a_database_with_tables_or_no_server_is_refused() {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute("create table mine (id int)").await;
    let idle = || Idle { init: Ok(()), ends: None };
    let refused = shown(postgres.url(), idle()).await.1.expect_err("not empty");
    assert!(refused.contains("holds 1 tables already: give it an empty one"), "{refused}");
    let refused = shown("postgres://nobody@127.0.0.1:1/x".to_owned(), idle()).await.1.expect_err("no server");
    assert!(refused.starts_with("cannot connect to the demo's database: "), "{refused}");
}

#[tokio::test]
async fn the_command_ends_by_itself_with_both_sides_equal_and_leaves_no_slot() {
    let postgres = Postgres::start(Version::V18).await;
    let args = ["demo", "--database-url", &postgres.url(), "--seconds", "2", "--customers", "20"];
    let output = rowcall(&args).await.expect_code(0);
    assert!(output.stdout.contains("EQUAL: ") && output.stderr.is_empty(), "{output:#?}");
    assert_eq!(postgres.text("select count(*) from pg_replication_slots").await.as_deref(), Some("0"));
    // It wants an empty database, and this one is not any more.
    let output = rowcall(&args).await.expect_code(1);
    assert!(output.stderr.contains("give it an empty one"), "{output:#?}");
}

#[tokio::test]
async fn its_dashboard_shows_routes_and_calls_while_it_runs() {
    let postgres = Postgres::start(Version::V16).await;
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let (admin, url) = (free.to_string(), postgres.url());
    let args = ["demo", "--database-url", &url, "--seconds", "10", "--customers", "20", "--admin", &admin];
    let get = async |path: &str| {
        let answer =
            reqwest::get(format!("http://{admin}{path}")).await.map_err(|error| error.to_string())?;
        answer.text().await.map_err(|error| error.to_string())
    };
    let seen = async || {
        eventually("it shows its routes and calls", LONG, async || {
            let (page, calls) = (get("/routes").await?, get("/api/v1/calls?entity=loan&limit=1").await?);
            let shown = page.contains("collateral") && calls.contains("\"step\"");
            if shown { Ok(()) } else { Err(calls) }
        })
        .await;
    };
    let (output, ()) = tokio::join!(rowcall(&args), seen());
    let output = output.expect_code(0);
    assert!(output.stdout.contains(&format!("The dashboard is at http://{admin}/.")), "{output:#?}");
}
