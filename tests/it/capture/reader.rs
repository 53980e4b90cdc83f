//! Rows read as they are now.

use super::{cells, names, target};
use crate::harness::{Postgres, each_version};
use rowcall::{
    capture::{PostgresReader, RowReader},
    model::Type,
};
use serde_json::json;

fn reader(postgres: &Postgres) -> PostgresReader {
    PostgresReader::new(rowcall::postgres::pool(&target(postgres), 2))
}

fn key(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect()
}

each_version! {
    async fn a_row_is_read_by_its_key_whatever_the_keys_type(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(
            "create table t (id int, at timestamptz, code varchar(3), u uuid, \"odd name\" bool, primary key (id, at));
             insert into t values (1, '2020-01-01 12:00+02', 'abc', '00000000-0000-0000-0000-000000000001', true), (2, '2020-01-01', null, null, null)",
        ).await;
        let reader = reader(&postgres);
        let t = &names(&["t"])[0];
        let row = async |pairs: &[(&str, &str)]| {
            reader.row(t, &key(pairs)).await.map(|row| row.map(|row| cells(&row)))
        };
        let whole = "id=1,at=2020-01-01 10:00:00+00,code=abc,u=00000000-0000-0000-0000-000000000001,odd name=t";
        assert_eq!(row(&[("id", "1"), ("at", "2020-01-01 10:00:00+00")]).await.expect("a read").as_deref(), Some(whole));
        assert_eq!(row(&[("odd name", "t")]).await.expect("a read").as_deref(), Some(whole));
        assert_eq!(row(&[("u", "00000000-0000-0000-0000-000000000001")]).await.expect("a read").as_deref(), Some(whole));
        assert_eq!(row(&[("code", "abcd")]).await.expect("a read"), None, "a longer text is not cut to fit");
        assert_eq!(row(&[("id", "3")]).await.expect("a read"), None);
        assert!(row(&[("id", "x")]).await.expect_err("not a number").to_string().contains("integer"));
        assert!(row(&[("nope", "x")]).await.expect_err("no column").to_string().contains("`nope`"));

        postgres.execute("alter table t add extra int default 7; alter table t drop code").await;
        let changed = row(&[("id", "2")]).await.expect("a read");
        assert_eq!(changed.as_deref(), Some("id=2,at=2020-01-01 00:00:00+00,u=null,odd name=null,extra=7"));
    }

    async fn a_table_is_described_by_the_catalog(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create type mood as enum ('good'); create table t (a text, m mood[], id int primary key);
                          create table empty ()").await;
        let reader = reader(&postgres);
        let table = reader.describe(&names(&["t"])[0]).await.expect("a look").expect("a table");
        let columns: Vec<_> = table.columns.iter().map(|it| (&*it.name, it.identity)).collect();
        assert_eq!(columns, [("a", false), ("m", false), ("id", true)]);
        assert_eq!(table.columns[1].ty, Type::Array { element: Type::Enum.into(), delimiter: ',' });
        assert!(reader.describe(&names(&["empty"])[0]).await.expect("a look").is_some_and(|it| it.columns.is_empty()));
        assert!(reader.describe(&names(&["nothing"])[0]).await.expect("a look").is_none());
    }

    async fn a_query_of_ones_own_gives_its_first_row_with_exact_numbers(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute("create table t (id bigint primary key, n numeric);
                          insert into t values (9007199254740993, 0.1000000000000000000001)").await;
        let reader = reader(&postgres);
        let id = ["9007199254740993".to_owned(), "second".to_owned()];
        let fetched = reader.fetch("select id, n, $2::text as s from t where id = $1; -- the end", &id).await;
        let fetched = fetched.expect("a row").expect("a row");
        assert_eq!(fetched.to_string(), r#"{"id":9007199254740993,"n":0.1000000000000000000001,"s":"second"}"#);
        assert_eq!(reader.fetch("select id from t where id = $1", &id).await.expect("a row").expect("a row")["id"].to_string(), id[0]);
        assert_eq!(reader.fetch("select 1 where $1 = 'x'", &id).await.expect("no row"), None);
        assert_eq!(reader.fetch("select true as yes", &[]).await.expect("a row"), Some(json!({"yes": true})));
        let error = reader.fetch("select $2::int", &id[..1]).await.expect_err("one key value");
        assert!(error.is_final() && error.to_string().contains("$2"), "{error}");
        let error = reader.fetch("select nope from t", &id).await.expect_err("no column");
        assert!(error.is_final() && error.to_string().contains("nope"), "{error}");
    }
}
