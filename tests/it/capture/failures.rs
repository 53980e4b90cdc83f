//! What cannot be streamed says so, and says what to do.

use super::{Stream, options, prepare, target};
use crate::harness::{Postgres, Version, each_version};
use rowcall::{
    capture::{Budget, ChangeSource, SourceError, logical::LogicalSource},
    model::Lsn,
};

async fn refusal(postgres: &Postgres, start: Lsn) -> SourceError {
    let budget = Budget::new(1 << 20);
    match LogicalSource::open(&target(postgres), options(start, &budget)).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

fn is_final(error: &SourceError, saying: &[&str]) {
    assert!(error.is_final(), "{error}");
    for part in saying {
        assert!(error.to_string().contains(part), "{error}");
    }
}

each_version! {
    async fn a_slot_that_another_process_reads_is_waited_for(version: Version) {
        let postgres = Postgres::start(version).await;
        prepare(&postgres, &[]).await;
        let mut stream = Stream::open(&postgres).await;
        let pid = postgres.text("select pid from pg_stat_replication").await.expect("the first reader");
        match refusal(&postgres, Lsn::ZERO).await {
            SourceError::SlotInUse { slot, pid: by } => assert_eq!((slot.as_str(), by), ("rowcall", pid)),
            other => panic!("{other}"),
        }
        stream.source.close().await;
        Stream::open(&postgres).await;
    }

    async fn a_missing_slot_or_publication_is_final(version: Version) {
        let postgres = Postgres::start(version).await;
        is_final(&refusal(&postgres, Lsn::ZERO).await, &["slot `rowcall` does not exist", "rowcall init"]);
        prepare(&postgres, &[]).await;
        postgres.execute("drop publication rowcall").await;
        is_final(&refusal(&postgres, Lsn::ZERO).await, &["publication `rowcall` does not exist"]);
    }

    async fn a_publication_dropped_while_streaming_never_leaves_changes_out_silently(version: Version) {
        let postgres = Postgres::start(version).await;
        prepare(&postgres, &[]).await;
        let mut stream = Stream::open(&postgres).await;
        stream.rest(&postgres).await;
        postgres.execute("drop publication rowcall").await;
        postgres.execute("insert into fence values (99)").await;
        let error = loop {
            match stream.source.next().await {
                Ok(batch) => drop(batch),
                Err(error) => break error,
            }
        };
        is_final(&error, &["publication `rowcall` does not exist"]);
    }

    async fn a_checkpoint_behind_the_slot_is_noticed(version: Version) {
        let postgres = Postgres::start(version).await;
        prepare(&postgres, &[]).await;
        let mut stream = Stream::open(&postgres).await;
        stream.rest(&postgres).await;
        let early = stream.end;
        stream.rest(&postgres).await;
        stream.acknowledge().await;
        stream.source.close().await;
        is_final(&refusal(&postgres, early).await, &["past the checkpoint", &early.to_string()]);
    }

    async fn a_slot_of_another_kind_or_database_is_refused(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create publication rowcall").await;
        postgres.execute("select pg_create_physical_replication_slot('rowcall')").await;
        is_final(&refusal(&postgres, Lsn::ZERO).await, &["physical"]);
        postgres.execute("select pg_drop_replication_slot('rowcall')").await;
        postgres.execute("create database other").await;
        let other = format!("postgres://postgres@127.0.0.1:{}/other", postgres.port());
        let client = rowcall::postgres::connect(&other.parse().expect("a URL")).await.expect("a connection");
        let sql = "select pg_create_logical_replication_slot('rowcall', 'pgoutput')";
        client.batch_execute(sql).await.expect("a slot");
        is_final(&refusal(&postgres, Lsn::ZERO).await, &["belongs to database `other`"]);
    }
}

#[tokio::test]
async fn a_role_that_may_not_replicate_is_told_so() {
    let postgres = Postgres::start(Version::V16).await;
    prepare(&postgres, &[]).await;
    postgres.execute("create role plain login").await;
    let url = postgres.url_as("plain", "x").parse().expect("a URL");
    let budget = Budget::new(1);
    match LogicalSource::open(&url, options(Lsn::ZERO, &budget)).await {
        Err(error) => is_final(&error, &["REPLICATION"]),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn log_that_was_removed_is_final() {
    let setup = Postgres::with(Version::V16).conf("max_slot_wal_keep_size = 1MB").conf("max_wal_size = 32MB");
    let postgres = setup.start().await;
    prepare(&postgres, &[]).await;
    for _ in 0..4 {
        postgres
            .execute("select pg_switch_wal(), pg_logical_emit_message(false, 'x', repeat('x', 1000))")
            .await;
    }
    postgres.execute("checkpoint").await;
    is_final(&refusal(&postgres, Lsn::ZERO).await, &["is lost", "`rowcall init --rebind`"]);
}
