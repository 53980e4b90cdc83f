//! Tables read piece by piece.

use super::{cells, target};
use crate::harness::{Postgres, each_version, eventually, wait::LONG};
use rowcall::{
    capture::{Chunk, ChunkLimit, ChunkOf, ChunkReader, KeyValues, PostgresChunks, SourceError},
    model::{Cell, Row},
};
use std::time::Duration;
use tokio::task::JoinSet;

const FEW: ChunkLimit = ChunkLimit { rows: 7, bytes: 1 << 20 };

pub fn of(table: &str, key: &[&str]) -> ChunkOf {
    let key = key.iter().map(|it| (*it).to_owned()).collect();
    ChunkOf { table: table.parse().expect("a name"), key, filter: None, keys: None, until: None }
}

fn reader(postgres: &Postgres) -> PostgresChunks {
    PostgresChunks::new(rowcall::postgres::pool(&target(postgres), 2))
}

fn key(of: &ChunkOf, row: &Row) -> KeyValues {
    let value = |column: &String| match row.get(column) {
        Some(Cell::Text(text)) => text.to_owned(),
        other => panic!("a key of {other:?}"),
    };
    of.key.iter().map(value).collect()
}

fn keys(of: &ChunkOf, rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| key(of, row).join("/")).collect()
}

/// Every chunk, one behind the other.
async fn all(reader: &PostgresChunks, of: &ChunkOf, limit: ChunkLimit) -> Vec<Chunk> {
    let (mut chunks, mut after): (Vec<Chunk>, _) = (Vec::new(), None);
    while !chunks.last().is_some_and(|it| it.last) {
        let chunk = reader.chunk(of, after.as_ref(), limit).await.unwrap_or_else(|error| panic!("{error}"));
        after = chunk.rows.last().map(|row| key(of, row)).or(after);
        chunks.push(chunk);
    }
    chunks
}

async fn all_keys(reader: &PostgresChunks, of: &ChunkOf, limit: ChunkLimit) -> Vec<String> {
    all(reader, of, limit).await.iter().flat_map(|it| keys(of, &it.rows)).collect()
}

/// Tries again after what passes, as a run does.
async fn in_the_end(reader: &PostgresChunks, of: &ChunkOf) -> Result<Chunk, SourceError> {
    eventually("it is read, or cannot be", LONG, async || match reader.chunk(of, None, FEW).await {
        Err(error) if !error.is_final() => Err(error),
        done => Ok(done),
    })
    .await
}

async fn refused(reader: &PostgresChunks, of: &ChunkOf, saying: &[&str]) {
    let error = in_the_end(reader, of).await.expect_err("refused");
    for part in saying {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

each_version! {
    async fn paging_gives_every_row_once_in_the_order_of_any_kind_of_key(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(
            "create type size as enum ('small', 'medium', 'large'); create domain code as varchar(9);
             create type pair as (a int, b text);
             create table t (i int, b bigint, u uuid, d date, at timestamptz, n numeric, f float8, x text, c text collate \"C\",
                             v code, ch char(6), s size, by bytea, p pair, ok bool, \"odd \"\"name\" text, iv interval);
             insert into t select i, i * 5000000000, md5(i::text)::uuid, date '1999-12-20' + i,
                 timestamptz '2020-03-01 00:00:00.000001+02' + i * interval '7 hours 0.1 second', i / 7.0, i / 7.0,
                 chr(65 + i % 26) || case when i % 2 = 0 then 'é''\"\\,' else '-' end || i, chr(97 - 32 * (i % 2)) || i, 'v' || i, 'c' || i,
                 (array['small', 'medium', 'large'])[1 + i % 3]::size, decode(to_hex(i + 4096), 'hex'), row(i % 5, null)::pair, i % 2 = 0,
                 'o' || i, i * interval '1 hour'
               from generate_series(1, 40) i;
             insert into t values (null)",
        ).await;
        let reader = reader(&postgres);
        for columns in [
            &["i"][..], &["b"], &["u"], &["d"], &["at"], &["n"], &["f"], &["x"], &["c"], &["v"], &["ch"], &["by"], &["iv"],
            &["odd \"name"], &["s", "i"], &["p", "i"], &["ok", "x"], &["s", "ok", "u"],
        ] {
            let of = of("t", columns);
            let quoted: Vec<_> = columns.iter().map(|it| format!("t.\"{}\"", it.replace('"', "\"\""))).collect();
            let list = quoted.join(",");
            // In the order the server gives, as it counts them.
            let sql = format!("select string_agg(i::text, ',' order by {list}) from t where i is not null");
            let expected = postgres.text(&sql).await.expect("rows");
            let chunks = all(&reader, &of, FEW).await;
            assert_eq!(chunks.iter().map(|it| it.rows.len()).collect::<Vec<_>>(), [7, 7, 7, 7, 7, 5], "{columns:?}");
            let read: Vec<_> = chunks.iter().flat_map(|it| keys(&super::of("t", &["i"]), &it.rows)).collect();
            assert_eq!(read.join(","), expected, "{columns:?}");
            // As many rows as the last chunk may hold: it cannot know that there are no more.
            let chunks = all(&reader, &of, ChunkLimit { rows: 20, ..FEW }).await;
            assert_eq!(chunks.iter().map(|it| (it.rows.len(), it.last)).collect::<Vec<_>>(), [(20, false), (20, false), (0, true)]);
        }
    }

    async fn what_others_write_meanwhile_hides_no_row_and_shows_none_twice(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (a int, b text, n int, primary key (a, b));
                          insert into t select i / 10, 'k' || i, 0 from generate_series(1, 600) i").await;
        let reader = reader(&postgres);
        let of = of("t", &["a", "b"]);
        let mut writers = JoinSet::new();
        for writer in 0..2 {
            let client = postgres.client().await;
            writers.spawn(async move {
                for round in 0.. {
                    let (low, id) = (round % 60, format!("w{writer}-{round}"));
                    let sql = format!(
                        "insert into t values ({low}, '{id}', 1); update t set n = n + 1 where a = {low};
                         delete from t where b = 'w{writer}-{}'", round - 20
                    );
                    if client.batch_execute(&sql).await.is_err() {
                        return;
                    }
                }
            });
        }
        for _ in 0..5 {
            let read = all_keys(&reader, &of, ChunkLimit { rows: 25, ..FEW }).await;
            let (mut stay, mut sorted): (Vec<_>, Vec<_>) = (read.iter().filter(|it| it.contains("/k")).collect(), read.clone());
            assert_eq!(stay.len(), 600);
            stay.dedup();
            assert_eq!(stay.len(), 600);
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted.len(), read.len(), "a row was read twice");
        }
        writers.shutdown().await;
    }

    async fn a_chunk_ends_once_its_bytes_are_read(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, a text);
                          insert into t select i, repeat('x', case when i > 300 then 100000 else 10 end) from generate_series(1, 320) i").await;
        let (reader, of) = (reader(&postgres), of("t", &["id"]));
        let limit = ChunkLimit { rows: 1000, bytes: 250_000 };
        let chunks = all(&reader, &of, limit).await;
        for chunk in &chunks {
            let Some((_, before)) = chunk.rows.split_last() else { continue };
            assert!(before.iter().map(Row::bytes).sum::<usize>() < limit.bytes);
        }
        let read: Vec<_> = chunks.iter().flat_map(|it| keys(&of, &it.rows)).collect();
        assert_eq!(read, (1..=320).map(|it| it.to_string()).collect::<Vec<_>>());
        // A row that is larger than the limit comes alone, and one that allows none still moves on.
        let tiny = reader.chunk(&of, Some(&vec!["318".to_owned()]), ChunkLimit { rows: 0, bytes: 0 }).await.expect("a chunk");
        assert_eq!((keys(&of, &tiny.rows), tiny.last), (vec!["319".to_owned()], false));
        let end = reader.chunk(&of, Some(&vec!["320".to_owned()]), ChunkLimit { rows: 0, bytes: 0 }).await.expect("a chunk");
        assert!(end.rows.is_empty() && end.last);
        let end = reader.chunk(&of, Some(&vec!["319".to_owned()]), limit).await.expect("a chunk");
        assert!(end.rows.len() == 1 && end.last);
    }

    async fn only_what_is_wanted_is_read_and_what_has_no_row_is_told(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int, code text, on_hold bool, primary key (id, code));
                          insert into t select i, 'c\"' || i, i % 2 = 0 from generate_series(1, 100) i").await;
        let (reader, mut of) = (reader(&postgres), of("t", &["id", "code"]));
        assert_eq!(reader.estimate(&of).await.expect("a number"), 100);
        of.filter = Some("not t.on_hold or id = 2 -- not those;".to_owned());
        assert_eq!(reader.estimate(&of).await.expect("a number"), 51);
        let read = all_keys(&reader, &of, FEW).await;
        assert_eq!((read.len(), &*read[1]), (51, "2/c\"2"));
        let key = |id: &str, code: &str| vec![id.to_owned(), code.to_owned()];
        let wanted = vec![key("7", "c\"7"), key("1", "c\"1"), key("4", "c\"4"), key("7", "NULL"), key("200", "é\\")];
        of.keys = Some(wanted.clone());
        assert_eq!(all_keys(&reader, &of, ChunkLimit { rows: 1, ..FEW }).await, ["1/c\"1", "7/c\"7"]);
        assert_eq!(reader.estimate(&of).await.expect("a number"), 5);
        let absent = reader.absent(&of, &wanted).await.expect("a look");
        assert_eq!(absent.rows.iter().map(cells).collect::<Vec<_>>(), ["id=7,code=NULL,on_hold=?", "id=200,code=é\\,on_hold=?"]);
        of.keys = Some(Vec::new());
        assert!(all_keys(&reader, &of, FEW).await.is_empty());
        assert!(reader.absent(&of, &[]).await.expect("a look").rows.is_empty());
        let error = reader.absent(&of, &[vec!["1".to_owned()]]).await.expect_err("half a key");
        assert!(error.is_final() && error.to_string().contains("id, code"), "{error}");
    }

    async fn a_large_table_is_estimated_by_the_planner(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, part int, a char(1000)); alter table t alter a set storage plain;
                          insert into t select i, i % 10, 'x' from generate_series(1, 40000) i; analyze t").await;
        let (reader, mut of) = (reader(&postgres), of("t", &["id"]));
        let all = reader.estimate(&of).await.expect("a number");
        of.filter = Some("part = 3".to_owned());
        let part = reader.estimate(&of).await.expect("a number");
        assert!((30_000..50_000).contains(&all) && (2_000..8_000).contains(&part), "{all}, {part}");
    }

    async fn a_chunk_says_whose_changes_are_in_it_also_if_it_has_no_rows(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key)").await;
        let (reader, of) = (reader(&postgres), of("t", &["id"]));
        let client = postgres.client().await;
        client.batch_execute("begin; insert into t values (1)").await.expect("a row");
        let row = client.query_one("select pg_current_xact_id()::text", &[]).await.expect("a number");
        let transaction = row.get::<_, String>(0).parse::<u64>().expect("a number") as u32;
        let key = [vec!["1".to_owned()]];
        let before = reader.chunk(&of, None, FEW).await.expect("a chunk");
        let absent = reader.absent(&of, &key).await.expect("a look");
        assert!(before.rows.is_empty() && before.last && !before.visible.sees(transaction));
        assert!(absent.rows.len() == 1 && !absent.visible.sees(transaction));
        client.batch_execute("commit").await.expect("a commit");
        let after = reader.chunk(&of, None, FEW).await.expect("a chunk");
        let absent = reader.absent(&of, &key).await.expect("a look");
        assert!(after.rows.len() == 1 && after.visible.sees(transaction));
        assert!(absent.rows.is_empty() && absent.visible.sees(transaction));
    }

    async fn a_table_that_is_altered_between_chunks_shows_another_shape(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, a text); insert into t select i, 'x' from generate_series(1, 20) i").await;
        let (reader, of) = (reader(&postgres), of("t", &["id"]));
        let first = reader.chunk(&of, None, FEW).await.expect("a chunk");
        let after = first.rows.last().map(|row| key(&of, row));
        let same = reader.chunk(&of, after.as_ref(), FEW).await.expect("a chunk");
        assert_eq!(first.shape, same.shape);
        postgres.execute("alter table t drop a; alter table t add b int default 7; alter table t alter id type bigint;
                          insert into t values (5000000000)").await;
        let other = reader.chunk(&of, after.as_ref(), FEW).await.expect("a chunk");
        assert_ne!(first.shape, other.shape);
        assert_eq!(cells(&other.rows[0]), "id=8,b=7");
        let behind = reader.chunk(&of, Some(&vec!["4000000000".to_owned()]), FEW).await.expect("a chunk");
        assert_eq!(keys(&of, &behind.rows), ["5000000000"]);
    }

    async fn a_table_that_is_rewritten_while_it_is_to_be_read_never_looks_empty(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key); insert into t select generate_series(1, 5)").await;
        let (reader, of) = (reader(&postgres), of("t", &["id"]));
        reader.chunk(&of, None, FEW).await.expect("a chunk");
        let client = postgres.client().await;
        client.batch_execute("begin; alter table t alter id type bigint").await.expect("it is altered");
        let altering = async {
            eventually("the reader waits", LONG, async || {
                let waits = postgres.text("select count(*) from pg_locks where not granted").await;
                if waits.as_deref() == Some("1") { Ok(()) } else { Err(waits) }
            }).await;
            client.batch_execute("commit").await.expect("a commit");
        };
        let (chunk, ()) = tokio::join!(in_the_end(&reader, &of), altering);
        assert_eq!(keys(&of, &chunk.expect("a chunk").rows), ["1", "2", "3", "4", "5"]);
    }

    async fn what_cannot_be_read_says_what_to_do(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, a text, j json); insert into t values (1, 'x', '{}');
                          create role plain login; create view looks as select * from t").await;
        let (reader, with) = (reader(&postgres), of("t", &["id"]));
        let filtered = |filter: &str| ChunkOf { filter: Some(filter.to_owned()), ..with.clone() };
        refused(&reader, &filtered("nope > 1"), &["public.t", "filter `nope > 1`", "\"nope\" does not exist"]).await;
        refused(&reader, &filtered("id >"), &["filter `id >`"]).await;
        refused(&reader, &filtered("id = $1"), &["filter `id = $1`", "parameters"]).await;
        refused(&reader, &filtered("1 / (id - 1) > 0"), &["filter `1 / (id - 1) > 0`", "division by zero"]).await;
        refused(&reader, &of("t", &["j"]), &["public.t", "key (\"j\")"]).await;
        refused(&reader, &of("t", &["b"]), &["public.t", "`b`"]).await;
        refused(&reader, &of("t", &[]), &["public.t", "without a key"]).await;
        refused(&reader, &of("looks", &["id"]), &["public.looks", "view"]).await;
        let error = reader.chunk(&with, Some(&vec!["x".to_owned()]), FEW).await.expect_err("not a number");
        assert!(error.is_final() && error.to_string().contains("integer"), "{error}");

        let url = postgres.url_as("plain", "x").parse().expect("a URL");
        let other = PostgresChunks::new(rowcall::postgres::pool(&url, 1));
        refused(&other, &with, &["public.t", "grant select on \"public\".\"t\""]).await;
        postgres.execute("grant select on t to plain; alter table t enable row level security").await;
        refused(&other, &with, &["public.t", "row-level security"]).await;
        let error = other.absent(&with, &[vec!["1".to_owned()]]).await.expect_err("hidden is not absent");
        assert!(error.is_final(), "{error}");

        reader.chunk(&with, None, FEW).await.expect("a chunk");
        postgres.execute("alter table t rename id to key").await;
        refused(&reader, &with, &["public.t", "no column `id`"]).await;
        postgres.execute("drop view looks; drop table t").await;
        refused(&reader, &with, &["public.t does not exist"]).await;
    }

    async fn a_statement_does_not_run_for_ever_and_its_connection_is_of_use_again(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key); insert into t values (1)").await;
        let mut with = of("t", &["id"]);
        with.filter = Some("pg_sleep(600) is not null".to_owned());
        let pool = rowcall::postgres::pool(&target(&postgres), 1);
        let reader = PostgresChunks::new(pool).with_statement_timeout(Duration::from_millis(500));
        refused(&reader, &with, &["public.t", "index", "(\"id\")", "filter"]).await;
        with.filter = None;
        assert_eq!(in_the_end(&reader, &with).await.expect("a chunk").rows.len(), 1);
        assert_eq!(postgres.text("select count(*) from pg_stat_activity where state like 'idle in%'").await.as_deref(), Some("0"));
    }

    async fn a_connection_that_is_lost_is_no_reason_to_give_up(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key); insert into t values (1)").await;
        let mut with = of("t", &["id"]);
        let reader = reader(&postgres);
        with.filter = Some("pg_terminate_backend(pg_backend_pid())".to_owned());
        let error = reader.chunk(&with, None, FEW).await.expect_err("the connection is gone");
        assert!(!error.is_final(), "{error}");
        with.filter = None;
        assert_eq!(keys(&with, &in_the_end(&reader, &with).await.expect("a chunk").rows), ["1"]);
    }
}
