use super::*;
use crate::model::Field;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn written(ty: &Type, text: &str) -> Result<String, Malformed> {
    let mut out = Vec::new();
    write_json(ty, text, &mut out)?;
    Ok(String::from_utf8(out).expect("JSON is UTF-8"))
}

fn array(element: Type) -> Type {
    Type::Array { element: Arc::new(element), delimiter: ',' }
}

fn composite(fields: &[(&str, Type)]) -> Type {
    Type::Composite(fields.iter().map(|(name, ty)| Field { name: (*name).into(), ty: ty.clone() }).collect())
}

#[test]
fn every_type_has_its_json() {
    use Type::*;
    let pair = composite(&[("id", Int), ("name", Text)]);
    for (ty, text, expected) in [
        (Bool, "t", "true"),
        (Bool, "f", "false"),
        (Int, "-9223372036854775808", "-9223372036854775808"),
        (Int, "4294967295", "4294967295"),
        (Float, "1.5", "1.5"),
        (Float, "1e+20", "1e+20"),
        (Float, "-0", "-0"),
        (Float, "NaN", "\"NaN\""),
        (Float, "-Infinity", "\"-Infinity\""),
        (Numeric, "0.10", "0.10"),
        (
            Numeric,
            "-12345678901234567890123456789012345678901234567890.000",
            "-12345678901234567890123456789012345678901234567890.000",
        ),
        (Numeric, "NaN", "\"NaN\""),
        (Numeric, "Infinity", "\"Infinity\""),
        (Money, "$1,000.50", "\"$1,000.50\""),
        (Text, "a \"b\" \\ \n é", "\"a \\\"b\\\" \\\\ \\n é\""),
        (Text, "", "\"\""),
        (Bytea, "\\xdeadBEEF", "\"3q2+7w==\""),
        (Bytea, "\\x", "\"\""),
        (Bytea, "a\\\\b\\001", "\"YVxiAQ==\""),
        (Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""),
        (Json, "{\"a\": 1.10, \"b\": [null]}", "{\"a\": 1.10, \"b\": [null]}"),
        (Date, "2024-05-01", "\"2024-05-01\""),
        (Timestamp, "2024-05-01 10:00:00.123456", "\"2024-05-01T10:00:00.123456\""),
        (TimestampTz, "2024-05-01 10:00:00+05:30", "\"2024-05-01T04:30:00Z\""),
        (TimestampTz, "-infinity", "\"-infinity\""),
        (Time, "10:00:00", "\"10:00:00\""),
        (TimeTz, "10:00:00-08", "\"10:00:00-08:00\""),
        (Interval, "1 year 2 mons 3 days 04:05:06.789", "\"P1Y2M3DT4H5M6.789S\""),
        (Enum, "active", "\"active\""),
        (Other, "192.168.0.0/24", "\"192.168.0.0/24\""),
        (array(Int), "{}", "[]"),
        (array(Int), "{1,NULL,-3}", "[1,null,-3]"),
        (array(Int), "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (array(Int), "[0:1]={7,8}", "[7,8]"),
        (array(Int), "[-1:0][2:2]={{7},{8}}", "[[7],[8]]"),
        (array(Numeric), "{0.10,NaN}", "[0.10,\"NaN\"]"),
        (
            array(Text),
            r#"{a,"b c","NULL",NULL,"","x\"y\\z","{,}"}"#,
            r#"["a","b c","NULL",null,"","x\"y\\z","{,}"]"#,
        ),
        (array(TimestampTz), "{\"2024-05-01 10:00:00+02\"}", "[\"2024-05-01T08:00:00Z\"]"),
        (
            Array { element: Arc::new(Other), delimiter: ';' },
            "{(1,1),(0,0);(2,2),(1,1)}",
            "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]",
        ),
        (array(Json), r#"{"{\"a\": 1}"}"#, r#"[{"a": 1}]"#),
        (pair.clone(), "(1,)", r#"{"id":1,"name":null}"#),
        (pair.clone(), "(,\"\")", r#"{"id":null,"name":""}"#),
        (pair.clone(), r#"(7,"a ""b"" (c), \\d")"#, r#"{"id":7,"name":"a \"b\" (c), \\d"}"#),
        (array(pair.clone()), r#"{"(1,\"a b\")","(2,)"}"#, r#"[{"id":1,"name":"a b"},{"id":2,"name":null}]"#),
        (
            composite(&[("list", array(Int)), ("of", pair)]),
            r#"("{1,2}","(3,""x y"")")"#,
            r#"{"list":[1,2],"of":{"id":3,"name":"x y"}}"#,
        ),
        (Range(Arc::new(Int)), "[1,10)", r#"{"lower":1,"upper":10,"bounds":"[)"}"#),
        (Range(Arc::new(Int)), "(,)", r#"{"lower":null,"upper":null,"bounds":"()"}"#),
        (Range(Arc::new(Int)), "empty", r#"{"empty":true}"#),
        (
            Range(Arc::new(Timestamp)),
            r#"["2024-01-01 00:00:00",infinity]"#,
            r#"{"lower":"2024-01-01T00:00:00","upper":"infinity","bounds":"[]"}"#,
        ),
        (Range(Arc::new(Text)), r#"["a,""b""","\\]")"#, r#"{"lower":"a,\"b\"","upper":"\\]","bounds":"[)"}"#),
        (Multirange(Arc::new(Int)), "{}", "[]"),
        (
            Multirange(Arc::new(Int)),
            "{[1,3),[5,)}",
            r#"[{"lower":1,"upper":3,"bounds":"[)"},{"lower":5,"upper":null,"bounds":"[)"}]"#,
        ),
    ] {
        let json = written(&ty, text);
        assert_eq!(json.as_deref(), Ok(expected), "{ty:?} {text}");
        // A value in an expression is the same as the value written directly.
        let mut by_value = Vec::new();
        read(&ty, text).expect(text).write_json(&mut by_value).expect(text);
        let same = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("JSON");
        if ty != Float {
            assert_eq!(same(&by_value), same(expected.as_bytes()), "{ty:?} {text}");
        }
    }
}

#[test]
fn intervals_are_iso_durations_with_the_sign_of_each_part() {
    for (text, expected) in [
        ("00:00:00", Some("PT0S")),
        // Both printed by PostgreSQL 15.
        ("8 mons 26 days -27:30:32.271", Some("P8M26DT-27H-30M-32.271S")),
        ("-3 mons +5 days 15:29:38.902", Some("P-3M5DT15H29M38.902S")),
        ("2 years 10 mons -22 days -18:25:28.169", Some("P2Y10M-22DT-18H-25M-28.169S")),
        ("1 day", Some("P1D")),
        ("-1 years -2 mons +3 days -04:05:06", Some("P-1Y-2M3DT-4H-5M-6S")),
        ("-1 days +02:03:00", Some("P-1DT2H3M")),
        ("1 mon -00:00:00.5", Some("P1MT-0.5S")),
        ("100:00:00.000001", Some("PT100H0.000001S")),
        ("P1Y2M-3DT4H5M6.789S", Some("P1Y2M-3DT4H5M6.789S")),
        ("PT0S", Some("PT0S")),
        ("infinity", Some("infinity")),
        ("", None),
        ("P", None),
        ("1", None),
        ("1 day 1", None),
        ("1 week", None),
        ("04:05", None),
        ("04:05:06 1 day", None),
        ("@ 1 day", None),
    ] {
        assert_eq!(interval::iso(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn malformed_text_is_an_error_that_names_the_column() {
    use Type::*;
    let pair = composite(&[("id", Int), ("name", Text)]);
    for (ty, text) in [
        (Bool, "maybe"),
        (Int, "1.5x"),
        (Numeric, "1."),
        (Numeric, ".5"),
        (Numeric, "01"),
        (Float, "1e"),
        (Bytea, "\\xabc"),
        (Bytea, "\\9"),
        (Json, "{\"a\":}"),
        (Date, "01.05.2024"),
        (Date, "2024-13-01"),
        (array(Int), "{1,2"),
        (array(Int), "{1,,2}"),
        (array(Int), "{1}x"),
        (array(Int), "1"),
        (array(Int), "{\"1"),
        (array(Int), "{{{{{{{1}}}}}}}"),
        (pair.clone(), "(1)"),
        (pair.clone(), "(1,a,b)"),
        (pair, "(1,\"a)"),
        (Range(Arc::new(Int)), "[1,2"),
        (Range(Arc::new(Int)), "[1)"),
        (Multirange(Arc::new(Int)), "{[1,2)"),
        (Multirange(Arc::new(Int)), "{[1,2)[3,4)}"),
    ] {
        let malformed = written(&ty, text).expect_err(text);
        let fault = malformed.in_column("amount", text);
        assert!(fault.message.starts_with("column `amount`: "), "{}", fault.message);
        assert!(read(&ty, text).is_err(), "{text}");
    }
}

/// Prints arrays as Postgres' `array_out` does.
fn print_array(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("{{{}}}", items.iter().map(print_array).collect::<Vec<_>>().join(",")),
        Value::Null => "NULL".to_owned(),
        Value::String(text) => {
            let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace();
            if text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                text.clone()
            }
        }
        other => other.to_string(),
    }
}

/// Prints composites as Postgres' `record_out` does.
fn print_record(values: &[Option<String>]) -> String {
    let field = |value: &Option<String>| match value {
        None => String::new(),
        Some(text) => {
            let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || c.is_ascii_whitespace();
            if text.is_empty() || text.contains(special) {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
            } else {
                text.clone()
            }
        }
    };
    format!("({})", values.iter().map(field).collect::<Vec<_>>().join(","))
}

fn awkward() -> impl Strategy<Value = String> {
    r#"([a-z"\\{},() \[\]é\t]|NULL|null){0,8}"#
}

proptest! {
    #[test]
    fn arrays_of_text_come_back_as_they_were(items in prop::collection::vec(prop::option::of(awkward()), 0..6)) {
        let value = json!(items);
        let json = written(&array(Type::Text), &print_array(&value)).expect("an array");
        prop_assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), value);
    }

    #[test]
    fn nested_arrays_come_back_as_they_were(rows in prop::collection::vec(prop::collection::vec(any::<i64>(), 2), 1..4)) {
        let value = json!(rows);
        let json = written(&array(Type::Int), &print_array(&value)).expect("an array");
        prop_assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), value);
    }

    #[test]
    fn composites_come_back_as_they_were_also_in_arrays(
        rows in prop::collection::vec((prop::option::of(awkward()), prop::option::of(awkward())), 1..4),
    ) {
        let ty = composite(&[("a", Type::Text), ("b", Type::Text)]);
        let printed: Vec<String> = rows.iter().map(|(a, b)| print_record(&[a.clone(), b.clone()])).collect();
        let values: Vec<Value> = rows.iter().map(|(a, b)| json!({ "a": a, "b": b })).collect();
        for (printed, value) in printed.iter().zip(&values) {
            let json = written(&ty, printed).expect("a composite");
            prop_assert_eq!(&serde_json::from_str::<Value>(&json).expect("JSON"), value);
        }
        let json = written(&array(ty), &print_array(&json!(printed))).expect("an array");
        prop_assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), json!(values));
    }

    #[test]
    fn ranges_come_back_as_they_were(lower in prop::option::of(awkward()), upper in prop::option::of(awkward())) {
        // Bounds are quoted as the fields of composites are, for brackets too.
        let quoted = |it: &Option<String>| it.as_ref().map_or_else(String::new, |text| {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
        });
        let printed = format!("[{},{})", quoted(&lower), quoted(&upper));
        let value = json!({ "lower": lower, "upper": upper, "bounds": "[)" });
        let json = written(&Type::Range(Arc::new(Type::Text)), &printed).expect("a range");
        prop_assert_eq!(&serde_json::from_str::<Value>(&json).expect("JSON"), &value);
        let many = written(&Type::Multirange(Arc::new(Type::Text)), &format!("{{{printed},{printed}}}")).expect("ranges");
        prop_assert_eq!(serde_json::from_str::<Value>(&many).expect("JSON"), json!([value, value]));
    }

    #[test]
    fn numeric_text_is_kept_digit_by_digit(text in "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,40})?") {
        prop_assert_eq!(written(&Type::Numeric, &text).expect("a number"), text.clone());
        let mut by_value = Vec::new();
        read(&Type::Numeric, &text).expect("a number").write_json(&mut by_value).expect("JSON");
        prop_assert_eq!(String::from_utf8(by_value).expect("text"), text);
    }

    #[test]
    fn no_text_makes_any_type_panic(text in r#"[-+\[\](){}"\\,;:. TPBCxN0-9aé]{0,24}"#) {
        use Type::*;
        let pair = composite(&[("a", Int), ("b", array(Text))]);
        for ty in [Bool, Int, Float, Numeric, Bytea, Json, Date, Time, TimeTz, Timestamp, TimestampTz, Interval,
            array(Int), array(pair.clone()), pair.clone(), Range(Arc::new(Date)), Multirange(Arc::new(pair))] {
            if let Ok(json) = written(&ty, &text) {
                prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{:?} {} {}", ty, text, json);
            }
            let _ = read(&ty, &text);
        }
    }
}

/// Printed by PostgreSQL 15 in the time zone Asia/Kolkata.
#[test]
fn what_a_server_printed_is_read() {
    use Type::*;
    let pair = composite(&[("id", Int), ("name", Text)]);
    let boxes = Array { element: Arc::new(Other), delimiter: ';' };
    for (ty, text, expected) in [
        (
            array(pair.clone()),
            r#"{"(1,\"a \"\"b\"\" \\\\ c, (d)\")","(,\"\")","(2,)"}"#,
            json!([{ "id": 1, "name": r#"a "b" \ c, (d)"# }, { "id": null, "name": "" }, { "id": 2, "name": null }]),
        ),
        (
            array(Text),
            r#"{a,"",NULL,"null","x y","{",",","é\"\\"}"#,
            json!(["a", "", null, "null", "x y", "{", ",", "é\"\\"]),
        ),
        (array(Int), "[2:3][0:0]={{1},{2}}", json!([[1], [2]])),
        (
            Range(Arc::new(TimestampTz)),
            r#"["2024-01-01 00:00:00+05:30",infinity)"#,
            json!({ "lower": "2023-12-31T18:30:00Z", "upper": "infinity", "bounds": "[)" }),
        ),
        (TimestampTz, "0044-03-15 17:53:28+05:53:28 BC", json!("-0043-03-15T12:00:00Z")),
        (TimestampTz, "1890-01-01 05:21:10+05:21:10", json!("1890-01-01T00:00:00Z")),
        (Timestamp, "294276-12-31 00:00:00", json!("+294276-12-31T00:00:00")),
        (Date, "5874897-12-31", json!("+5874897-12-31")),
        (TimeTz, "10:00:00.5+05:30", json!("10:00:00.5+05:30")),
        (Time, "24:00:00", json!("24:00:00")),
        (
            composite(&[("p", pair), ("l", array(Int))]),
            r#"("(1,""x""""y"")","{1,2}")"#,
            json!({ "p": { "id": 1, "name": "x\"y" }, "l": [1, 2] }),
        ),
        (array(Other), r#"{"(1,2)"}"#, json!(["(1,2)"])),
        (boxes, "{(1,1),(0,0);(2,2),(1,1)}", json!(["(1,1),(0,0)", "(2,2),(1,1)"])),
        (array(Bytea), r#"{"\\x01"}"#, json!(["AQ=="])),
        (array(Range(Arc::new(Int))), r#"{"[1,5)"}"#, json!([{ "lower": 1, "upper": 5, "bounds": "[)" }])),
        (array(Timestamp), r#"{"2024-01-01 00:00:00"}"#, json!(["2024-01-01T00:00:00"])),
        (Bytea, r"a\\\000\377'", json!("YVwA/yc=")),
        (Other, r#""a"=>"b""#, json!(r#""a"=>"b""#)),
    ] {
        let json = written(&ty, text).expect(text);
        assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), expected, "{text}");
    }
}
