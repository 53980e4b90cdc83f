use super::*;
use crate::{
    mapping::Locator,
    model::{Answered, Op, ParkReason},
    synchronize::{Step, Work, declared::tests as declared},
};
use serde_json::json;

fn rule(rule: &str, message: &str) -> ValidateRule {
    ValidateRule { name: None, rule: rule.to_owned(), message: message.to_owned(), when: None }
}

fn build(
    classes: &Classes,
    class: Option<&str>,
    sequences: Value,
    when: Option<&str>,
    validate: &[ValidateRule],
) -> Result<Arc<dyn Synchronizer>, Vec<String>> {
    let sequences: Sequences = serde_json::from_value(sequences).expect("well-formed settings");
    let declaration = Declaration {
        entity: "loan",
        sequences: &sequences,
        settings: &Value::Null,
        when,
        validate,
        rules: &[],
        always: false,
        at: Locator::default().at("entities.loan"),
        columns: None,
        batched: false,
        fetched: false,
        parents: [].into(),
    };
    let built = classes.build(class, &declaration);
    built.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn gated(when: Option<&str>, validate: &[ValidateRule]) -> Arc<dyn Synchronizer> {
    build(&Classes::standard(), None, declared::loan(), when, validate)
        .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn next(synchronizer: &dyn Synchronizer, op: Op, linked: bool, answers: &[Answered]) -> Step {
    let case = declared::Case::new(declared::loan(), op).linked(json!({ "loan_id": "L0" }));
    let link = case.link.as_ref().filter(|_| linked);
    synchronizer.next_step(
        &Work { change: &case.change, key: "7", link, fetched: None, parents: None, uncertain: false },
        answers,
    )
}

fn skip(reason: &str) -> Step {
    Step::Skip(reason.into())
}

#[test]
fn a_row_that_is_not_wanted_is_skipped() {
    let gate = gated(Some("{{ row.months > 12 }}"), &[]);
    for op in [Op::Insert, Op::Update, Op::Read] {
        assert_eq!(next(&*gate, op, true, &[]), skip("`when` is false"));
    }
    let gate = gated(Some("{{ row.months == 12 }}"), &[]);
    assert!(matches!(next(&*gate, Op::Insert, false, &[]), Step::Send(_)));
}

#[test]
fn a_delete_is_not_asked_but_what_was_never_sent_is_not_deleted() {
    let gate = gated(Some("{{ row.months > 12 }}"), &[rule("{{ false }}", "never")]);
    assert!(matches!(next(&*gate, Op::Delete, true, &[]), Step::Send(_)));
    assert_eq!(next(&*gate, Op::Delete, false, &[]), skip("never sent"));
    let gate = gated(None, &[rule("{{ false }}", "never")]);
    assert_eq!(next(&*gate, Op::Delete, false, &[]), skip("no step applies"), "the steps decide");
}

#[test]
fn a_row_that_violates_a_rule_is_rejected_with_its_message() {
    let rules =
        [rule("{{ row.months > 0 }}", "fine"), rule("{{ row.customer_id < 0 }}", "The customer is unknown.")];
    let gate = gated(Some("{{ true }}"), &rules);
    let expected =
        "The customer is unknown. (the row violates the rule `{{ row.customer_id < 0 }}`)".to_owned();
    assert_eq!(
        next(&*gate, Op::Insert, false, &[]),
        Step::Reject { reason: ParkReason::Invalid, message: expected }
    );
}

#[test]
fn a_sequence_that_was_begun_is_finished() {
    let gate = gated(Some("{{ false }}"), &[rule("{{ false }}", "never")]);
    let begun = [declared::answered("create", 201, json!({ "id": "L1" }))];
    assert!(matches!(next(&*gate, Op::Insert, false, &begun), Step::Send(_)));
}

#[test]
fn a_rule_that_cannot_be_answered_rejects_the_row() {
    let gate = gated(Some("{{ row.nope }}"), &[]);
    assert!(matches!(
        next(&*gate, Op::Insert, false, &[]),
        Step::Reject { reason: ParkReason::Template, .. }
    ));
}

#[test]
fn wrong_rules_and_wrong_steps_are_said_together() {
    let steps = json!({ "upsert": [{ "name": "a" }] });
    let built =
        build(&Classes::standard(), None, steps, Some("{{ 1 + }}"), &[rule("{{ answer.status }}", "")]);
    let Err(errors) = built else { panic!("something is wrong") };
    let starts = ["entities.loan.upsert[0]", "entities.loan.when", "entities.loan.validate[0].rule"];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    assert!(errors.iter().zip(starts).all(|(error, start)| error.starts_with(start)), "{errors:#?}");
}

#[test]
fn an_unknown_class_is_told_the_known_ones() {
    let classes = Classes::standard().with("loan", |_| Err(Vec::new()));
    let Err(errors) = build(&classes, Some("lone"), json!({}), None, &[]) else { panic!("no such class") };
    assert_eq!(
        errors,
        ["entities.loan.class: there is no synchronizer class `lone`: there are `declared`, `loan`"]
    );
}

#[test]
fn a_class_of_the_programs_own_gets_what_it_was_made_with() {
    struct Says(Arc<str>);
    impl Synchronizer for Says {
        fn next_step(&self, _: &Work<'_>, _: &[Answered]) -> Step {
            Step::Skip(self.0.clone())
        }
    }
    let given: Arc<str> = "given".into();
    let classes = Classes::standard().with("says", move |_| Ok(Arc::new(Says(given.clone()))));
    let says =
        build(&classes, Some("says"), json!({}), None, &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(next(&*says, Op::Insert, false, &[]), skip("given"));
    let behind = build(&classes, Some("says"), json!({}), Some("{{ false }}"), &[]);
    let behind = behind.unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(next(&*behind, Op::Insert, false, &[]), skip("`when` is false"));
}

/// The declared loan behind these rules, the most common ones first.
fn ruled(layers: &[Value], validate: &[ValidateRule]) -> Result<Arc<dyn Synchronizer>, Vec<String>> {
    let rules: Vec<crate::model::DataRules> =
        layers.iter().map(|it| serde_json::from_value(it.clone()).expect("rules")).collect();
    let at = |index: usize| Locator::default().at(format!("rules{index}"));
    let layers: Vec<_> =
        rules.iter().enumerate().map(|(index, rules)| Layer { rules, at: at(index) }).collect();
    let sequences: Sequences = serde_json::from_value(declared::loan()).expect("well-formed settings");
    let declaration = Declaration {
        rules: &layers,
        entity: "loan",
        sequences: &sequences,
        settings: &Value::Null,
        when: None,
        validate,
        always: false,
        at: Locator::default().at("entities.loan"),
        columns: Some(["id", "customer_id", "amount", "months", "items"].map(Arc::from).into()),
        parents: Arc::default(),
        batched: false,
        fetched: false,
    };
    let built = Classes::standard().build(None, &declaration);
    built.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn rejected(layers: &[Value], validate: &[ValidateRule]) -> String {
    let gate = ruled(layers, validate).unwrap_or_else(|errors| panic!("{errors:#?}"));
    match next(&*gate, Op::Insert, false, &[]) {
        Step::Reject { message, .. } => message,
        step => format!("{step:?}"),
    }
}

#[test]
fn rules_are_asked_from_the_common_to_the_particular_and_name_themselves() {
    let rule = |name: &str, truth: bool| json!({ "validate": [{ "name": name, "rule": truth.to_string(), "message": "No." }] });
    let own = |truth: bool| {
        [ValidateRule {
            name: Some("own".into()),
            rule: truth.to_string(),
            message: String::new(),
            when: None,
        }]
    };
    let layers =
        |common, remote, entity| [rule("common", common), rule("remote", remote), rule("entity", entity)];
    let told = |name: &str| format!("rule {name}: No. (the row violates the rule `false`)");
    assert_eq!(rejected(&layers(false, false, false), &own(false)), told("common"));
    assert_eq!(rejected(&layers(true, false, false), &own(false)), told("remote"));
    assert_eq!(rejected(&layers(true, true, false), &own(false)), told("entity"));
    assert_eq!(
        rejected(&layers(true, true, true), &own(false)),
        "rule own: (the row violates the rule `false`)"
    );
    assert!(rejected(&layers(true, true, true), &own(true)).starts_with("Send("));
}

#[test]
fn a_rule_is_asked_of_its_entities_and_where_its_when_is_true() {
    let rules = |more: Value| {
        let mut rule = json!({ "name": "r", "rule": "{{ row.months > 100 }}" });
        rule.as_object_mut().expect("keys").extend(more.as_object().expect("keys").clone());
        [json!({ "validate": [rule] })]
    };
    let passes = |more| rejected(&rules(more), &[]).starts_with("Send(");
    assert!(!passes(json!({})));
    assert!(!passes(json!({ "entities": ["customer", "loan"] })));
    assert!(
        passes(json!({ "entities": ["customer"], "rule": "{{ row.no_such_column }}" })),
        "its columns are theirs"
    );
    assert!(!passes(json!({ "when": "{{ row.months == 12 }}" })));
    assert!(passes(json!({ "when": "{{ row.months != 12 }}" })));
    let Err(errors) = ruled(&rules(json!({ "rule": "{{ row.no_such_column }}" })), &[]) else {
        panic!("no such column")
    };
    assert!(errors[0].starts_with("rules0.validate[0].rule: the table has no column"), "{errors:?}");
    // A rule that cannot be answered names itself too.
    let told = rejected(&rules(json!({ "rule": "{{ row.months }}" })), &[]);
    assert!(told.starts_with("rule r: rules0.validate[0].rule: it must be true or false"), "{told}");
}

#[test]
fn fragments_serve_steps_and_rules_and_are_read_once() {
    let layers = [
        json!({ "fragments": { "months": "{{ row.months }}" } }),
        json!({ "validate": [{ "name": "short", "rule": "{{ fragment.months <= 6 }}", "message": "Too long." }] }),
    ];
    assert!(rejected(&layers, &[]).starts_with("rule short: Too long. "));
    let Err(errors) = ruled(&[json!({ "fragments": { "a": "{{ fragment.a }}" } })], &[]) else {
        panic!("a circle")
    };
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("rules0.fragments.a: these fragments use each other"), "{errors:?}");
}

#[test]
fn a_class_that_makes_calls_for_one_row_takes_no_batch() {
    struct Single;
    impl Synchronizer for Single {
        fn next_step(&self, _: &Work<'_>, _: &[Answered]) -> Step {
            skip("never")
        }
    }
    let classes = Classes::standard().with("single", |_| Ok(Arc::new(Single)));
    let declaration = Declaration {
        entity: "loan",
        sequences: &Sequences::default(),
        settings: &Value::Null,
        when: None,
        validate: &[],
        rules: &[],
        at: Locator::default().at("entities.loan"),
        columns: None,
        always: false,
        parents: Arc::default(),
        batched: true,
        fetched: false,
    };
    let Err(errors) = classes.build(Some("single"), &declaration) else { panic!("it is refused") };
    let said = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        said.starts_with("entities.loan.batch: the class `single` makes calls for one row each"),
        "{said}"
    );
}
