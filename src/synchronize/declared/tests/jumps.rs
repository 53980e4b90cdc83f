use super::*;
use crate::model::ParkReason;

fn statuses(by_step: &'static [(&str, u16)]) -> impl FnMut(&Call) -> (u16, Value) {
    |call| {
        let status = by_step.iter().find(|(step, _)| *step == &*call.step).map_or(200, |(_, status)| *status);
        (status, json!({ "id": "L1" }))
    }
}

fn names(played: &Played) -> Vec<&str> {
    played.calls.iter().filter_map(|call| call.split(' ').next()).collect()
}

#[test]
fn an_object_that_is_gone_is_created_again_and_the_order_goes_on_behind() {
    let case = Case::new(loan(), Op::Update).linked(json!({ "loan_id": "L0" }));
    let played = case.play(statuses(&[("update", 404)]));
    assert_eq!(
        played.calls,
        [
            r#"update PATCH /loans/L0 {"amount":"1.10"}"#,
            r#"create POST /loans {"customer":42,"amount":"1.10"}"#,
            r#"schedule POST /loans/L1/schedule {"months":12}"#
        ]
    );
    assert_eq!(played.end, saved(json!({ "loan_id": "L1" })));
}

#[test]
fn going_forward_leaves_out_what_lies_between() {
    let steps = json!({ "upsert": [
        { "name": "a", "post": "/a", "on": { "409": "c" } },
        { "name": "b", "post": "/b" },
        { "name": "c", "post": "/c", "if": "{{ false }}" },
        { "name": "d", "post": "/d" },
    ] });
    let played = Case::new(steps, Op::Insert).play(statuses(&[("a", 409)]));
    assert_eq!(names(&played), ["a", "c", "d"]);
}

#[test]
fn a_sequence_of_its_own_runs_instead_and_the_order_goes_on() {
    let steps = json!({ "upsert": [
        { "name": "a", "put": "/a", "on": { "404": [
            { "name": "x", "post": "/x", "on": { "409": [{ "name": "y", "post": "/y" }] } },
            { "name": "z", "post": "/z" },
        ] } },
        { "name": "b", "post": "/b" },
    ] });
    let played = Case::new(steps, Op::Insert).play(statuses(&[("a", 404), ("x", 409)]));
    assert_eq!(names(&played), ["a", "x", "y", "z", "b"]);
}

#[test]
fn a_step_that_is_visited_again_has_a_name_of_its_own() {
    let case = || {
        Case::new(
            json!({ "upsert": [
                { "name": "update", "put": "/x", "on": { "404": "create" } },
                { "name": "create", "if": "{{ false }}", "post": "/x", "on": { "409": "update" } },
                { "name": "end", "post": "/end" },
            ] }),
            Op::Insert,
        )
    };
    let played = case().play(statuses(&[("update", 404), ("create", 409)]));
    assert_eq!(names(&played), ["update", "create", "update#2", "end"]);
    let played = case().play(|call| {
        (if &*call.step == "end" || call.method.name() == "PUT" { 404 } else { 409 }, Value::Null)
    });
    assert_eq!(names(&played), ["update", "create", "update#2", "create#2", "update#3", "create#3"]);
    assert_eq!(played.rejected().0, ParkReason::Refused);
    assert!(played.rejected().1.contains("loop"), "{played:?}");
}

#[test]
fn going_to_a_step_for_each_item_runs_all_of_them() {
    let steps = json!({ "upsert": [
        { "name": "all", "put": "/all", "on": { "404": "each" } },
        { "name": "each", "if": "{{ false }}", "for_each": "{{ [1, 2] }}", "post": "/{{ item }}" },
    ] });
    let played = Case::new(steps, Op::Insert).play(statuses(&[("all", 404)]));
    assert_eq!(names(&played), ["all", "each[0]", "each[1]"]);
}
