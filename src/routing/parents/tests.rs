use super::*;
use crate::{
    mapping::Names,
    model::{Cell, Change, ChangeId, Column, Image, RowBuilder, Table, TableId, Type},
};
use jiff::Timestamp;

fn keys(expression: &str, columns: &[&str]) -> Result<ParentKeys, String> {
    let list = Type::Array { element: Arc::new(Type::Int), delimiter: ',' };
    let cells = [
        ("id", Type::Int, Cell::Text("7")),
        ("ok", Type::Bool, Cell::Text("t")),
        ("at", Type::TimestampTz, Cell::Text("2024-05-01 10:00:00.25+02")),
        ("name", Type::Text, Cell::Text("a,b\\c")),
        ("none", Type::Int, Cell::Null),
        ("empty", Type::Text, Cell::Text("")),
        ("list", list, Cell::Text("{1,2,NULL,1}")),
        ("data", Type::Json, Cell::Text(r#"{"ids": [3, "x"], "one": 4}"#)),
        ("large", Type::Text, Cell::Unchanged),
    ];
    let column = |(name, ty, _): &(&str, Type, Cell<'_>)| Column {
        name: (*name).into(),
        ty: ty.clone(),
        identity: false,
    };
    let columns_of = cells.iter().map(column).collect();
    let table = Arc::new(Table { id: TableId(1), name: "t".parse().expect("a name"), columns: columns_of });
    let mut row = RowBuilder::default();
    cells.iter().for_each(|(.., cell)| row.push(*cell));
    let image = Image::Insert { new: row.finish(Arc::clone(&table)) };
    let (id, committed_at) = (ChangeId::default(), Timestamp::UNIX_EPOCH);
    let change = Change { id, table, image, committed_at, transaction: None };
    let work = Work { change: &change, key: "1", link: None, fetched: None, parents: None, uncertain: false };
    let key = Expression::parse(expression, &At::default(), &Names::default()).expect(expression);
    let parent = Parent { entity: "p".into(), route: RouteId(0), key: Arc::new(key), at: At::default() };
    let columns: Vec<String> = columns.iter().map(|it| (*it).to_owned()).collect();
    parent.keys(&work, &columns).map_err(|error| error.to_string())
}

fn found(expression: &str, columns: &[&str]) -> (Vec<String>, bool) {
    let ParentKeys { keys, is_list } = keys(expression, columns).expect(expression);
    (keys.iter().map(ToString::to_string).collect(), is_list)
}

#[test]
fn a_value_is_the_key_it_refers_to() {
    for (expression, expected) in [
        ("row.id", "7"),
        ("{{ row.id }}", "7"),
        ("row.ok", "t"),
        ("row.id == 7", "t"),
        // As Postgres prints it, and so as the parent's own key is written.
        ("row.at", "2024-05-01 10:00:00.25+02"),
        ("row.name", "a\\,b\\\\c"),
        ("row.id + 1", "8"),
        ("'x' + string(row.id)", "x7"),
        ("row.data.one", "4"),
    ] {
        assert_eq!(found(expression, &["id"]), (vec![expected.to_owned()], false), "{expression}");
    }
}

#[test]
fn null_and_nothing_refer_to_no_row() {
    for expression in ["row.none", "row.empty", "null", "row.data.?two", "row.none == null ? null : row.id"] {
        assert_eq!(found(expression, &["id"]), (vec![], false), "{expression}");
    }
}

#[test]
fn a_list_refers_to_each_row_once() {
    for (expression, expected) in [
        ("row.list", &["1", "2"][..]),
        ("row.data.ids", &["3", "x"]),
        ("[row.id, row.none, row.ok]", &["7", "t"]),
        ("[[row.id]]", &["7"]),
        ("[]", &[]),
    ] {
        let expected = expected.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(found(expression, &["id"]), (expected, true), "{expression}");
    }
}

#[test]
fn a_key_of_several_columns_is_a_list_of_as_many_values() {
    let columns = ["year", "name"];
    assert_eq!(found("[row.id, row.name]", &columns), (vec!["7,a\\,b\\\\c".to_owned()], false));
    // As in a foreign key: one null, and it refers to nothing.
    assert_eq!(found("[row.id, row.none]", &columns), (vec![], false));
    assert_eq!(found("row.none", &columns), (vec![], false));
    let several = found("[[row.id, 'a'], [row.none, 'b'], [8, 'c']]", &columns);
    assert_eq!(several, (vec!["7,a".to_owned(), "8,c".to_owned()], true));
}

#[test]
fn what_is_no_key_says_so() {
    for (expression, columns, message) in [
        ("row.data", &["id"][..], "a key is text, a number or a list of them, but it is an object"),
        ("row.large", &["id"], "replica identity full"),
        (
            "row.id",
            &["year", "no"],
            "the key of `p` has 2 columns (year, no), so a list of as many values is wanted, not of 1",
        ),
        ("[1, 2, 3]", &["year", "no"], "not of 3"),
        ("[[1, [2]]]", &["year", "no"], "is a list itself"),
        (
            "row.name.replace('a', row.name).split('').map(c, row.name + row.name).join(row.name).replace('a', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
            &["id"],
            "at most 1024",
        ),
    ] {
        let error = keys(expression, columns).expect_err(expression);
        assert!(error.contains(message), "{expression}: {error}");
    }
}
