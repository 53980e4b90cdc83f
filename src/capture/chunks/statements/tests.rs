use super::*;
use crate::model::{Column, Table, TableId, Type};

/// A table `t` of an integer `id`, a domain `"odd ""name"`, a character `c` and a row `r`.
fn known() -> Described {
    let columns = [
        ("id", 23, "integer", Type::Int),
        ("odd \"name", 99_999, "app.code", Type::Text),
        ("c", 1042, "bpchar", Type::Text),
        ("r", 99_998, "app.pair", Type::Composite([].into())),
    ];
    let table = Table {
        id: TableId(77),
        name: "app.t".parse().expect("a name"),
        columns: columns
            .iter()
            .map(|(name, _, _, ty)| Column { name: (*name).into(), ty: ty.clone(), identity: false })
            .collect(),
    };
    let in_sql = columns.map(|(name, oid, sql, _)| (name, oid, sql));
    Described::of(table, "sig", &in_sql)
}

fn of(key: &[&str]) -> ChunkOf {
    ChunkOf {
        table: "app.t".parse().expect("a name"),
        key: key.iter().map(|it| (*it).to_owned()).collect(),
        filter: None,
        keys: None,
        until: None,
    }
}

#[test]
fn rows_are_read_in_the_order_of_their_keys_and_values_printed_as_the_stream_does() {
    let sql = rows(&known(), &of(&["id"]), false, 10);
    let concat =
        |name: &str| format!("case when {name} is distinct from null then pg_catalog.concat({name}) end");
    let expected = format!(
        "select /* sig */ \"id\"::pg_catalog.text, {}, {}, {} from \"app\".\"t\" where \"id\" is not null order by \"app\".\"t\".\"id\" limit 10",
        concat("\"odd \"\"name\""),
        concat("\"c\""),
        concat("\"r\"")
    );
    assert_eq!(sql, expected);
}

#[test]
fn what_was_read_and_what_is_not_wanted_is_left_out_with_parameters_in_their_order() {
    let mut of = of(&["id", "odd \"name", "r"]);
    of.filter = Some(" id > 5 -- new ones;; ".to_owned());
    of.keys = Some(vec![
        ["1", "a\"\\,b", "(1,2)"].map(str::to_owned).to_vec(),
        ["2", "NULL", "é"].map(str::to_owned).to_vec(),
    ]);
    let sql = rows(&known(), &of, true, 10);
    let expected = "where \"id\" is not null and \"odd \"\"name\" is not null and \"r\" is distinct from null \
        and (\"id\",\"odd \"\"name\",\"r\") > ($1,$2,$3::app.pair) \
        and (\"id\",\"odd \"\"name\",\"r\") in (select * from unnest($4::integer[],$5::app.code[],$6::app.pair[])) \
        and (id > 5 -- new ones\n) order by \"app\".\"t\".\"id\",\"app\".\"t\".\"odd \"\"name\",\"app\".\"t\".\"r\" limit 10";
    assert!(sql.ends_with(expected), "{sql}");
    let after = ["0", "x", "y"].map(str::to_owned).to_vec();
    let values = given(&of, Some(&after));
    assert_eq!(
        values,
        ["0", "x", "y", r#"{"1","2"}"#, r#"{"a\"\\,b","NULL"}"#, r#"{"(1,2)","é"}"#],
        "as many as there are parameters"
    );
}

#[test]
fn keys_without_a_row_are_told_by_their_place_whatever_the_filter_says() {
    let mut of = of(&["id", "c"]);
    of.filter = Some("false".to_owned());
    let expected = "select k.at from unnest($1::integer[],$2::bpchar[]) with ordinality as k(k1,k2,at) where not exists \
        (select from \"app\".\"t\" it where it.\"id\" = k.k1 and it.\"c\" = k.k2) order by k.at";
    assert_eq!(absent(&known(), &of), expected);
}

#[test]
fn no_keys_at_all_are_an_empty_array() {
    assert_eq!(arrays(2, &[]), ["{}", "{}"]);
}
