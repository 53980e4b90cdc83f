//! The program ends, in order or not, and starts again.

use crate::harness::{Live, Postgres, Version, eventually, wait::LONG};
use rowcall::demo::{Bank, Effect, Fault, Options, Rule};

const LOANS: &str = "create table loans (id int primary key, months int)";

const LOAN: &str = "
  loan:
    table: loans
    upsert:
      - { name: create, post: /loans, body: { ref: '{{ row.id }}' }, save: { loan_id: '{{ answer.body.id }}' } }
      - { name: schedule, post: '/loans/{{ saved.loan_id }}/schedule', body: { months: '{{ row.months }}' } }";

/// Waits until a fault has befallen a request, so that it is under way.
async fn befallen(live: &Live, times: u64) {
    eventually("a call is under way", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults >= times { Ok(()) } else { Err(faults) }
    })
    .await;
}

/// `effect step` of everything the bank has acted on or recognised.
fn effects(live: &Live) -> Vec<String> {
    let step = |key: &str| key.rsplit('-').next().unwrap_or_default().to_owned();
    let told = |it: &rowcall::demo::Entry| {
        format!("{:?} {}", it.effect, step(it.key.as_deref().unwrap_or_default()))
    };
    live.bank.journal().iter().map(told).collect()
}

#[tokio::test]
async fn an_orderly_stop_keeps_the_answers_and_the_next_start_goes_on_behind_them() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    live.bank.faults().add(Rule::new(Fault::Delay(1_500)).path("/loans").times(1));
    let service = live.run();
    live.postgres.execute("insert into loans values (7, 12)").await;
    befallen(&live, 1).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    assert_eq!(
        effects(&live),
        ["Applied create"],
        "the answer under way was waited for, no further call made"
    );
    let parked = live.parked_as(&["loan 7 retrying interrupted"]).await;
    assert!(
        parked[0]["message"].as_str().is_some_and(|it| it.contains("stopped in the middle")),
        "{parked:?}"
    );
    let _service = live.run();
    live.parked_as(&[]).await;
    assert_eq!(effects(&live), ["Applied create", "Applied schedule"], "not even asked again");
    live.after(&["update loans set months = 13"]).await;
    assert_eq!(live.bank.dump().len(), 2, "an upsert that always creates: {:?}", live.bank.dump());
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_it_may_and_the_call_is_made_again_under_its_key() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    live.reconfigure(|yaml| yaml + "limits: { drain: 100ms }\n");
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/loans/L1").times(1));
    let service = live.run();
    live.postgres.execute("insert into loans values (7, 12)").await;
    befallen(&live, 1).await;
    service.sigterm();
    let status = service.wait().await;
    assert_eq!(status.code(), Some(0));
    let _service = live.run();
    live.parked_as(&[]).await;
    live.after(&[]).await;
    assert_eq!(effects(&live), ["Applied create", "Applied schedule"]);
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)));
    let service = live.run();
    live.postgres.execute("insert into loans values (7, 12)").await;
    befallen(&live, 1).await;
    service.sigterm();
    eventually("it says that it waits", LONG, async || {
        let said = service.stderr();
        if said.contains("a second signal stops at once") { Ok(()) } else { Err(said) }
    })
    .await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(1));
    live.bank.faults().clear();
    let _service = live.run();
    live.after(&[]).await;
    assert_eq!(effects(&live), ["Applied create", "Applied schedule"]);
}

/// After a crash the answers are gone: the sequence starts over, under the same keys.
#[tokio::test]
async fn a_killed_sequence_starts_over_and_a_remote_that_knows_keys_applies_it_once() {
    let live = Live::new(Version::V16, LOANS, LOAN).await;
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/loans/L1").times(1));
    let service = live.run();
    live.postgres.execute("insert into loans values (7, 12), (8, 1)").await;
    befallen(&live, 1).await;
    service.sigkill().await;
    let _service = live.run();
    live.after(&[]).await;
    let mut effects = effects(&live);
    effects.retain(|effect| effect.starts_with("Applied"));
    effects.sort();
    assert_eq!(effects, ["Applied create", "Applied create", "Applied schedule", "Applied schedule"]);
    assert_eq!(live.bank.dump().len(), 2);
    let keys = live.bank.journal().iter().filter(|it| it.effect == Effect::Duplicate).count();
    assert!(keys >= 1, "the call that was made before the kill came again under its key");
    assert_eq!(live.bank.stats().mismatched, 0);
}

const LOOKUP: &str = "
  loan:
    table: loans
    upsert:
      - name: create
        if: '{{ !has(link.loan_id) }}'
        post: /loans
        body: { ref: '{{ row.id }}' }
        save: { loan_id: '{{ answer.body.id }}' }
        lookup:
          get: /loans
          query: { ref: '{{ row.id }}' }
          accept: '{{ size(answer.body.items) > 0 }}'
          save: { loan_id: '{{ answer.body.items[0].id }}' }
      - name: schedule
        post: '/loans/{{ saved.?loan_id.orValue(link.?loan_id.orValue(\"\")) }}/schedule'
        body: { months: '{{ row.months }}' }";

/// The case that nothing but asking can cure.
#[tokio::test]
async fn a_remote_that_knows_no_keys_and_lost_its_answer_is_asked_before_it_is_told_again() {
    let postgres = Postgres::start(Version::V16).await;
    let options = Options { idempotency: false, ..Options::default() };
    let bank = Bank::start_with("127.0.0.1:0", options).await.expect("a bank");
    let live = Live::between(postgres, bank, LOANS, LOOKUP).await;
    live.bank.faults().add(Rule::new(Fault::DropAfter).method("POST").path("/loans").times(1));
    let service = live.run();
    live.after(&["insert into loans values (7, 12)"]).await;
    assert_eq!(live.calls(), [r#"POST /loans {"ref":7}"#, r#"POST /loans/L1/schedule {"months":12}"#]);
    // The same when the program is killed in between.
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/loans/L2/schedule").times(1));
    let before = live.bank.stats().faults;
    live.postgres.execute("insert into loans values (8, 6)").await;
    befallen(&live, before + 1).await;
    service.sigkill().await;
    let service = live.run();
    live.after(&[]).await;
    assert_eq!(live.calls(), [r#"POST /loans {"ref":8}"#, r#"POST /loans/L2/schedule {"months":6}"#]);
    // And over an end of attempts with a retry by hand.
    live.bank.faults().add(Rule::new(Fault::DropAfter).method("POST").times(1));
    live.bank.faults().add(Rule::new(Fault::Status(503)).path("/loans").times(2));
    live.after(&["insert into loans values (9, 3)"]).await;
    live.parked_as(&["loan 9 dead refused"]).await;
    service.sigkill().await;
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    let _service = live.run();
    live.parked_as(&[]).await;
    assert_eq!(live.calls(), [r#"POST /loans {"ref":9}"#, r#"POST /loans/L3/schedule {"months":3}"#]);
    assert_eq!(live.bank.dump().len(), 3);
}

#[tokio::test]
async fn what_is_settled_is_not_sent_again_whatever_is_redelivered() {
    let live = Live::new(Version::V16, LOANS, LOOKUP).await;
    // One key holds the checkpoint back; the other is applied beyond it.
    live.bank.faults().add(Rule::new(Fault::Delay(600_000)).path("/loans/L1/schedule").times(1));
    let service = live.run();
    live.postgres.execute("insert into loans values (1, 1)").await;
    befallen(&live, 1).await;
    live.postgres.execute("insert into loans values (2, 2)").await;
    live.calls_made(3).await;
    let client = live.postgres.client().await;
    eventually("the second is settled", LONG, async || {
        let sql = "select count(*) from rowcall.link where key = '2'";
        let count: i64 = client.query_one(sql, &[]).await.expect("a count").get(0);
        if count == 1 { Ok(()) } else { Err(count) }
    })
    .await;
    service.sigkill().await;
    let requests = live.bank.stats().requests;
    let _service = live.run();
    live.after(&[]).await;
    assert_eq!(live.calls(), [r#"POST /loans/L1/schedule {"months":1}"#]);
    // The first one's lookup and its schedule; nothing of the second.
    assert_eq!(live.bank.stats().requests - requests, 2);
}
