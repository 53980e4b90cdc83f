use super::*;
use crate::model::ParkReason;

fn sequence() -> Value {
    json!({ "upsert": [
        {
            "name": "create",
            "post": "/loans",
            "save": { "loan_id": "{{ answer.body.id }}" },
            "on": { "409": "lookup" },
            "lookup": { "get": "/loans/by-ref/{{ row.id }}", "save": { "loan_id": "{{ answer.body.id }}" } },
        },
        { "name": "schedule", "post": "/loans/{{ saved.loan_id }}/schedule" },
    ] })
}

fn answer(found: u16, created: u16) -> impl FnMut(&Call) -> (u16, Value) {
    move |call| match call.method.name() {
        "GET" => (found, json!({ "id": "found" })),
        _ if &*call.step == "create" => (created, json!({ "id": "created" })),
        _ => (200, Value::Null),
    }
}

#[test]
fn a_change_that_was_surely_not_sent_is_not_looked_for() {
    let played = Case::new(sequence(), Op::Insert).play(answer(200, 201));
    assert_eq!(played.calls, ["create POST /loans", "schedule POST /loans/created/schedule"]);
}

#[test]
fn what_may_have_been_created_is_looked_for_first() {
    let case = || Case::new(sequence(), Op::Insert).uncertain();
    let found = case().play(answer(200, 500));
    assert_eq!(found.calls, ["create.lookup GET /loans/by-ref/7", "schedule POST /loans/found/schedule"]);
    assert_eq!(found.end, saved(json!({ "loan_id": "found" })));
    for status in [404, 410] {
        let not_found = case().play(answer(status, 201));
        let expected = [
            "create.lookup GET /loans/by-ref/7",
            "create POST /loans",
            "schedule POST /loans/created/schedule",
        ];
        assert_eq!(not_found.calls, expected);
    }
    let failed = case().play(answer(503, 201));
    assert_eq!(failed.end, End::Failed(503), "not knowing is not the same as not there");
}

#[test]
fn a_call_names_the_lookup_that_must_be_forgotten_with_it() {
    let case = Case::new(sequence(), Op::Insert).uncertain();
    let not_there = answered("create.lookup", 404, Value::Null);
    let Step::Send(call) = case.next(&[not_there]) else { panic!("a call") };
    assert_eq!((&*call.step, call.lookup.as_deref()), ("create", Some("create.lookup")));
    let Step::Send(again) = case.next(&[]) else { panic!("a call") };
    assert_eq!((&*again.step, again.lookup), ("create.lookup", None));
}

#[test]
fn a_step_that_is_answered_is_not_looked_for() {
    let case = Case::new(sequence(), Op::Insert).uncertain();
    let Step::Send(call) = case.next(&[answered("create", 201, json!({ "id": "x" }))]) else {
        panic!("a call")
    };
    assert_eq!(shown(&call), "schedule POST /loans/x/schedule");
}

#[test]
fn a_conflict_is_looked_up() {
    let case = || Case::new(sequence(), Op::Insert);
    let found = case().play(answer(200, 409));
    let expected =
        ["create POST /loans", "create.lookup GET /loans/by-ref/7", "schedule POST /loans/found/schedule"];
    assert_eq!(found.calls, expected);
    let not_found = case().play(answer(404, 409));
    assert_eq!(not_found.rejected().0, ParkReason::Refused);
    assert!(not_found.rejected().1.contains("finds nothing"), "{not_found:?}");
}

#[test]
fn a_conflict_after_a_lookup_that_found_nothing_is_looked_up_again() {
    let mut looked = 0;
    let played = Case::new(sequence(), Op::Insert).uncertain().play(|call| match call.method.name() {
        "GET" => {
            looked += 1;
            (if looked == 1 { 404 } else { 200 }, json!({ "id": "found" }))
        }
        _ => (if &*call.step == "create" { 409 } else { 200 }, Value::Null),
    });
    let expected = [
        "create.lookup GET /loans/by-ref/7",
        "create POST /loans",
        "create.lookup#2 GET /loans/by-ref/7",
        "schedule POST /loans/found/schedule",
    ];
    assert_eq!(played.calls, expected);
}

#[test]
fn a_search_decides_by_its_answer_whether_it_found_something() {
    let steps = json!({ "upsert": [{
        "name": "create",
        "post": "/loans",
        "lookup": {
            "get": "/loans", "query": { "ref": "{{ row.id }}" }, "accept": "{{ size(answer.body) > 0 }}",
            "save": { "loan_id": "{{ answer.body[0].id }}" },
        },
    }] });
    let played = Case::new(steps.clone(), Op::Insert).uncertain().play(|_| (200, json!([])));
    assert_eq!(played.calls, ["create.lookup GET /loans?ref=7", "create POST /loans"]);
    let played = Case::new(steps.clone(), Op::Insert).uncertain().play(|_| (200, json!([{ "id": "L9" }])));
    assert_eq!(played.calls, ["create.lookup GET /loans?ref=7"]);
    assert_eq!(played.end, saved(json!({ "loan_id": "L9" })));
    let played = Case::new(steps, Op::Insert).uncertain().play(|_| (200, json!(7)));
    assert_eq!(played.rejected().0, ParkReason::Answer, "neither found nor not found");
}

#[test]
fn each_item_is_looked_for_by_itself() {
    let steps = json!({ "upsert": [{
        "name": "add", "for_each": "{{ row.items }}", "post": "/items", "save": { "ids": "{{ answer.body }}" },
        "lookup": { "get": "/items/{{ item.sku }}", "save": { "ids": "{{ answer.body }}" } },
    }] });
    let played = Case::new(steps, Op::Insert).uncertain().play(|call| match &*call.step {
        "add[0].lookup" => (404, Value::Null),
        step => (200, json!(step)),
    });
    let expected = ["add[0].lookup GET /items/a%2Fb", "add[0] POST /items", "add[1].lookup GET /items/c"];
    assert_eq!(played.calls, expected);
    assert_eq!(played.end, saved(json!({ "ids": ["add[0]", "add[1].lookup"] })));
}
