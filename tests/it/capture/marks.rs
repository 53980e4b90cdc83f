//! Marks in the log, found again in the stream.

use super::{ORIGIN, Stream, prepare, target};
use crate::harness::{Postgres, each_version};
use rowcall::{
    capture::{Captured, ChunkReader, PostgresChunks},
    model::Lsn,
};

/// What the stream yields up to and with the commit of the last mark, one word each.
async fn up_to(stream: &mut Stream, last: &str) -> Vec<String> {
    let (mut told, mut seen) = (Vec::new(), None);
    loop {
        for item in stream.next().await {
            match item {
                Captured::Change(change) => {
                    let id = change.image.row().and_then(|row| row.get("id"));
                    told.push(format!("{} {id:?}", change.op().name()));
                }
                Captured::Mark(mark) => {
                    told.push(mark.text.to_string());
                    seen = (&*mark.text == last).then_some(mark.commit);
                }
                Captured::Commit(commit) if seen == Some(commit.lsn) => return told,
                Captured::Commit(_) => {}
                Captured::Idle(_) => {}
            }
        }
    }
}

each_version! {
    async fn a_mark_arrives_between_what_was_committed_before_and_after_it(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key)").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        let chunks = PostgresChunks::new(rowcall::postgres::pool(&target(&postgres), 1));
        postgres.execute("insert into t values (1)").await;
        chunks.mark("first 'é'").await.expect("a mark");
        postgres.execute("insert into t values (2)").await;
        // What others write there is none of our business.
        postgres.execute("select pg_logical_emit_message(true, 'other', 'x')").await;
        postgres.execute("select pg_logical_emit_message(false, 'rowcall', 'x')").await;
        chunks.mark("second").await.expect("a mark");
        let told = up_to(&mut stream, "second").await;
        assert_eq!(told, ["insert Some(Text(\"1\"))", "first 'é'", "insert Some(Text(\"2\"))", "second"]);
    }

    async fn a_mark_under_our_own_origin_counts_though_rows_do_not(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key)").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        let client = postgres.client().await;
        let session = format!("select pg_replication_origin_create('{ORIGIN}'), pg_replication_origin_session_setup('{ORIGIN}')");
        client.batch_execute(&session).await.expect("an origin");
        client.batch_execute("insert into t values (1)").await.expect("a row");
        client.batch_execute("select pg_logical_emit_message(true, 'rowcall', 'ours')").await.expect("a mark");
        assert_eq!(up_to(&mut stream, "ours").await, ["ours"]);
    }

    async fn a_mark_is_flushed_also_where_commits_need_not_be(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("alter database postgres set synchronous_commit = off").await;
        let chunks = PostgresChunks::new(rowcall::postgres::pool(&target(&postgres), 1));
        let position = async |of: &str| -> Lsn {
            let text = postgres.text(&format!("select {of}()")).await.expect("a position");
            text.parse().expect("a position")
        };
        let before = position("pg_current_wal_insert_lsn").await;
        chunks.mark("here").await.expect("a mark");
        assert!(position("pg_current_wal_flush_lsn").await > before);
    }
}
