use super::*;
use proptest::prelude::*;

/// Everything at once: jumps both ways, nested sequences, lists, lookups.
fn rich() -> Value {
    json!({ "upsert": [
        { "name": "find", "get": "/find", "save": { "found": "{{ answer.status }}" }, "on": { "404": "create" } },
        { "name": "update", "if": "{{ has(saved.found) }}", "put": "/x", "on": { "404": "create", "410": "find" } },
        { "name": "create", "if": "{{ !has(saved.found) }}", "post": "/x",
          "save": { "id": "{{ answer.body.id }}" }, "on": { "409": "lookup", "404": "find", "410": "update" },
          "lookup": { "get": "/by", "accept": "{{ answer.body.id != '' }}", "save": { "id": "{{ answer.body.id }}" } } },
        { "name": "item", "for_each": "{{ row.items }}", "put": "/i/{{ item.sku }}", "on": {
            "404": [{ "name": "add", "post": "/i", "on": { "409": "fix" } }, { "name": "fix", "put": "/f", "on": { "404": "add" } }],
            "409": "lookup" }, "lookup": { "get": "/i/{{ item.sku }}" } },
        { "name": "end", "post": "/end", "accept": [200, 404], "on": { "409": [{ "name": "last", "post": "/last" }] } },
    ] })
}

fn replies() -> impl Strategy<Value = Vec<(u16, bool, &'static str)>> {
    let status =
        prop_oneof![3 => Just(200_u16), 1 => Just(404), 1 => Just(409), 1 => Just(410), 1 => Just(500)];
    let body = prop_oneof![3 => Just(r#"{"id":"L1"}"#), 1 => Just(r#"{"id":""}"#), 1 => Just("<html>"), 1 => Just("")];
    proptest::collection::vec((status, prop::bool::weighted(0.15), body), 0..80)
}

proptest! {
    #[test]
    fn every_sequence_of_answers_ends_and_every_call_has_a_name_of_its_own(
        replies in replies(), uncertain in any::<bool>(), linked in any::<bool>(),
    ) {
        let mut case = Case::new(rich(), Op::Update);
        case.uncertain = uncertain;
        if linked {
            case = case.linked(json!({ "id": "L0" }));
        }
        let mut answers: Vec<Answered> = Vec::new();
        let mut broken = 0;
        let mut replies = replies.into_iter();
        for round in 0.. {
            prop_assert!(round < 200, "no end: {answers:#?}");
            let Step::Send(call) = case.next(&answers) else { break };
            prop_assert!(answers.iter().all(|it| it.step != call.step), "`{}` twice", call.step);
            let (status, breaks, body) = replies.next().unwrap_or((200, false, r#"{"id":"L1"}"#));
            if breaks && broken < 20 {
                // Nobody knows whether it was made: its lookup is asked again.
                broken += 1;
                case.uncertain = true;
                answers.retain(|it| Some(&it.step) != call.lookup.as_ref());
            } else if call.accepts(status) || call.handles.contains(&status) {
                let answer = Answer { status, headers: [].into(), body: body.into() };
                answers.push(Answered { step: call.step, answer });
            } else {
                break;
            }
        }
    }

    #[test]
    fn answers_of_another_configuration_do_no_harm(
        steps in proptest::collection::vec(("(find|update|create|item|add|end|x)(\\.lookup)?(#[0-9])?(\\[[0-9]\\])?", 100_u16..600), 0..12),
        uncertain in any::<bool>(),
    ) {
        let mut case = Case::new(rich(), Op::Insert);
        case.uncertain = uncertain;
        let answers: Vec<Answered> =
            steps.into_iter().map(|(step, status)| answered(&step, status, json!({ "id": 1 }))).collect();
        case.next(&answers);
    }
}
