//! Changes of the stream, and what was parked of it.

use super::{LOAN, TABLE, each_key_once, equal, key, told, versions};
use crate::harness::{Live, each_version};
use rowcall::demo::{Effect, Fault, Rule};

each_version! {
    async fn after_the_answer_the_call_is_made_again_under_its_key(version: Version) {
        let live = Live::new(version, TABLE, LOAN).await;
        let service = live.rowcall.run_until("after-answer:2");
        live.after(&["insert into loans values (1, 1)"]).await;
        live.postgres.execute("update loans set version = 2").await;
        service.killed().await;
        let before = live.bank.journal();
        assert_eq!(before.iter().map(told).collect::<Vec<_>>(), ["Applied create", "Applied update"]);
        live.postgres.execute("update loans set version = 3; insert into loans values (2, 1)").await;
        let service = live.run();
        live.after(&["update loans set version = version + 1"]).await;
        let journal = live.bank.journal();
        each_key_once(&journal);
        let again: Vec<_> = journal.iter().filter(|it| it.effect == Effect::Duplicate).map(key).collect();
        assert_eq!(again, [key(&before[1])], "what was settled is not even asked again");
        let of_one = journal[2..].iter().find(|it| it.body()["ref"] == 1).expect("a call");
        assert_eq!(of_one.effect, Effect::Duplicate, "before anything that is newer: {journal:#?}");
        assert_eq!(versions(&journal), ["1 1", "1 2", "1 3", "1 4", "2 1", "2 2"]);
        assert_eq!(live.bank.stats().mismatched, 0);
        equal(&live).await;
        service.sigkill().await;
    }

    async fn after_the_settlement_nothing_is_sent_again(version: Version) {
        let live = Live::new(version, TABLE, LOAN).await;
        let service = live.rowcall.run_until("after-settle:2");
        live.after(&["insert into loans values (1, 1)"]).await;
        live.postgres.execute("update loans set version = 2").await;
        service.killed().await;
        let untold = "select confirmed_flush_lsn < lsn from pg_replication_slots, rowcall.checkpoint";
        assert_eq!(live.postgres.text(untold).await.as_deref(), Some("t"), "the source has not been told");
        live.postgres.execute("update loans set version = 3").await;
        let service = live.run();
        live.after(&["insert into loans values (2, 1)"]).await;
        live.acknowledged().await;
        let journal = live.bank.journal();
        each_key_once(&journal);
        assert_eq!(versions(&journal), ["1 1", "1 2", "1 3", "2 1"]);
        assert_eq!(live.bank.stats().requests, 4);
        equal(&live).await;
        service.sigkill().await;
    }
}

/// Another key holds the checkpoint back: what is settled beyond it is redelivered, and known.
#[tokio::test]
async fn what_is_settled_beyond_the_checkpoint_is_not_sent_again() {
    let live = Live::new(crate::harness::Version::V16, TABLE, LOAN).await;
    let service = live.rowcall.run_until("after-settle:2");
    live.after(&["insert into loans values (1, 1)"]).await;
    live.bank.faults().add(Rule::new(Fault::Hold).path("/loans/L1"));
    live.postgres.execute("update loans set version = 2").await;
    live.postgres.execute("insert into loans values (2, 1)").await;
    service.killed().await;
    assert_eq!(versions(&live.bank.journal()), ["1 1", "2 1"]);
    live.bank.faults().clear();
    let service = live.run();
    live.after(&["update loans set version = version + 1"]).await;
    let journal = live.bank.journal();
    each_key_once(&journal);
    assert_eq!(versions(&journal), ["1 1", "1 2", "1 3", "2 1", "2 2"]);
    assert_eq!(journal.iter().filter(|it| it.effect == Effect::Duplicate).count(), 0);
    equal(&live).await;
    service.sigkill().await;
}

const SEQUENCE: &str = "
  loan:
    table: loans
    upsert:
      - { name: create, post: /loans, body: { ref: '{{ row.id }}', version: '{{ row.version }}' }, save: { loan_id: '{{ answer.body.id }}' } }
      - { name: schedule, post: '/loans/{{ saved.loan_id }}/schedule', body: { ref: '{{ row.id }}', version: '{{ row.version }}' } }";

#[tokio::test]
async fn a_sequence_that_is_killed_behind_either_answer_has_each_effect_once() {
    let live = Live::new(crate::harness::Version::V16, TABLE, SEQUENCE).await;
    let expected: [&[&str]; 2] = [
        &["Applied create", "Duplicate create", "Applied schedule"],
        &["Applied create", "Applied schedule", "Duplicate create", "Duplicate schedule"],
    ];
    for (at, expected) in expected.into_iter().enumerate() {
        let service = live.rowcall.run_until(&format!("after-answer:{}", at + 1));
        live.postgres.execute(&format!("insert into loans values ({at}, 1)")).await;
        service.killed().await;
        let service = live.run();
        live.after(&[]).await;
        let journal = live.bank.take_journal();
        each_key_once(&journal);
        assert_eq!(journal.iter().map(told).collect::<Vec<_>>(), expected);
        service.sigkill().await;
    }
    equal(&live).await;
    assert_eq!(live.bank.stats().mismatched, 0);
}

/// What a person lets go on is no change of the stream, and keeps its call key all the same.
#[tokio::test]
async fn a_parked_change_that_is_let_go_on_is_killed_at_both_stages_and_sent_once() {
    let live = Live::new(crate::harness::Version::V16, TABLE, LOAN).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).path("/loans").times(1));
    let service = live.run();
    live.after(&["insert into loans values (1, 1)", "update loans set version = 2"]).await;
    live.parked_as(&["loan 1 rejected refused", "loan 1 queued behind"]).await;
    service.sigkill().await;
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    live.rowcall.run_until("after-answer").killed().await;
    live.parked_as(&["loan 1 retrying refused", "loan 1 queued behind"]).await;
    live.rowcall.run_until("after-settle").killed().await;
    live.parked_as(&["loan 1 retrying behind"]).await;
    let service = live.run();
    live.parked_as(&[]).await;
    let journal = live.bank.journal();
    each_key_once(&journal);
    let told: Vec<_> = journal.iter().map(told).collect();
    assert_eq!(told, ["Applied create", "Duplicate create", "Applied update"]);
    equal(&live).await;
    service.sigkill().await;
}
