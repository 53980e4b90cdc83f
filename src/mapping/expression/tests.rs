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
            headers: vec![("etag".to_owned(), "7".to_owned()), ("etag".to_owned(), "8".to_owned())],
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
    }

    pub fn scope(&self) -> Scope<'_> {
        Scope {
            row: self.row.as_ref(),
            old: self.old.as_ref(),
            op: Op::Update,
            key: "42",
            link: self.link.as_ref(),
            fetched: self.fetched.as_ref(),
            change: ChangeId { commit: Lsn::new(0x16_B374_D848), ordinal: 3 },
            committed_at: "2024-05-01T08:00:00.5Z".parse().expect("a timestamp"),
            saved: &self.saved,
            answers: &self.answers,
            answer: self.answer.as_ref(),
            item: self.item.as_ref(),
        }
    }
}

fn at() -> At {
    Locator::default().at("x")
}

/// The value's JSON text, or the short message.
fn value(text: &str) -> Result<String, String> {
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
fn expressions_have_the_values_the_manual_promises() {
    for (text, expected) in [
        // Names.
        ("row.id", "42"),
        ("{{ row.id }}", "42"),
        ("row['id']", "42"),
        ("row.amount", "1234.505"),
        ("row.long", "123456789012345678901234567890.12345"),
        ("row.nothing", "null"),
        ("row.notes", "unchanged"),
        ("row.ok", "true"),
        ("row.due", "\"2024-05-01\""),
        ("row.made", "\"2024-05-01T08:00:00.25Z\""),
        ("row.data.a.b", "1.10"),
        ("row.data.big", "18446744073709551616"),
        ("row.data.list[1]", "\"x\""),
        ("row.data['list'][2]", "null"),
        ("row.tags", "[\"a\",\"b\"]"),
        ("row.tags[0]", "\"a\""),
        ("op", "\"update\""),
        ("key", "\"42\""),
        ("old == null", "true"),
        ("link.loan_id", "\"L-1\""),
        ("link", "{\"loan_id\":\"L-1\"}"),
        ("saved.fee + 1", "4"),
        ("change.id", "\"16/B374D848.3\""),
        ("change.committed_at", "\"2024-05-01T08:00:00.5Z\""),
        ("answer.status", "201"),
        ("answer.body.id", "12345678901234567890"),
        ("answer.headers.etag", "\"7, 8\""),
        ("answer.text.size()", "40"),
        ("answers.create.status", "409"),
        ("item.n", "1"),
        // What may be missing.
        ("has(link.loan_id)", "true"),
        ("!has(link.other)", "true"),
        ("has(row.notes)", "false"),
        ("has(row.data.a.c)", "false"),
        ("has(answers.update)", "false"),
        ("has(answer.body.ok)", "true"),
        ("has(row.data['a'])", "true"),
        ("saved.?other.orValue(link.loan_id)", "\"L-1\""),
        ("saved.?fee.orValue(link.other)", "3"),
        ("row.data.?a.?x.orValue(0)", "0"),
        ("row.data.?a.b.orValue(0)", "1.10"),
        ("row.data.?z.b.c.orValue('none')", "\"none\""),
        ("row.data.list[?7].orValue('none')", "\"none\""),
        ("row.?notes.orValue('unknown')", "\"unknown\""),
        ("fetched.?x.orValue(1)", "1"),
        ("link.?other.or(link.?loan_id).value()", "\"L-1\""),
        ("link.?other.hasValue()", "false"),
        ("[?link.?other, ?link.?loan_id]", "[\"L-1\"]"),
        ("{'a': 1, ?'b': link.?other}", "{\"a\":1}"),
        ("optional.of(1).orValue(2)", "1"),
        ("optional.none().orValue(2)", "2"),
        // Numbers.
        ("1 + 2 * 3", "7"),
        ("7 / 2", "3"),
        ("-7 % 3", "-1"),
        ("row.amount + 1", "1235.505"),
        ("1 + row.amount", "1235.505"),
        ("row.amount * 1.19", "1469.06095"),
        ("row.amount > 1000", "true"),
        ("1000 < row.amount", "true"),
        ("1234.505 == row.amount", "true"),
        ("1234 == row.amount", "false"),
        ("row.amount == 1234.5050", "true"),
        ("row.id == 42.0", "true"),
        ("-row.amount", "-1234.505"),
        ("row.rate + row.rate", "0.2"),
        ("row.rate == 0.1", "true"),
        ("row.rate * 2", "0.2"),
        ("0.1 + 0.2", "0.3"),
        ("row.amount.fixed(2)", "1234.51"),
        ("row.id.fixed(2)", "42.00"),
        ("row.rate.fixed(3)", "0.100"),
        ("(row.amount / 3).fixed(2)", "411.50"),
        ("row.long.fixed(1)", "123456789012345678901234567890.1"),
        ("int(row.amount)", "1234"),
        ("int('7')", "7"),
        ("int('9223372036854775807')", "9223372036854775807"),
        ("double('1.5')", "1.5"),
        ("decimal('1.50')", "1.50"),
        ("string(row.amount)", "\"1234.505\""),
        ("string(row.ok) + '!'", "\"true!\""),
        ("bool('t')", "true"),
        ("5u", "5"),
        ("18446744073709551615u", "18446744073709551615"),
        // Logic.
        ("row.ok && row.id > 1", "true"),
        ("row.ok || row.notes == 'x'", "true"),
        ("row.notes == 'x' || row.ok", "true"),
        ("row.ok ? 'yes' : 'no'", "\"yes\""),
        ("row.status in ['active', 'closed']", "true"),
        ("'a' in row.tags", "true"),
        ("'a' in row.data", "true"),
        ("row.nothing == null", "true"),
        ("row.name != null", "true"),
        ("row.nothing == 'x'", "false"),
        ("[1, 2] == [1, 2.0]", "true"),
        ("{'a': 1} == {'a': '1'}", "false"),
        ("row.due < row.made.date('yyyy-MM-dd')", "false"),
        ("row.due >= '2024-05-01'", "true"),
        ("row.made > '2024-05-01T09:00:00+02:00'", "true"),
        ("row.made < change.committed_at", "true"),
        // Lists.
        ("row.data.list.map(x, string(type(x)))", "[\"int\",\"string\",\"null\"]"),
        ("[1, 2, 3].map(x, x > 1, x * 10)", "[20,30]"),
        ("[1, 2, 3].filter(x, x != 2)", "[1,3]"),
        ("[1, 2].all(x, x > 0)", "true"),
        ("[1, 2].exists(x, x > 1)", "true"),
        ("['x', 1].exists(x, x == 1)", "true"),
        ("[1, 2].exists_one(x, x > 0)", "false"),
        ("[[1, 2], [3]].map(xs, xs.map(x, x + size(xs)))", "[[3,4],[4]]"),
        ("row.data.a.map(k, k)", "[\"b\"]"),
        ("[1] + [2]", "[1,2]"),
        ("size(row.tags) + row.tags.size()", "4"),
        // Functions.
        ("row.phone.phone()", "\"+49301234567\""),
        ("'030 123456'.phone('+49')", "\"+4930123456\""),
        ("row.name.trim()", "\"Ann \\\"A\\\"\""),
        ("row.name.trim().upper().lower()", "\"ann \\\"a\\\"\""),
        ("'a-b'.replace('-', '+')", "\"a+b\""),
        ("'a,b'.split(',')", "[\"a\",\"b\"]"),
        ("[1, 'b', true].join('; ')", "\"1; b; true\""),
        ("row.tags.join()", "\"ab\""),
        ("row.status.lookup({'active': 'A', 'closed': 'C'}, 'U')", "\"A\""),
        ("'x'.lookup({'active': 'A'}, 'U')", "\"U\""),
        ("row.nothing.lookup({'active': 'A'}, 'U')", "\"U\""),
        ("row.id.lookup({42: 'answer'}, '')", "\"answer\""),
        ("row.data.a.to_json()", "\"{\\\"b\\\":1.10}\""),
        ("'abc'.hash()", "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""),
        ("'é'.base64()", "\"w6k=\""),
        ("'a b/c'.url_encode()", "\"a%20b%2Fc\""),
        ("row.due.date('dd.MM.yyyy')", "\"01.05.2024\""),
        ("row.made.date(\"HH:mm:ss.SSS\")", "\"08:00:00.250\""),
        ("'2024-05-01T10:00:00Z'.date('yyyy')", "\"2024\""),
        ("'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')", "true"),
        ("'abc'.matches('^a.c$')", "true"),
        ("row.name.matches(row.tags[0])", "false"),
        ("'\\u00e9' + r'\\n' + \"\"\"x\"\"\"", "\"é\\\\nx\""),
        ("{'k': row.id, 'deep': {'x': [row.ok]}}", "{\"k\":42,\"deep\":{\"x\":[true]}}"),
        ("row.`id`", "42"),
    ] {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
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
        ("1 +", "+", "cannot be read"),
        ("", "", "is empty"),
    ] {
        let error = Expression::parse(text, &at(), &World::names()).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
        let lines: Vec<&str> = error.lines().collect();
        let [_, line, carets] = *lines else { panic!("{text}: {error}") };
        let start = carets.find('^').expect("a caret");
        let pointed: String = line.chars().skip(start).take(carets.len() - start).collect();
        if !expected.contains("cannot be read") {
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
fn without_a_row_an_expression_says_so() {
    let mut world = World::new();
    world.row = None;
    let error = Expression::parse("row.id", &at(), &World::names()).expect("fine").value(&world.scope());
    assert!(error.is_err_and(|it| it.short().contains("a truncate")));
    world.link = None;
    let link = Expression::parse("has(link.loan_id)", &at(), &World::names()).expect("fine");
    assert_eq!(link.truth(&world.scope()).ok(), Some(false));
}

#[test]
fn endless_expressions_are_refused_rather_than_run() {
    let nested = format!("{}1{}", "(".repeat(3000), ")".repeat(3000));
    let chain = vec!["1"; 5000].join("+");
    let not = format!("{}true", "!".repeat(5000));
    let fields = format!("row{}", ".a".repeat(5000));
    let lists = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let ands = vec!["true"; 3000].join("&&");
    let words = "a in ".repeat(3000) + "a";
    let ifs = "true ? 1 : ".repeat(1500) + "1";
    for text in [nested, chain, not, fields, lists, ands, words, ifs, "x".repeat(20_000)] {
        let error = Expression::parse(&text, &at(), &Names::default()).map(drop);
        assert!(error.is_err_and(|it| it.short().contains("split it up")), "{}", &text[..20]);
    }
    // As far as it may go, the stack holds.
    let deep = format!("{}1{}", "(".repeat(30), ")".repeat(30));
    let calls = format!("{}1{}", "string(".repeat(30), ")".repeat(30));
    let lists = format!("{}{}", "[".repeat(30), "]".repeat(30));
    let maps = format!("{}1{}", "{'a':".repeat(30), "}".repeat(30));
    for text in [
        deep,
        calls,
        lists,
        maps,
        vec!["1"; 80].join("+"),
        "!".repeat(159) + "true",
        vec!["true"; 53].join("&&"),
        vec!["row.ok"; 32].join("||"),
        "true ? 1 : ".repeat(35) + "1",
        "a in ".repeat(70) + "a",
        format!("row.data{}", ".a".repeat(78)),
        format!(
            "'x'.lookup({{{}}}, 0)",
            (0..900).map(|n| format!("'{n}': {n}")).collect::<Vec<_>>().join(", ")
        ),
        format!("{}'x'{}", "(".repeat(15), " + 'x' + 'x' + 'x')".repeat(15)),
    ] {
        let _ = Expression::parse(&text, &at(), &Names::default())
            .map(|it| it.truth(&World::new().scope()).is_ok());
    }
}
