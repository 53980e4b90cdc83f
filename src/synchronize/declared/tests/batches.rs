use super::*;
use crate::synchronize::{Batching, Rejection, Results};

fn batched(sequences: Value) -> Declared {
    read_as(sequences, true).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn put() -> Value {
    json!([{
        "name": "put",
        "post": "/loans/batch/{{ size(rows) }}",
        "query": { "key": "{{ keys }}", "last": "{{ rows[1].months }}", "each": { "each": "{{ index }}" } },
        "headers": { "X-Keys": "{{ keys.join(';') }}" },
        "body": {
            "items": { "each": {
                "key": "{{ key }}", "at": "{{ index }}", "op": "{{ op }}", "months": "{{ row.months }}",
                "id": "{{ link.?id }}", "all": "{{ size(rows) }}",
            } },
            "ids": "{{ rows.map(r, r.id) }}",
            "known": "{{ links.map(l, has(l.id)) }}",
        },
        "failed": "{{ answer.body.results[index].?error }}",
        "save": { "id": "{{ answer.body.results[index].id }}", "key": "{{ key }}" },
    }])
}

/// Shows the changes of these keys; every second one has a link.
fn with<T>(op: Op, keys: &[&str], see: impl FnOnce(&[Work<'_>]) -> T) -> T {
    let change = Case::new(loan(), op).change;
    let saved = serde_json::Map::from_iter([("id".to_owned(), json!("old"))]);
    let link = Link { saved, ..Link::default() };
    let work = |(at, key): (usize, &&'static str)| Work {
        change: &change,
        key,
        link: (at % 2 == 1).then_some(&link),
        fetched: None,
        parents: None,
        uncertain: false,
    };
    // The keys of tests are literals.
    let keys: Vec<&'static str> = keys.iter().map(|key| &*key.to_string().leak()).collect();
    see(&keys.iter().enumerate().map(work).collect::<Vec<_>>())
}

fn answer(body: Value) -> Answer {
    Answer { status: 200, headers: [].into(), body: body.to_string().into() }
}

fn results(steps: Value, op: Op, body: Value) -> Vec<Result<LinkUpdate, Rejection>> {
    let declared = batched(json!({ "upsert": steps, "delete": steps }));
    match with(op, &["1", "2", "3"], |works| declared.results(works, &answer(body))) {
        Results::Each(results) => results,
        Results::Refused(rejection) => panic!("{rejection:?}"),
    }
}

#[test]
fn one_call_says_something_of_every_row() {
    let declared = batched(json!({ "upsert": put() }));
    let call = with(Op::Update, &["a", "b"], |works| declared.call(works)).expect("a call");
    assert_eq!(call.path, "/loans/batch/2?each=0&each=1&key=a&key=b&last=12");
    assert_eq!(call.headers, [("X-Keys".into(), "a;b".to_owned())]);
    let body: Value = serde_json::from_slice(call.body.bytes().expect("a body")).expect("JSON");
    assert_eq!(
        body,
        json!({
            "items": [
                { "key": "a", "at": 0, "op": "update", "months": 12, "all": 2 },
                { "key": "b", "at": 1, "op": "update", "months": 12, "id": "old", "all": 2 },
            ],
            "ids": [7, 7],
            "known": [false, true],
        })
    );
}

#[test]
fn a_change_by_itself_is_a_batch_of_one() {
    let declared = batched(json!({ "upsert": put() }));
    let steps = json!([{ "post": "/b", "body": { "each": "{{ key }}" }, "save": { "id": "{{ answer.body[index] }}" } }]);
    let simple = batched(json!({ "upsert": steps }));
    with(Op::Insert, &["1"], |works| {
        let Step::Reject { message, .. } = declared.next_step(&works[0], &[]) else {
            panic!("there is no second row")
        };
        assert!(message.contains("no item 1"), "{message}");
        let Step::Send(call) = simple.next_step(&works[0], &[]) else { panic!("a call") };
        assert_eq!(call, simple.call(works).expect("the same"));
        let answers = [Answered { step: call.step, answer: answer(json!(["L1"])) }];
        let saved = serde_json::Map::from_iter([("id".to_owned(), json!("L1"))]);
        assert_eq!(simple.next_step(&works[0], &answers), Step::Finish(LinkUpdate::Save(saved)));
    });
}

#[test]
fn results_are_told_apart_row_by_row() {
    let body = json!({ "results": [{ "id": "A" }, { "error": "too\nmuch" }, { "id": "C", "error": null }] });
    let results = results(put(), Op::Update, body);
    let saved = |id: &str, key: &str| {
        let saved = [("id".to_owned(), json!(id)), ("key".to_owned(), json!(key))];
        Ok(LinkUpdate::Save(saved.into_iter().collect()))
    };
    assert_eq!((&results[0], &results[2]), (&saved("A", "1"), &saved("C", "3")));
    let rejection = results[1].as_ref().expect_err("it failed");
    assert_eq!(rejection.reason, ParkReason::Refused);
    assert_eq!(rejection.message, "step `put` was answered with 200, but not for this row: too much");
}

#[test]
fn an_answer_that_lacks_a_row_concerns_that_row_only() {
    let results = results(put(), Op::Update, json!({ "results": [{ "id": "A" }, { "id": "B" }] }));
    assert!(results[0].is_ok() && results[1].is_ok());
    let rejection = results[2].as_ref().expect_err("it is not there");
    assert_eq!(rejection.reason, ParkReason::Answer);
    assert!(rejection.message.contains("no item 2 in a list of 2"), "{}", rejection.message);
}

#[test]
fn what_failed_comes_to_decides() {
    let failed = |value: Value, failed: &str| {
        let steps = json!([{ "post": "/b", "body": "{{ keys }}", "failed": failed }]);
        results(steps, Op::Update, json!([value])).remove(0)
    };
    for fine in [json!(null), json!(false), json!(""), json!([]), json!({})] {
        assert!(failed(fine.clone(), "{{ answer.body[0] }}").is_ok(), "{fine}");
    }
    assert!(failed(json!({}), "{{ answer.body[0].?error }}").is_ok(), "a missing value");
    for (value, reason, told) in [
        (json!(true), ParkReason::Refused, "and `failed` is true for this row: [true]"),
        (json!({ "code": 7 }), ParkReason::Refused, "but not for this row: {\"code\":7}"),
        (json!(["a"]), ParkReason::Refused, "but not for this row: [\"a\"]"),
        (json!(3), ParkReason::Answer, "`failed` is the number 3 for it"),
    ] {
        let rejection = failed(value, "{{ answer.body[0] }}").expect_err("it failed");
        assert_eq!(rejection.reason, reason);
        assert!(rejection.message.contains(told), "{}", rejection.message);
    }
}

#[test]
fn rows_of_a_delete_are_removed_unless_they_failed() {
    let steps = json!([{ "post": "/b", "body": "{{ keys }}", "failed": "{{ key in answer.body }}" }]);
    let results = results(steps, Op::Delete, json!(["2"]));
    let removed: Vec<bool> = results.iter().map(|it| *it == Ok(LinkUpdate::Remove)).collect();
    assert_eq!(removed, [true, false, true]);
}

#[test]
fn an_answer_that_is_not_accepted_refuses_the_whole_and_one_that_makes_no_sense_each_row() {
    let declared = batched(
        json!({ "upsert": [{ "post": "/b", "body": "{{ keys }}", "accept": "{{ answer.body.ok }}" }] }),
    );
    let ask = |answer: Answer| with(Op::Update, &["1", "2"], |works| declared.results(works, &answer));
    assert!(matches!(ask(answer(json!({ "ok": true }))), Results::Each(it) if it.iter().all(Result::is_ok)));
    assert!(
        matches!(ask(answer(json!({ "ok": false }))), Results::Refused(it) if it.reason == ParkReason::Answer)
    );
    let garbage = Answer { body: "<html>".into(), ..answer(json!(0)) };
    let Results::Each(results) = ask(garbage) else { panic!("no row is to blame") };
    assert!(
        results.iter().all(|it| it.as_ref().is_err_and(|it| it.message.contains("is not JSON"))),
        "{results:?}"
    );
}

#[test]
fn only_changes_of_one_sequence_share_a_call() {
    let declared = batched(json!({ "upsert": put(), "delete": put(), "truncate": put() }));
    let kind = |op| with(op, &["1"], |works| declared.kind(&works[0]));
    assert_eq!(kind(Op::Insert), kind(Op::Update));
    assert_ne!(kind(Op::Insert), kind(Op::Delete));
}

/// Three thousand rows, each asking for its own result: this would take minutes if each parsed the
/// answer or made a list of it anew.
#[test]
fn large_batches_are_not_gone_through_for_each_row() {
    let declared = batched(json!({ "upsert": put() }));
    let keys: Vec<String> = (0..3_000).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let told: Vec<Value> = keys.iter().map(|key| json!({ "id": key, "note": "x".repeat(100) })).collect();
    let answer = answer(json!({ "results": told }));
    with(Op::Update, &keys, |works| {
        assert!(declared.call(works).is_ok());
        let Results::Each(results) = declared.results(works, &answer) else { panic!("results") };
        assert!(results.iter().all(Result::is_ok));
    });
}

#[track_caller]
fn wrong(steps: Value, expected: &[&str]) {
    let errors = read_as(json!({ "upsert": steps }), true).expect_err("something is wrong");
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        let error = error.to_string();
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

#[test]
fn a_batch_is_one_step_that_is_the_same_for_every_row() {
    wrong(
        json!([{ "post": "/a" }, { "put": "/b" }]),
        &["entities.loan.upsert[1]: the entity has a `batch`, so this sequence is one call for many rows"],
    );
    let more = json!([{
        "post": "/a", "if": "{{ true }}", "for_each": "{{ [1] }}", "on": { "404": [{ "name": "b", "put": "/b" }] },
        "lookup": { "get": "/a" },
    }]);
    wrong(
        more,
        &[
            "upsert[0].if: a call for a batch of rows takes no `if`: whether a row is sent at all is for the entity's `when`",
            "upsert[0].lookup: a call for a batch of rows takes no `lookup`: let the call replace",
            "upsert[0].for_each: a call for a batch of rows takes no `for_each`: write `{ each: … }`",
            "upsert[0].on: a call for a batch of rows takes no `on`: what the answer says about one row is for `failed`",
        ],
    );
}

#[test]
fn names_are_known_where_they_mean_something() {
    let body = |body: &str| json!([{ "post": "/a", "body": body }]);
    for (name, instead) in [
        ("row.id", "rows"),
        ("old", "rows"),
        ("key", "keys"),
        ("link", "links"),
        ("op", "rows"),
        ("change.id", "rows"),
    ] {
        let name_alone = name.split('.').next().unwrap_or_default();
        let message = format!("`{name_alone}` is of one row, and this call carries a batch of them");
        wrong(body(&format!("{{{{ {name} }}}}")), &[&message]);
        wrong(body(&format!("{{{{ {name} }}}}")), &[&format!("under `each`, or go through `{instead}`")]);
    }
    wrong(body("{{ index }}"), &["`index` is known only where one row of a batch is looked at"]);
    wrong(
        body("{{ rows.id }}"),
        &["this is a list and has no field `id`: go through it, `rows.map(r, r.id)`"],
    );
    wrong(json!([{ "post": "/a", "body": { "each": "{{ saved.x }}" } }]), &["a batch is a single step"]);
    wrong(json!([{ "post": "/{{ row.id }}" }]), &["`row` is of one row"]);
    let errors = read(json!({ "upsert": [{ "post": "/a", "body": "{{ rows }}", "failed": "{{ false }}" }] }));
    let errors: Vec<String> = errors.expect_err("wrong").iter().map(ToString::to_string).collect();
    assert!(
        errors[0]
            .contains("`rows`, `keys` and `links` are known only in the steps of an entity with `batch`")
    );
    assert!(
        errors[1].contains("`failed` is asked for each row of a `batch`, and the entity has none"),
        "{errors:?}"
    );
}

#[test]
fn without_a_batch_each_is_a_key_like_any_other() {
    let case =
        Case::new(json!({ "upsert": [{ "post": "/a", "body": { "each": "{{ row.id }}" } }] }), Op::Insert);
    let work =
        Work { change: &case.change, key: "7", link: None, fetched: None, parents: None, uncertain: false };
    let Step::Send(call) = case.declared.next_step(&work, &[]) else { panic!("a call") };
    assert_eq!(call.body.bytes().map(|it| &it[..]), Some(&br#"{"each":7}"#[..]));
}
