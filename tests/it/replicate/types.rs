//! Every built-in type, from the column to the body, through a real server.

use crate::harness::{Live, each_version};

/// Column type, SQL literal, the JSON in the body.
const TYPES: &[(&str, &str, &str)] = &[
    ("bool", "true", "true"),
    ("smallint", "-32768", "-32768"),
    ("int", "2147483647", "2147483647"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("oid", "4294967295", "4294967295"),
    ("real", "0.1", "0.1"),
    ("float8", "1e300", "1e+300"),
    ("float8", "NaN", "\"NaN\""),
    ("float8", "-Infinity", "\"-Infinity\""),
    (
        "numeric",
        "12345678901234567890.123456789012345678901234567890",
        "12345678901234567890.123456789012345678901234567890",
    ),
    ("numeric(9,3)", "0.1", "0.100"),
    ("numeric", "NaN", "\"NaN\""),
    ("numeric", "Infinity", "\"Infinity\""),
    ("money", "1234.5", "\"$1,234.50\""),
    ("text", "é \"q\" \\ \n\t", "\"é \\\"q\\\" \\\\ \\n\\t\""),
    ("varchar(5)", "abc", "\"abc\""),
    ("char(5)", "abc", "\"abc  \""),
    ("name", "abc", "\"abc\""),
    ("bytea", "\\x00ff10", "\"AP8Q\""),
    ("uuid", "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""),
    ("json", "{\"b\": 1.10, \"a\": [null]}", "{\"b\":1.10,\"a\":[null]}"),
    ("jsonb", "{\"a\": [1, null, \"x\"]}", "{\"a\":[1,null,\"x\"]}"),
    ("date", "2024-02-29", "\"2024-02-29\""),
    ("date", "infinity", "\"infinity\""),
    ("date", "0044-03-15 BC", "\"-0043-03-15\""),
    ("time", "23:59:59.123456", "\"23:59:59.123456\""),
    ("timetz", "23:59:59+05:30", "\"23:59:59+05:30\""),
    ("timestamp", "2020-02-29 12:00:00.5", "\"2020-02-29T12:00:00.5\""),
    ("timestamptz", "2020-02-29 12:00:00+02", "\"2020-02-29T10:00:00Z\""),
    ("timestamptz", "-infinity", "\"-infinity\""),
    ("interval", "1 year 2 mons 3 days 04:05:06.5", "\"P1Y2M3DT4H5M6.5S\""),
    ("interval", "-1 day", "\"P-1D\""),
    ("int[]", "{{1,2},{3,NULL}}", "[[1,2],[3,null]]"),
    ("text[]", "{\"a,b\",NULL,\"NULL\",\"\"}", "[\"a,b\",null,\"NULL\",\"\"]"),
    ("numeric[]", "{1.50}", "[1.50]"),
    ("jsonb[]", "{\"{\\\"a\\\": 1}\"}", "[{\"a\":1}]"),
    ("box[]", "{(1,1),(0,0)}", "[\"(1,1),(0,0)\"]"),
    ("int4range", "[1,10)", "{\"lower\":1,\"upper\":10,\"bounds\":\"[)\"}"),
    ("numrange", "(1.5,]", "{\"lower\":1.5,\"upper\":null,\"bounds\":\"()\"}"),
    ("tstzrange", "empty", "{\"empty\":true}"),
    (
        "int8multirange",
        "{[1,3),[5,)}",
        "[{\"lower\":1,\"upper\":3,\"bounds\":\"[)\"},{\"lower\":5,\"upper\":null,\"bounds\":\"[)\"}]",
    ),
    ("mood", "so so", "\"so so\""),
    ("mood[]", "{\"so so\"}", "[\"so so\"]"),
    ("positive", "7", "7"),
    ("pair", "(1,\"{good,\"\"so so\"\"}\")", "{\"n\":1,\"the moods\":[\"good\",\"so so\"]}"),
    ("pair[]", "{\"(1,)\"}", "[{\"n\":1,\"the moods\":null}]"),
    ("inet", "10.0.0.1/8", "\"10.0.0.1/8\""),
    ("cidr", "10.0.0.0/8", "\"10.0.0.0/8\""),
    ("macaddr", "08:00:2b:01:02:03", "\"08:00:2b:01:02:03\""),
    ("bit(3)", "101", "\"101\""),
    ("varbit", "10", "\"10\""),
    ("tsvector", "'a':1", "\"'a':1\""),
    ("tsquery", "'a' & 'b'", "\"'a' & 'b'\""),
    ("point", "(1,2)", "\"(1,2)\""),
    ("pg_lsn", "16/B374D848", "\"16/B374D848\""),
    ("jsonpath", "$.\"a\"", "\"$.\\\"a\\\"\""),
];

const ENTITY: &str = "
  t:
    table: t
    upsert: [{ put: '/objects/t/{{ row.id }}', body: { row: '{{ row }}' } }]";

each_version! {
    async fn every_type_is_in_the_body_without_loss(version: Version) {
        let columns: String = (0..TYPES.len()).map(|at| format!(", c{at} {}", TYPES[at].0)).collect();
        let types = "create type mood as enum ('good', 'so so'); create domain positive as int check (value > 0);
            create type pair as (n positive, \"the moods\" mood[]);";
        let live = Live::new(version, &format!("{types} create table t (id int primary key{columns}, none text)"), ENTITY)
            .await;
        // What the database prefers must not show.
        live.postgres.execute(
            "alter database postgres set DateStyle = 'German'; alter database postgres set TimeZone = 'Asia/Kathmandu';
             alter database postgres set bytea_output = 'escape'; alter database postgres set extra_float_digits = -3;
             alter database postgres set IntervalStyle = 'sql_standard'",
        ).await;
        let values: String = TYPES.iter().map(|(_, text, _)| format!(", '{}'", text.replace('\'', "''"))).collect();
        let _service = live.run();
        let insert = format!("set DateStyle = 'ISO'; set IntervalStyle = 'postgres'; insert into t values (1{values}, null)");
        live.after(&[&insert]).await;
        let calls = live.calls();
        let body = calls[0].strip_prefix("PUT /objects/t/1 ").expect("a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        for (at, (name, text, expected)) in TYPES.iter().enumerate() {
            assert_eq!(body["row"][format!("c{at}")].to_string(), *expected, "{name} {text}");
        }
        assert!(body["row"]["none"].is_null());
    }
}
