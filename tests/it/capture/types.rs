//! Every built-in type arrives as its text, with its type, the same from the stream and the table.

use super::{Stream, chunks::of, names, prepare, target};
use crate::harness::{Postgres, Version, each_version};
use rowcall::{
    capture::{ChunkLimit, ChunkReader, PostgresChunks, PostgresReader, RowReader},
    model::{Cell, Field, Type},
};
use std::sync::Arc;

/// Column type, literal, the text it arrives as (`=` for the literal), its type.
fn columns(version: Version) -> Vec<(&'static str, &'static str, &'static str, Type)> {
    use Type::*;
    let array = |element| Array { element: Arc::new(element), delimiter: ',' };
    let range = |bound| Range(Arc::new(bound));
    let pair = Composite(
        [Field { name: "a".into(), ty: Int }, Field { name: "b c".into(), ty: array(Enum) }].into(),
    );
    let mut columns = vec![
        ("bool", "true", "t", Bool),
        ("smallint", "-32768", "=", Int),
        ("integer", "2147483647", "=", Int),
        ("bigint", "-9223372036854775808", "=", Int),
        ("oid", "4294967295", "=", Int),
        ("real", "0.1", "=", Float),
        ("double precision", "-Infinity", "=", Float),
        ("numeric", "12345678901234567890.123456789012345678901234567890", "=", Numeric),
        ("numeric(9,2)", "NaN", "=", Numeric),
        ("money", "1234.50", "$1,234.50", Money),
        ("text", "é ✓ \"quoted\"", "=", Text),
        ("varchar(5)", "abc", "=", Text),
        ("char(5)", "abc", "abc  ", Text),
        ("name", "abc", "=", Text),
        ("\"char\"", "x", "=", Text),
        ("bytea", "\\x00ff10", "=", Bytea),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "=", Uuid),
        ("json", "{\"a\": [1, null]}", "=", Json),
        ("jsonb", "{\"a\": [1, null]}", "=", Json),
        ("date", "infinity", "=", Date),
        ("date", "0044-03-15 BC", "=", Date),
        ("time", "23:59:59.123456", "=", Time),
        ("timetz", "23:59:59+05:30", "=", TimeTz),
        ("timestamp", "2020-02-29 12:00:00.5", "=", Timestamp),
        ("timestamptz", "2020-02-29 12:00:00.5+02", "2020-02-29 10:00:00.5+00", TimestampTz),
        ("timestamptz", "-infinity", "=", TimestampTz),
        ("interval", "1 year 2 mons 3 days 04:05:06.5", "=", Interval),
        ("integer[]", "{{1,2},{3,NULL}}", "=", array(Int)),
        ("text[]", "{\"a,b\",\"c\\\"d\",NULL,\"NULL\"}", "=", array(Text)),
        ("box[]", "{(1,1),(0,0)}", "=", Array { element: Arc::new(Other), delimiter: ';' }),
        ("int4range", "[1,10)", "=", range(Int)),
        ("tstzrange", "empty", "=", range(TimestampTz)),
        ("nummultirange", "{[1.5,2.5),[3,)}", "=", Multirange(Arc::new(Numeric))),
        ("mood", "good", "=", Enum),
        ("mood[]", "{good}", "=", array(Enum)),
        ("positive", "7", "=", Int),
        ("positive[]", "{7}", "=", array(Int)),
        ("pair", "(1,{good})", "=", pair.clone()),
        ("pair[]", "{\"(1,{good})\"}", "=", array(pair)),
        ("textrange", "[a,b)", "=", range(Text)),
        ("textmultirange", "{[a,b)}", "=", Multirange(Arc::new(Text))),
        ("inet", "10.0.0.1/8", "=", Other),
        ("bit(3)", "101", "=", Other),
        ("tsvector", "'a' 'b':2", "=", Other),
        ("point", "(1,2)", "=", Other),
        ("int2vector", "1 2", "=", Other),
        ("regclass", "pg_class", "=", Other),
        ("macaddr", "08:00:2b:01:02:03", "=", Other),
        ("pg_lsn", "16/B374D848", "=", Other),
    ];
    // Not every build of the server can do XML.
    if version == Version::V15 {
        columns.push(("xml", "<a>b</a>", "=", Other));
    }
    columns
}

each_version! {
    async fn every_type_arrives_as_its_text(version: Version) {
        let postgres = Postgres::start(version).await;
        // What a database or a role prefers must not show.
        postgres.execute(
            "create type mood as enum ('good', 'bad'); create domain positive as int check (value > 0);
             create domain more as positive; create type pair as (a more, \"b c\" mood[]);
             create type textrange as range (subtype = text, multirange_type_name = textmultirange);
             alter database postgres set DateStyle = 'German'; alter database postgres set IntervalStyle = 'iso_8601';
             alter role postgres set TimeZone = 'Asia/Kathmandu'; alter role postgres set bytea_output = 'escape';
             alter role postgres set extra_float_digits = -3",
        ).await;
        let columns = columns(version);
        let named = |(at, (ty, ..)): (usize, &(&str, _, _, _))| format!("c{at} {ty}");
        let sql: Vec<_> = columns.iter().enumerate().map(named).collect();
        postgres.execute(&format!("create table t (id int primary key, {}, none text)", sql.join(", "))).await;
        prepare(&postgres, &["t"]).await;
        let mut stream = Stream::open(&postgres).await;
        let values: Vec<_> =
            columns.iter().map(|(_, literal, ..)| format!("'{}'", literal.replace('\'', "''"))).collect();
        let insert = format!("insert into t values (1, {}, null)", values.join(", "));
        let insert = format!("begin; set local DateStyle = 'ISO'; {insert}; commit");
        let changes = stream.after(&postgres, &[&insert]).await;
        let row = changes[0].image.row().expect("a row");
        let reader = PostgresReader::new(rowcall::postgres::pool(&target(&postgres), 1));
        let read = reader.row(&names(&["t"])[0], &[("id".to_owned(), "1".to_owned())]).await;
        let read = read.expect("a read").expect("a row");
        for (at, (name, literal, text, ty)) in columns.iter().enumerate() {
            let text = if *text == "=" { literal } else { text };
            assert_eq!(row.cell(at + 1), Cell::Text(text), "{name}");
            assert_eq!(row.table.columns[at + 1].ty, *ty, "{name}");
            assert_eq!(read.cell(at + 1), Cell::Text(text), "{name}, read from the table");
            assert_eq!(read.table.columns[at + 1].ty, *ty, "{name}, read from the table");
        }
        assert_eq!((row.get("none"), read.get("none")), (Some(Cell::Null), Some(Cell::Null)));
        assert_eq!(row, &read);
        let chunks = PostgresChunks::new(rowcall::postgres::pool(&target(&postgres), 1));
        let chunk = chunks.chunk(&of("t", &["id"]), None, ChunkLimit { rows: 2, bytes: 1 << 20 }).await.expect("a chunk");
        let Some(read) = chunk.rows.first() else { panic!("no row") };
        for (at, (name, ..)) in columns.iter().enumerate() {
            assert_eq!(row.cell(at + 1), read.cell(at + 1), "{name}, read in a chunk");
        }
        assert_eq!((row, read.get("none")), (read, Some(Cell::Null)));
    }
}
