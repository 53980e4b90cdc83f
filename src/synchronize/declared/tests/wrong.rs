use super::*;

fn errors(sequences: Value) -> Vec<String> {
    read(sequences).expect_err("something is wrong").iter().map(ToString::to_string).collect()
}

#[track_caller]
fn wrong(steps: Value, expected: &[&str]) {
    let errors = errors(json!({ "upsert": steps }));
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

#[test]
fn a_step_makes_exactly_one_call_with_one_body() {
    wrong(json!([{ "name": "a" }]), &["entities.loan.upsert[0]: a step needs one of `get`"]);
    wrong(json!([{ "get": "/a", "put": "/b" }]), &["has `get` and `put`"]);
    wrong(json!([{ "post": "/a", "body": 1, "text": "x" }]), &["has `body` and `text`"]);
    wrong(json!([{ "get": "/a", "form": {} }]), &["upsert[0].form: a GET has no body"]);
    wrong(json!([{ "get": "a" }]), &["upsert[0].get: the path `a` must start with `/`"]);
    wrong(json!([]), &["upsert: there are no steps"]);
}

#[test]
fn names_are_unique_and_usable() {
    wrong(
        json!([{ "post": "/a" }, { "post": "/b" }]),
        &["upsert[1].name: there is a step `post` already: give"],
    );
    wrong(json!([{ "name": "a", "post": "/" }, { "name": "a", "put": "/" }]), &["names are unique"]);
    wrong(
        json!([{ "name": "a", "post": "/", "on": { "404": [{ "name": "a", "put": "/" }] } }]),
        &["upsert[0].on.404[0].name: there is a step `a` already"],
    );
    for name in ["a b", "1", "é", "a[0]", "a#2", "-"] {
        wrong(json!([{ "name": name, "post": "/" }]), &["is not a step name"]);
    }
    wrong(json!([{ "name": "lookup", "post": "/" }]), &["choose another name"]);
    assert!(read(json!({ "upsert": [{ "post": "/a" }, { "put": "/b" }] })).is_ok());
}

#[test]
fn on_names_what_there_is() {
    let step = |on: Value| json!([{ "name": "a", "post": "/", "on": on }, { "name": "b", "put": "/" }]);
    wrong(
        step(json!({ "404": "c" })),
        &["upsert[0].on.404: there is no step `c` in this list: there are `a`, `b`"],
    );
    wrong(step(json!({ "404": "a" })), &["would go to itself"]);
    wrong(step(json!({ "409": "lookup" })), &["has no `lookup`"]);
    wrong(step(json!({ "204": "b" })), &["204 is accepted"]);
    wrong(step(json!({ "4040": "b" })), &["4040 is not an HTTP status"]);
    wrong(step(json!({ "404": [] })), &["put 404 into `accept`"]);
    let each = json!([{ "name": "a", "post": "/", "for_each": "{{ [] }}", "on": { "404": "b" } }, { "name": "b", "put": "/" }]);
    wrong(each, &["`for_each` cannot go to another"]);
}

#[test]
fn a_lookup_is_one_call_that_saves_what_its_step_would() {
    let step = |lookup: Value| json!([{ "name": "a", "post": "/", "save": { "id": "{{ answer.body.id }}" }, "lookup": lookup }]);
    wrong(step(json!({ "get": "/x" })), &["lookup.save: what is found must save what the step would: `id`"]);
    let save = json!({ "id": 1 });
    wrong(
        step(json!({ "get": "/x", "save": save, "name": "x", "for_each": "{{ [] }}", "on": { "404": "a" } })),
        &["takes no `name`", "takes no `on`", "takes no `for_each`"],
    );
    wrong(step(json!({ "save": save })), &["upsert[0].lookup: a step needs one of"]);
}

#[test]
fn headers_that_are_not_the_steps_to_set_are_refused() {
    let step = |name: &str| json!([{ "post": "/", "headers": { name: "x" } }]);
    wrong(step("Idempotency-Key"), &["headers.Idempotency-Key: the header"]);
    wrong(step("authorization"), &["credentials belong to the remote"]);
    wrong(step("a b"), &["`a b` is not a header name"]);
    wrong(json!([{ "post": "/", "accept": [] }]), &["leave the key out for any 2xx"]);
}

#[test]
fn everything_is_said_at_once() {
    let errors = errors(json!({
        "upsert": [{ "name": "a" }, { "get": "x", "if": "{{ answer.status }}" }],
        "delete": [{ "delete": "/{{ 1 + }}" }],
    }));
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(read(json!({})).is_err_and(|errors| errors[0].to_string().contains("nothing says what to call")));
}

#[test]
fn a_nested_list_is_read_with_its_own_on() {
    let nested = json!({ "upsert": [{ "put": "/a", "on": { "404": [
        { "name": "x", "post": "/x", "on": { "409": [{ "name": "y", "get": "/y" }] } }] } }] });
    assert!(read(nested).is_ok());
    let unknown = json!({ "upsert": [{ "put": "/a", "on": { "404": [{ "pst": "/x" }] } }] });
    let error = serde_json::from_value::<Sequences>(unknown).expect_err("a typo").to_string();
    assert!(error.contains("unknown field `pst`"), "{error}");
}
