//! The stream as a whole: resuming, acknowledging, staying connected, staying small.

use super::{Stream, confirmed, options, prepare, saved, target, told};
use crate::harness::{Postgres, Version, each_version, eventually, postgres::Stop, wait::LONG};
use rowcall::{
    capture::{
        Budget, Captured, ChangeSource, SourceError,
        logical::{LogicalSource, identify},
    },
    model::Lsn,
};

async fn with_table(version: Version) -> Postgres {
    let postgres = Postgres::start(version).await;
    postgres.execute("create table t (id int primary key); create table unrouted (id int)").await;
    prepare(&postgres, &["t", "unrouted"]).await;
    postgres
}

each_version! {
    async fn resuming_where_we_stopped_delivers_nothing_twice_and_nothing_less(version: Version) {
        let postgres = with_table(version).await;
        let mut stream = Stream::open(&postgres).await;
        let before = stream.after(&postgres, &["insert into t values (1)", "insert into t values (2)"]).await;
        let end = stream.end;
        let twice = stream.after(&postgres, &["insert into t values (3), (4)"]).await;
        assert_eq!(told(&before), ["insert t id=1", "insert t id=2"]);
        // Nothing was acknowledged, so the slot still has it all: what is sent depends on the start.
        stream.source.close().await;
        let mut stream = Stream::from(&postgres, end).await;
        let again = stream.rest(&postgres).await;
        assert_eq!(told(&again), ["insert t id=3", "insert t id=4"]);
        let ids = |changes: &[rowcall::model::Change]| changes.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&twice), "a change keeps its id");
    }

    async fn what_is_acknowledged_reaches_the_slot_also_when_we_stop_at_once(version: Version) {
        let postgres = with_table(version).await;
        let mut stream = Stream::open(&postgres).await;
        stream.after(&postgres, &["insert into t values (1)"]).await;
        assert!(confirmed(&postgres).await < stream.end);
        stream.acknowledge().await;
        stream.source.close().await;
        assert!(confirmed(&postgres).await >= stream.end, "the final status was not sent");

        let mut stream = Stream::open(&postgres).await;
        assert!(stream.after(&postgres, &["insert into t values (2)"]).await.len() == 1);
        stream.acknowledge().await;
        let end = stream.end;
        eventually("the slot moves while we stream", LONG, async || {
            let confirmed = confirmed(&postgres).await;
            if confirmed >= end { Ok(()) } else { Err(confirmed) }
        }).await;
    }

    async fn a_slow_reader_keeps_its_connection_and_its_memory(version: Version) {
        let postgres = Postgres::with(version).conf("wal_sender_timeout = 3s").start().await;
        postgres.execute("create table t (id int primary key, a text)").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        // Far more than the budget and the sockets hold.
        postgres.execute("insert into t select i, repeat('x', 1000) from generate_series(1, 30000) i").await;
        let sql = "select pid from pg_stat_replication where now() - backend_start > interval '8 seconds'";
        eventually("the connection outlives the timeout unread", LONG, async || {
            postgres.text(sql).await.ok_or("it is younger, or gone")
        }).await;
        let used = stream.budget.used();
        assert!(used > 0 && used < 2 * stream.budget.limit(), "{used} bytes are held");
        assert_eq!(stream.rest(&postgres).await.len(), 30_000);
        assert_eq!(postgres.text("select count(*) from pg_stat_replication").await.as_deref(), Some("1"));
    }

    async fn a_database_without_routed_changes_still_lets_the_slot_move(version: Version) {
        let postgres = with_table(version).await;
        let mut stream = Stream::open(&postgres).await;
        postgres.execute("insert into unrouted values (1)").await;
        let here: Lsn = postgres.text("select pg_current_wal_insert_lsn()").await.expect("a position")
            .parse().expect("a position");
        while stream.end < here {
            for item in stream.next().await {
                match item {
                    Captured::Idle(position) => stream.end = position,
                    other => panic!("{other:?}"),
                }
            }
            // Nothing else happens in this database, so the server has to be shown something.
            postgres.execute("insert into unrouted values (1)").await;
        }
        stream.acknowledge().await;
        let end = stream.end;
        eventually("the slot moves", LONG, async || {
            let confirmed = confirmed(&postgres).await;
            if confirmed >= end { Ok(()) } else { Err(confirmed) }
        }).await;
    }

    async fn the_server_stops_and_says_who_it_is_when_it_is_back(version: Version) {
        let mut postgres = with_table(version).await;
        let before = identify(&target(&postgres)).await.expect("an identity");
        let stream = Stream::open(&postgres).await;
        assert_eq!(stream.source.identity().system_id, before.system_id);
        drop(stream);
        postgres.execute("insert into t values (1)").await;
        // On a thread of its own: stopping the server blocks this one.
        let url = postgres.url();
        let (opened, is_open) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || read_until_the_end(&url, &opened, true));
        is_open.recv().expect("the stream is open");
        postgres.stop(Stop::Fast).await;
        let (end, error) = reading.join().expect("the reader");
        assert!(!error.is_final(), "{error}");
        postgres.start_again().await;
        let after = identify(&target(&postgres)).await.expect("an identity");
        assert_eq!((after.system_id, after.timeline), (before.system_id, before.timeline));
        let mut stream = Stream::from(&postgres, end).await;
        assert_eq!(told(&stream.after(&postgres, &["insert into t values (2)"]).await), ["insert t id=2"]);
    }
}

#[tokio::test]
async fn a_server_that_stops_is_not_held_up_by_changes_that_are_not_settled() {
    let mut postgres = with_table(Version::V16).await;
    let url = postgres.url();
    let (opened, is_open) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || read_until_the_end(&url, &opened, false));
    is_open.recv().expect("the stream is open");
    postgres.execute("insert into t values (1)").await;
    postgres.stop(Stop::Fast).await;
    let (_, error) = reading.join().expect("the reader");
    assert!(!error.is_final(), "{error}");
    postgres.start_again().await;
    assert_eq!(told(&Stream::open(&postgres).await.rest(&postgres).await), ["insert t id=1"]);
}

/// Reads and acknowledges whatever comes until the connection ends: a server that is stopped in
/// order waits for that.
fn read_until_the_end(
    url: &str,
    opened: &std::sync::mpsc::Sender<()>,
    acknowledge: bool,
) -> (Lsn, SourceError) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let target = url.parse().expect("a URL");
        let budget = Budget::new(1 << 20);
        let mut source = eventually("the slot is free", LONG, async || {
            LogicalSource::open(&target, options(Lsn::ZERO, &budget)).await
        })
        .await;
        opened.send(()).expect("the test listens");
        let mut end = Lsn::ZERO;
        loop {
            match source.next().await {
                Ok(batch) => {
                    for item in batch.expect("the stream goes on") {
                        match item {
                            Captured::Commit(commit) => end = commit.end,
                            Captured::Idle(position) => end = position,
                            Captured::Change(change) => budget.free(change.bytes()),
                            Captured::Mark(_) => {}
                        }
                    }
                    if acknowledge {
                        source.acknowledge(&saved(end).await);
                    }
                }
                Err(error) => return (end, error),
            }
        }
    })
}
