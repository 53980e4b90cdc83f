//! What each kind of table and each replica identity gives.

use super::{ORIGIN, Stream, cells, prepare, told};
use crate::harness::{Postgres, each_version};
use rowcall::model::{Image, Type};

each_version! {
    async fn a_value_the_update_did_not_touch_is_unchanged_and_never_null(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, large text, small text);
                          alter table t alter large set storage external").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        let changes = stream.after(&postgres, &[
            "insert into t values (1, repeat('x', 10000), 'a')",
            "update t set small = 'b'",
            "update t set large = null",
        ]).await;
        let large = format!("insert t id=1,large={},small=a", "x".repeat(10_000));
        assert_eq!(told(&changes), [large.as_str(), "update t id=1,large=?,small=b", "update t id=1,large=null,small=b"]);
    }

    async fn each_replica_identity_gives_what_it_keeps(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(
            "create table by_key (id int primary key, a text);
             create table by_index (id int primary key, code text not null, a text);
             create unique index by_code on by_index (code);
             alter table by_index replica identity using index by_code;
             create table whole (id int primary key, a text);
             alter table whole replica identity full;
             create table keyless (a text);
             alter table keyless replica identity full",
        ).await;
        prepare(&postgres, &["by_key", "by_index", "whole", "keyless"]).await;
        let mut stream = Stream::open(&postgres).await;
        let mut run = async |sql: &[&str]| stream.after(&postgres, sql).await;

        let by_key = run(&["insert into by_key values (1, 'a')", "update by_key set a = 'b'",
                           "update by_key set id = 2", "delete from by_key"]).await;
        assert_eq!(told(&by_key), ["insert by_key id=1,a=a", "update by_key id=1,a=b",
            "delete by_key id=1,a=?", "insert by_key id=2,a=b", "delete by_key id=2,a=?"]);
        assert_eq!((by_key[2].id.ordinal, by_key[3].id.ordinal), (0, 1));

        let by_index = run(&["insert into by_index values (1, 'x', 'a')", "update by_index set id = 2",
                             "update by_index set code = 'y'", "delete from by_index"]).await;
        assert_eq!(told(&by_index), ["insert by_index id=1,code=x,a=a", "update by_index id=2,code=x,a=a",
            "delete by_index id=?,code=x,a=?", "insert by_index id=2,code=y,a=a", "delete by_index id=?,code=y,a=?"]);

        let whole = run(&["insert into whole values (1, 'a')", "update whole set a = 'b'",
                          "update whole set id = 2", "delete from whole"]).await;
        assert_eq!(told(&whole), ["insert whole id=1,a=a", "update whole id=1,a=b",
            "delete whole id=1,a=b", "insert whole id=2,a=b", "delete whole id=2,a=b"]);
        let Image::Update { old: Some(old), .. } = &whole[1].image else { panic!("{:?}", whole[1]) };
        assert_eq!(cells(old), "id=1,a=a");
        assert!(whole[0].table.columns[0].identity && !whole[0].table.columns[1].identity, "the primary key");

        let keyless = run(&["insert into keyless values ('a')", "update keyless set a = 'b'"]).await;
        assert_eq!(told(&keyless), ["insert keyless a=a", "update keyless a=b"]);
    }

    async fn a_partitioned_table_is_one_table(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(
            "create table root (id int, at date, a text, primary key (id, at)) partition by range (at);
             create table leaf_1 partition of root for values from ('2020-01-01') to ('2021-01-01');
             create table leaf_2 (a text, id int not null, at date not null);
             alter table root attach partition leaf_2 for values from ('2021-01-01') to ('2022-01-01')",
        ).await;
        prepare(&postgres, &["root"]).await;
        let mut stream = Stream::open(&postgres).await;
        let changes = stream.after(&postgres, &[
            "insert into root values (1, '2020-05-05', 'a'), (2, '2021-05-05', 'b')",
            "update root set a = 'c' where id = 2",
            "update root set at = '2021-06-06' where id = 1",
            "delete from root where id = 2",
            "truncate root",
        ]).await;
        assert_eq!(told(&changes), [
            "insert root id=1,at=2020-05-05,a=a", "insert root id=2,at=2021-05-05,a=b",
            "update root id=2,at=2021-05-05,a=c",
            "delete root id=1,at=2020-05-05,a=?", "insert root id=1,at=2021-06-06,a=a",
            "delete root id=2,at=2021-05-05,a=?", "truncate root",
        ]);
    }

    async fn a_table_that_is_altered_is_followed(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key, a text); create type mood as enum ('good')").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        let changes = stream.after(&postgres, &[
            "insert into t values (1, 'a')",
            "begin; insert into t values (2, 'b'); alter table t add m mood default 'good'; insert into t values (3, 'c'); commit",
            "alter table t rename a to name; insert into t values (4, 'd')",
            "alter table t drop name; insert into t values (5)",
            "alter table t alter id type bigint; insert into t values (6)",
        ]).await;
        assert_eq!(told(&changes), [
            "insert t id=1,a=a", "insert t id=2,a=b", "insert t id=3,a=c,m=good",
            "insert t id=4,name=d,m=good", "insert t id=5,m=good", "insert t id=6,m=good",
        ]);
        assert_eq!(changes[2].table.columns[2].ty, Type::Enum);
    }

    async fn a_truncate_is_one_change_for_each_routed_table(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table a (id int primary key); create table b (id int primary key);
                          create table unrouted (id int primary key)").await;
        prepare(&postgres, &["a", "b", "unrouted"]).await;
        let mut stream = Stream::open(&postgres).await;
        let changes = stream.after(&postgres, &["insert into unrouted values (1)", "truncate a, unrouted, b"]).await;
        let mut tables = told(&changes);
        tables.sort();
        assert_eq!(tables, ["truncate a", "truncate b"]);
        assert_ne!(changes[0].id, changes[1].id);
    }

    async fn our_own_writes_are_left_out_and_other_origins_are_not(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id int primary key)").await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        for (id, origin) in [(1, ORIGIN), (2, "elsewhere")] {
            let sql = format!("select pg_replication_origin_create('{origin}')");
            postgres.execute(&sql).await;
            let client = postgres.client().await;
            let sql = format!("select pg_replication_origin_session_setup('{origin}'); insert into t values ({id})");
            for statement in sql.split("; ") {
                client.batch_execute(statement).await.expect("to write as an origin");
            }
        }
        assert_eq!(told(&stream.rest(&postgres).await), ["insert t id=2"]);
    }
}
