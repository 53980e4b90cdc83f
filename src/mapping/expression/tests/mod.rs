mod limits;
mod values;

use super::*;
use crate::{
    mapping::Locator,
    model::{Answer, Answered, ChangeId, Column, Lsn, Op, RowBuilder, Table, TableId, Type},
};
use serde_json::{Map, json};

/// Owns what a scope borrows.
pub(in crate::mapping) struct World {
    pub row: Option<Row>,
    pub old: Option<Row>,
    pub link: Option<Map<String, Value>>,
    pub saved: Map<String, Value>,
    pub answers: Vec<Answered>,
    pub answer: Option<Answer>,
    pub item: Option<Value>,
    pub fetched: Option<Value>,
    pub parents: Map<String, Value>,
}

pub(in crate::mapping) fn row(columns: &[(&str, Type, Cell<'_>)]) -> Row {
    let column = |(name, ty, _): &(&str, Type, Cell<'_>)| Column {
        name: (*name).into(),
        ty: ty.clone(),
        identity: false,
    };
    let table = Table {
        id: TableId(1),
        name: "public.loans".parse().expect("a name"),
        columns: columns.iter().map(column).collect(),
    };
    let mut builder = RowBuilder::default();
    columns.iter().for_each(|(_, _, cell)| builder.push(*cell));
    builder.finish(Arc::new(table))
}

fn object(json: Value) -> Map<String, Value> {
    match json {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

impl World {
    pub fn new() -> Self {
        let text = Cell::Text;
        let row = row(&[
            ("id", Type::Int, text("42")),
            ("name", Type::Text, text(" Ann \"A\" ")),
            ("status", Type::Enum, text("active")),
            ("amount", Type::Numeric, text("1234.505")),
            ("long", Type::Numeric, text("123456789012345678901234567890.12345")),
            ("rate", Type::Float, text("0.1")),
            ("ok", Type::Bool, text("t")),
            ("phone", Type::Text, text("+49 (0) 30 1234-567")),
            ("nothing", Type::Text, Cell::Null),
            ("notes", Type::Text, Cell::Unchanged),
            ("due", Type::Date, text("2024-05-01")),
            ("made", Type::TimestampTz, text("2024-05-01 10:00:00.25+02")),
            (
                "data",
                Type::Json,
                text(r#"{"a": {"b": 1.10}, "list": [1, "x", null], "big": 18446744073709551616}"#),
            ),
            ("tags", Type::Array { element: Arc::new(Type::Text), delimiter: ',' }, text("{a,b}")),
            ("bad", Type::Int, text("x")),
        ]);
        let answer = Answer {
            status: 201,
            headers: [("etag", "7"), ("etag", "8")].into(),
            body: r#"{"id": 12345678901234567890, "ok": true}"#.into(),
        };
        Self {
            row: Some(row),
            old: None,
            link: Some(object(json!({ "loan_id": "L-1" }))),
            saved: object(json!({ "fee": 3 })),
            answers: vec![
                Answered { step: "create".into(), answer: answer.clone() },
                Answered { step: "create#2".into(), answer: Answer { status: 409, ..answer.clone() } },
            ],
            answer: Some(answer),
            item: Some(json!({ "n": 1 })),
            fetched: None,
            parents: object(json!({ "customer": { "remote_id": "C-9" }, "tag": [{}, {}] })),
        }
    }

    pub fn names() -> Names {
        let columns =
            ["id", "name", "status", "amount", "long", "rate", "ok", "phone", "nothing", "notes", "due"];
        Names::default()
            .with_columns(columns.into_iter().chain(["made", "data", "tags", "bad"]))
            .with_saved(["loan_id", "fee", "other"])
            .with_steps(["create", "update"])
            .with_answer()
            .with_item()
            .with_fetched()
            .with_parent("customer", ["remote_id"])
            .with_parent("branch", ["code"])
            .with_parent::<&str>("tag", [])
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope {
            row: self.row.as_ref(),
            old: self.old.as_ref(),
            op: Op::Update,
            key: "42",
            link: self.link.as_ref(),
            fetched: self.fetched.as_ref(),
            parents: Some(&self.parents),
            change: ChangeId { commit: Lsn::new(0x16_B374_D848), ordinal: 3 },
            committed_at: "2024-05-01T08:00:00.5Z".parse().expect("a timestamp"),
            saved: &self.saved,
            answers: &self.answers,
            answer: self.answer.as_ref(),
            members: None,
            index: None,
            body: None,
            item: self.item.as_ref(),
            outcome: None,
        }
    }
}

fn at() -> At {
    Locator::default().at("x")
}

/// The value's JSON text, or the short message.
pub(in crate::mapping) fn value(text: &str) -> Result<String, String> {
    let world = World::new();
    let expression = Expression::parse(text, &at(), &World::names())
        .map_err(|error| format!("load: {}", error.short()))?;
    match expression.value(&world.scope()) {
        Ok(Evaluated::Value(value)) => Ok(value.to_string()),
        Ok(Evaluated::Unchanged) => Ok("unchanged".to_owned()),
        Err(error) => Err(error.short()),
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    for (text, expected) in [
        ("row.notes + 'x'", "not known"),
        ("row.notes == 'x'", "replica identity full"),
        ("link.other", "nothing is saved as `other`"),
        ("saved.other", "has not been saved in this sequence"),
        ("answers.update.status", "has not run for this change"),
        ("old.id", "not known"),
        ("fetched.x", "returned no row"),
        ("row.data.zz", "there is no `zz` in the object"),
        ("row.data.list[9]", "there is no item 9 in a list of 3"),
        ("row.nothing.phone()", "`phone` wants a value, but it is null"),
        ("row.nothing.x", "this is null"),
        ("row.id.x", "an integer has no fields"),
        ("row.bad", "column `bad`: `x` is not an integer"),
        ("row.name + 1", "`string(x)` makes text"),
        ("row.name == 1", "never equal"),
        ("row.name < 1", "have no order"),
        ("row.long > 1", "28 digits"),
        ("row.long + 1", "28 digits"),
        ("1 / 0", "division by zero"),
        ("row.amount / 0", "division by zero"),
        ("9223372036854775807 + 1", "64-bit"),
        ("row.id ? 1 : 2", "must be true or false"),
        ("row.id && true", "must be true or false"),
        ("'x'.lookup({'a': 1})", "`x` is not in the table"),
        ("'abc'.phone()", "`a` does not belong there"),
        ("'12'.phone()", "too few"),
        ("'+1234567890123456'.phone()", "too many"),
        ("'x'.fixed(2)", "`decimal(x)` makes a number"),
        ("'x'.date('yyyy')", "wants a date or timestamp"),
        ("int('1.5')", "no 64-bit integer"),
        ("decimal('1,5')", "is no number"),
        ("{'a': 1, 'a': 2}", "is there twice"),
        ("1 in 2", "`in` wants a list"),
        ("link.?other", "it is missing here"),
        ("row.id.orValue(1)", "follows `x.?y`"),
        ("answers", "the answers as a whole is no value"),
        ("row.made > row.due", "cannot be compared"),
        ("row.made > 'soon'", "cannot be compared"),
    ] {
        let message = value(text).expect_err(text);
        assert!(!message.starts_with("load"), "{text}: {message}");
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn errors_at_load_point_at_the_part_that_is_wrong() {
    for (text, part, expected) in [
        ("row.amout.fixed(2)", "amout", "the table has no column `amout`; did you mean `amount`?"),
        ("'é' + row['amout']", "'amout'", "did you mean `amount`?"),
        ("has(row.amout)", "amout", "did you mean `amount`?"),
        ("row.?amout", "amout", "did you mean `amount`?"),
        ("rwo.id", "rwo", "did you mean `row`?"),
        ("amount", "amount", "a column is `row.amount`"),
        ("row.phone.phon()", "phon", "there is no function `phon`; did you mean `phone`?"),
        ("upper(row.name)", "upper", "written behind the value"),
        ("row.id.string()", "string", "written around the value"),
        ("row.id.fixed()", "fixed", "takes 1 arguments, not 0"),
        ("link.loanid", "loanid", "no step saves `loanid`; did you mean `loan_id`?"),
        ("answers.updat.status", "updat", "did you mean `update`?"),
        ("answer.code", "code", "there are `status`, `headers`, `body`, `text`"),
        ("row.due.date('YYYY')", "'YYYY'", "means nothing in a date pattern"),
        ("'x'.matches('(')", "'('", "not a pattern"),
        ("[1].map(a, [2].map(b, [3].map(c, 1)))", "map", "nested more than 2 deep"),
        ("b'x'", "b'x'", "no byte strings"),
        ("Foo{a: 1}", "{", "no types here"),
        ("optional.some(1)", "some", "there is no `optional.some`"),
        ("has(row)", "(", "`has` wants one field"),
        ("1 +", "", "ends too early"),
        ("(1", "", "ends too early: `)` is missing"),
        ("row.id = 1", "=", "equality is `==`"),
        ("row.ok and row.id", "a", "`and` is written `&&`"),
        ("'é' + 'abc", "'", "no closing quote"),
        ("row.größe", "ö", "`row['…']`"),
        ("'é' + row.id x", "x", "`x` does not belong here"),
        ("row..id", ".", "`.` does not belong here"),
        ("{'a' 1}", "1", "`:` is missing here"),
        ("row.ok ? 1", "", "a part is missing"),
        ("if", "i", "`if` is a reserved word"),
        ("99999999999999999999", "9", "invalid int literal"),
        ("", "", "is empty"),
    ] {
        let error = Expression::parse(text, &at(), &World::names()).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
        let lines: Vec<&str> = error.lines().collect();
        let [_, line, carets] = *lines else { panic!("{text}: {error}") };
        let start = carets.find('^').expect("a caret");
        let pointed: String = line.chars().skip(start).take(carets.len() - start).collect();
        if !part.is_empty() {
            assert_eq!(pointed, part, "{text}: {error}");
        }
    }
}

#[test]
fn names_are_only_known_where_they_mean_something() {
    let load =
        |text, names: &Names| Expression::parse(text, &at(), names).map(drop).map_err(|error| error.short());
    let bare = Names::default();
    for text in ["answer.status", "item", "fetched.x"] {
        assert!(load(text, &bare).is_err_and(|it| it.contains("is known only")), "{text}");
    }
    assert_eq!(load("row.anything + old.whatever", &bare), Ok(()), "columns are not known yet");
    assert!(load("saved.x", &bare).is_err_and(|it| it.contains("there is none at all")));
}

#[test]
fn conditions_and_lists_want_what_they_are() {
    let world = World::new();
    let parse = |text| Expression::parse(text, &at(), &World::names()).expect(text);
    assert_eq!(parse("row.id > 1").truth(&world.scope()).ok(), Some(true));
    assert!(parse("row.id").truth(&world.scope()).is_err_and(|it| it.short().contains("true or false")));
    assert_eq!(parse("row.tags").list(&world.scope()).ok(), Some(vec![json!("a"), json!("b")]));
    assert!(parse("row.nothing").list(&world.scope()).is_err_and(|it| it.short().contains("makes it empty")));
    let notes = parse("row.notes").truth(&world.scope()).expect_err("unknown");
    assert_eq!(notes.kind(), Kind::Unchanged);
}

#[test]
fn an_answer_that_is_not_json_says_how_it_begins() {
    let mut world = World::new();
    let expression = Expression::parse("answer.body.id", &at(), &World::names()).expect("an expression");
    for (body, expected) in [("<html>down</html>", "<html>down"), ("", "has no body")] {
        world.answer = Some(Answer { status: 200, body: body.into(), ..Answer::default() });
        let error = expression.value(&world.scope()).expect_err(body);
        assert_eq!(error.kind(), Kind::NotJson);
        assert!(error.short().contains(expected), "{error}");
    }
}

#[test]
fn an_answer_without_a_body_has_none() {
    let mut world = World::new();
    world.answer = Some(Answer { status: 204, ..Answer::default() });
    let parse = |text| Expression::parse(text, &at(), &World::names()).expect(text);
    assert_eq!(parse("has(answer.body)").truth(&world.scope()).ok(), Some(false));
    let id = parse("answer.?body.?id.orValue(0)");
    assert_eq!(id.value(&world.scope()).ok(), Some(Evaluated::Value(json!(0))));
}

#[test]
fn what_a_delete_does_not_say_is_told_apart_from_large_values() {
    let world = World::new();
    let scope = Scope { op: Op::Delete, ..world.scope() };
    let error = Expression::parse("row.notes == 'x'", &at(), &World::names()).expect("fine").truth(&scope);
    let error = error.expect_err("unknown");
    assert_eq!(error.kind(), Kind::Unchanged);
    assert!(error.short().contains("of a deleted row"), "{error}");
}

#[test]
fn without_a_row_an_expression_says_so() {
    let mut world = World::new();
    world.row = None;
    let error = Expression::parse("row.id", &at(), &World::names()).expect("fine").value(&world.scope());
    assert!(error.is_err_and(|it| it.short().contains("a truncate")));
    world.link = None;
    let link = Expression::parse("has(link.loan_id)", &at(), &World::names()).expect("fine");
    assert_eq!(link.truth(&world.scope()).ok(), Some(false));
}
