use super::*;
use crate::model::{Body, ParkReason};

fn one(step: Value) -> Value {
    json!({ "upsert": [step] })
}

fn fine(_: &Call) -> (u16, Value) {
    (200, json!({ "id": "L1" }))
}

#[test]
fn a_new_row_is_created_and_its_remote_id_saved_and_used() {
    let played = Case::new(loan(), Op::Insert).play(fine);
    assert_eq!(
        played.calls,
        [
            r#"create POST /loans {"customer":42,"amount":"1.10"}"#,
            r#"schedule POST /loans/L1/schedule {"months":12}"#
        ]
    );
    assert_eq!(played.end, saved(json!({ "loan_id": "L1" })));
}

#[test]
fn a_linked_row_is_updated() {
    let played = Case::new(loan(), Op::Update).linked(json!({ "loan_id": "L0" })).play(fine);
    assert_eq!(
        played.calls,
        [r#"update PATCH /loans/L0 {"amount":"1.10"}"#, r#"schedule POST /loans/L0/schedule {"months":12}"#]
    );
    assert_eq!(played.end, saved(json!({})));
}

#[test]
fn a_deleted_row_is_deleted_and_unlinked() {
    let played =
        Case::new(loan(), Op::Delete).linked(json!({ "loan_id": "L0" })).play(|_| (404, Value::Null));
    assert_eq!(played.calls, ["close DELETE /loans/L0"]);
    assert_eq!(played.end, End::Step(Step::Finish(LinkUpdate::Remove)));
    let unlinked = Case::new(loan(), Op::Delete).play(fine);
    assert_eq!(unlinked.end, End::Step(Step::Skip("no step applies".into())));
    let without_id = Case::new(loan(), Op::Delete).linked(json!({})).play(fine);
    assert_eq!(without_id.end, End::Step(Step::Finish(LinkUpdate::Remove)), "the link goes even so");
}

#[test]
fn each_operation_has_its_sequence() {
    let named = |name: &str| json!([{ "post": format!("/{name}") }]);
    let all = ["insert", "update", "upsert", "delete", "truncate"];
    let with =
        |keys: &[&str]| Value::Object(keys.iter().map(|key| ((*key).to_owned(), named(key))).collect());
    let path = |keys: &[&str], op: Op, linked: bool| {
        let mut case = Case::new(with(keys), op);
        if linked {
            case = case.linked(json!({}));
        }
        match case.next(&[]) {
            Step::Send(call) => call.path,
            Step::Skip(reason) => reason.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for (op, expected) in [
        (Op::Insert, "/insert"),
        (Op::Update, "/update"),
        (Op::Read, "/upsert"),
        (Op::Delete, "/delete"),
        (Op::Truncate, "/truncate"),
    ] {
        assert_eq!(path(&all, op, true), expected);
    }
    assert_eq!(path(&["upsert"], Op::Insert, false), "/upsert");
    assert_eq!(path(&["upsert"], Op::Update, false), "/upsert");
    assert_eq!(path(&["insert", "update"], Op::Read, false), "/insert");
    assert_eq!(path(&["insert", "update"], Op::Read, true), "/update");
    assert_eq!(path(&["delete"], Op::Truncate, true), "/delete");
    assert_eq!(path(&["upsert"], Op::Delete, true), "no `delete` sequence");
    assert_eq!(path(&["delete"], Op::Insert, true), "no `insert` or `upsert` sequence");
    assert_eq!(path(&["update"], Op::Read, false), "no sequence for a row that is read again");
}

#[test]
fn a_call_is_written_as_the_step_says() {
    let step = json!({
        "put": "/items/{{ row.items[0].sku }}",
        "query": { "full": true, "note": "x&y {{ row.id }}", "none": "{{ row.none }}", "each": [1, "b"] },
        "headers": { "X-Row": "row {{ row.id }}" },
        "form": { "amount": "{{ row.amount }}", "a b": "ü" },
        "accept": [200, 202],
        "on": { "409": [{ "get": "/x" }] },
    });
    let Step::Send(call) = Case::new(one(step), Op::Insert).next(&[]) else { panic!("a call") };
    assert_eq!(call.path, "/items/a%2Fb?each=1&each=b&full=true&note=x%26y%207");
    assert_eq!(call.headers, [("X-Row".into(), "row 7".to_owned())]);
    assert_eq!(call.body, Body::Form("a%20b=%C3%BC&amount=1.10".into()));
    assert_eq!((call.accept, call.handles, &*call.step), (vec![200, 202], vec![409], "put"));
}

#[test]
fn a_path_that_has_a_query_gets_the_rest_of_it() {
    let step = json!({ "get": "/a?x=1", "query": { "y": 2 } });
    let Step::Send(call) = Case::new(one(step), Op::Insert).next(&[]) else { panic!("a call") };
    assert_eq!((call.path.as_str(), call.body), ("/a?x=1&y=2", Body::Empty));
    let step = json!({ "post": "/a", "text": "row {{ row.id }}" });
    let Step::Send(call) = Case::new(one(step), Op::Insert).next(&[]) else { panic!("a call") };
    assert_eq!(call.body, Body::Text("row 7".into()));
}

#[test]
fn an_object_as_a_parameter_is_rejected() {
    let step = json!({ "get": "/a", "query": { "x": "{{ row.items[0] }}" } });
    let played = Case::new(one(step), Op::Insert).play(fine);
    assert_eq!(played.rejected().0, ParkReason::Template);
    assert!(played.rejected().1.contains("`x` is an object"), "{played:?}");
}

#[test]
fn a_step_for_each_item_makes_a_call_for_each_and_saves_lists() {
    let steps = json!({ "upsert": [
        { "name": "item", "for_each": "{{ row.items }}", "put": "/items/{{ item.sku }}",
          "save": { "ids": "{{ answer.body.id }}" }, "on": { "404": [
              { "name": "add", "post": "/items", "body": "{{ item }}", "save": { "ids": "{{ answer.body.id }}" } } ] } },
        { "name": "end", "post": "/end", "body": { "ids": "{{ saved.ids }}" } },
    ] });
    let played = Case::new(steps, Op::Insert).play(|call| match &*call.step {
        "item[1]" => (404, Value::Null),
        step => (200, json!({ "id": step })),
    });
    assert_eq!(
        played.calls,
        [
            "item[0] PUT /items/a%2Fb",
            "item[1] PUT /items/c",
            r#"add[1] POST /items {"sku":"c"}"#,
            r#"end POST /end {"ids":["item[0]","add[1]"]}"#
        ]
    );
    assert_eq!(played.end, saved(json!({ "ids": ["item[0]", "add[1]"] })));
}

#[test]
fn no_items_make_no_calls_and_an_empty_list() {
    let each = json!({ "name": "item", "for_each": "{{ [] }}", "put": "/x", "save": { "ids": "{{ answer.body.id }}" } });
    let played = Case::new(json!({ "upsert": [each, { "post": "/end" }] }), Op::Insert).play(fine);
    assert_eq!(played.calls, ["post POST /end"]);
    assert_eq!(played.end, saved(json!({ "ids": [] })));
}

#[test]
fn lists_within_lists_are_named_by_both() {
    let steps = json!({ "upsert": [{
        "name": "outer", "for_each": "{{ [1, 2] }}", "put": "/o/{{ item }}",
        "on": { "404": [{ "name": "inner", "for_each": "{{ [item, 3] }}", "put": "/i/{{ item }}" }] },
    }] });
    let played = Case::new(steps, Op::Insert)
        .play(|call| if &*call.step == "outer[1]" { (404, Value::Null) } else { fine(call) });
    let expected = ["outer[0] PUT /o/1", "outer[1] PUT /o/2", "inner[1][0] PUT /i/2", "inner[1][1] PUT /i/3"];
    assert_eq!(played.calls, expected);
}

#[test]
fn too_long_a_list_is_rejected() {
    let mut case = Case::new(
        one(json!({ "for_each": "{{ link.ids }}", "put": "/x", "save": { "ids": 1 } })),
        Op::Insert,
    );
    case = case.linked(json!({ "ids": vec![0; 1_001] }));
    let played = case.play(fine);
    assert!(played.rejected().1.contains("1001 items"), "{played:?}");
}

#[test]
fn an_answer_that_is_not_as_promised_is_rejected_with_what_it_says() {
    let save = one(json!({ "name": "create", "post": "/x", "save": { "id": "{{ answer.body.id }}" } }));
    let case = Case::new(save.clone(), Op::Insert);
    let html = Answered {
        step: "create".into(),
        answer: Answer { status: 200, headers: [].into(), body: "<html>".into() },
    };
    let Step::Reject { reason, message } = case.next(&[html]) else { panic!("not JSON") };
    assert_eq!(reason, ParkReason::Answer);
    assert!(
        message.contains("step `create` was answered with 200") && message.ends_with("<html>"),
        "{message}"
    );
    let played = case.play(|_| (200, json!({ "ID": 1 })));
    assert_eq!(played.rejected().0, ParkReason::Answer, "no such field");
    let accept = one(json!({ "name": "create", "post": "/x", "accept": "{{ answer.body.ok }}" }));
    let case = Case::new(accept, Op::Insert);
    let played = case.play(|_| (200, json!({ "ok": false })));
    assert!(played.rejected().1.contains("`accept` is false"), "{played:?}");
    assert_eq!(case.play(|_| (201, json!({ "ok": true }))).end, saved(json!({})));
    assert_eq!(case.play(|_| (404, json!({ "ok": true }))).end, End::Failed(404));
}

#[test]
fn a_template_that_fails_is_rejected() {
    for step in [
        json!({ "post": "/{{ row.nope }}" }),
        json!({ "post": "/", "if": "{{ row.id }}" }),
        json!({ "post": "/", "body": { "x": "{{ link.later }}" }, "save": { "later": 1 } }),
        json!({ "post": "/", "for_each": "{{ row.id }}" }),
    ] {
        let played = Case::new(one(step), Op::Insert).play(fine);
        assert_eq!(played.rejected().0, ParkReason::Template, "{played:?}");
    }
}

#[test]
fn a_value_that_is_nothing_does_not_make_a_path_of_another_meaning() {
    let path = |path: &str| {
        let step = json!({ "delete": path });
        match Case::new(one(step), Op::Insert).next(&[]) {
            Step::Send(call) => Ok(call.path),
            Step::Reject { reason: ParkReason::Template, message } => Err(message),
            other => panic!("{other:?}"),
        }
    };
    for wrong in [
        "/loans/{{ row.empty }}",
        "/loans/{{ row.empty }}/x",
        "/loans/{{ row.empty }}?a=1",
        "/loans/{{ row.none }}",
    ] {
        assert!(path(wrong).is_err(), "{wrong}");
    }
    assert!(
        path("/loans/{{ row.empty }}")
            .is_err_and(|it| it.contains("upsert[0].delete") && it.contains("`/loans/`"))
    );
    for fine in ["/", "/loans/", "//loans", "/loans?a={{ row.empty }}", "/loans/x{{ row.empty }}"] {
        assert!(path(fine).is_ok(), "{fine}");
    }
}

#[test]
fn a_stopped_sequence_goes_on_where_it_was() {
    let case = Case::new(loan(), Op::Insert);
    let whole = case.play(fine);
    for known in 0..whole.answers.len() {
        let Step::Send(call) = case.next(&whole.answers[..known]) else { panic!("a call") };
        assert_eq!(shown(&call), whole.calls[known]);
    }
}

#[test]
fn a_condition_sees_only_what_came_before_it() {
    let steps = json!({ "upsert": [
        { "name": "find", "get": "/find" },
        { "name": "first", "post": "/first", "if": "{{ !has(answers.second) }}" },
        { "name": "second", "post": "/second" },
        { "name": "third", "post": "/third", "if": "{{ answers.first.status == 200 }}" },
    ] });
    let played = Case::new(steps, Op::Insert).play(fine);
    assert_eq!(
        played.calls,
        ["find GET /find", "first POST /first", "second POST /second", "third POST /third"]
    );
}

#[test]
fn an_answer_that_is_no_longer_handled_is_told() {
    let case = Case::new(loan(), Op::Insert);
    let Step::Reject { message, .. } = case.next(&[answered("create", 409, json!("exists"))]) else {
        panic!()
    };
    assert!(message.contains("409") && message.contains("any more"), "{message}");
}
