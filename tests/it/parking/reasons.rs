//! Why changes are parked, and that the message says what, where and what to do.

use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

const TABLE: &str = "create table customers (id int primary key, name text, amount numeric)";

fn entity(more: &str) -> String {
    format!(
        "
  customer:
    table: customers{more}
    upsert: [{{ name: put, put: '/objects/c/{{{{ row.id }}}}', body: {{ name: '{{{{ row.name }}}}' }} }}]"
    )
}

async fn message(live: &Live, expected: &[&str]) -> String {
    let parked = live.parked_as(expected).await;
    parked[0]["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn attempts_come_to_an_end_and_a_retry_starts_them_anew() {
    let live = Live::new(Version::V16, TABLE, &entity("")).await;
    live.bank.faults().add(Rule::new(Fault::Status(503)).path("/objects/c/1").times(5));
    live.bank.faults().add(Rule::new(Fault::DropBefore).path("/objects/c/2"));
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a'), (2, 'b'), (3, 'c')"]).await;
    let expected = ["customer 1 dead refused", "customer 2 dead transport"];
    let parked = live.parked_as(&expected).await;
    assert_eq!(parked.iter().map(|it| it["attempts"].as_i64()).collect::<Vec<_>>(), [Some(3), Some(3)]);
    assert_eq!(live.bank.stats().faults, 6, "three attempts each");
    assert_eq!(live.calls(), [r#"PUT /objects/c/3 {"name":"c"}"#]);
    // Two more fail, the third does not.
    live.rowcall.command(&["parked", "retry", "--state", "dead", "--key", "1"]).await.expect_code(0);
    live.parked_as(&expected[1..]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"a"}"#]);
    let keys: Vec<_> = live.bank.journal().iter().map(|it| it.key.clone()).collect();
    assert!(keys.is_empty(), "taken");
}

#[tokio::test]
async fn a_remote_that_is_not_there_and_one_that_is_slow_are_told_apart() {
    let live = Live::new(Version::V16, TABLE, &entity("")).await;
    let yaml = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    live.rowcall
        .configure(&yaml.replace("attempts: 3", "attempts: 1").replace("retry:", "timeout: 200ms, retry:"));
    live.bank.faults().add(Rule::new(Fault::Delay(30_000)));
    let service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    let slow = message(&live, &["customer 1 dead timeout"]).await;
    assert!(slow.contains("PUT /objects/c/1") && slow.contains("200ms"), "{slow}");
    service.sigkill().await;
    let Live { postgres, bank, rowcall } = live;
    drop(bank);
    let bank = rowcall::demo::Bank::start("127.0.0.1:0").await.expect("another bank");
    let live = Live { postgres, bank, rowcall };
    let _service = live.run();
    live.after(&["insert into customers values (2, 'b')"]).await;
    live.parked_as(&["customer 1 dead timeout", "customer 2 dead transport"]).await;
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_promised_parks_behind_the_answers_it_has() {
    let entity = "
  loan:
    table: customers
    upsert:
      - { name: create, post: /loans, body: {}, save: { id: '{{ answer.body.id }}' } }
      - { name: schedule, post: '/loans/{{ saved.id }}/schedule', body: {}, accept: '{{ answer.body.ok }}' }";
    let live = Live::new(Version::V16, TABLE, entity).await;
    live.bank.faults().add(Rule::new(Fault::BadJson).path("/loans/L1/schedule").times(1));
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    let said = message(&live, &["loan 1 rejected answer"]).await;
    assert!(said.contains("`schedule`") && said.contains("{\"id\": <html>"), "{said}");
    live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
    live.parked_as(&["loan 1 rejected answer"]).await;
}

#[tokio::test]
async fn an_answer_without_the_id_to_save_is_shown() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_string("{\"ident\": 7, \"nul\": \"\\u0000\"}");
    Mock::given(method("POST")).respond_with(answer).mount(&server).await;
    let entity = "
  loan:
    table: customers
    upsert:
      - { name: first, post: /first, body: {} }
      - { name: create, post: /loans, body: {}, save: { id: '{{ answer.body.id }}' } }";
    let live = Live::new(Version::V16, TABLE, entity).await;
    let yaml = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    live.rowcall.configure(&yaml.replace(&live.bank.url(), &server.uri()));
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    let said = message(&live, &["loan 1 rejected answer"]).await;
    assert!(said.contains("create") && said.contains("ident") && said.contains("rowcall.yaml:"), "{said}");
    let shown = live.rowcall.command(&["parked", "show", "1", "--json"]).await.expect_code(0);
    assert!(shown.stdout.contains("\"first\""), "the answers so far are kept: {}", shown.stdout);
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_parked_with_the_rules_message() {
    let rules = "
    validate:
      - { rule: '{{ row.amount > 0 }}', message: a customer needs an amount }
      - { rule: '{{ row.name != null }}', message: and a name }";
    let live = Live::new(Version::V16, TABLE, &entity(rules)).await;
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a', 0), (2, null, 1), (3, 'c', 0.01)"]).await;
    let parked = live.parked_as(&["customer 1 rejected invalid", "customer 2 rejected invalid"]).await;
    let messages: Vec<_> = parked.iter().map(|it| it["message"].as_str().expect("a message")).collect();
    assert!(
        messages[0].contains("a customer needs an amount") && messages[1].contains("and a name"),
        "{messages:?}"
    );
    assert_eq!(live.calls(), [r#"PUT /objects/c/3 {"name":"c"}"#]);
    // The next version is good; the bad one is given up.
    live.after(&["update customers set amount = 5 where id = 1"]).await;
    live.rowcall.command(&["parked", "discard", "--reason", "invalid", "--key", "1"]).await.expect_code(0);
    assert_eq!(live.calls_made(1).await, [r#"PUT /objects/c/1 {"name":"a"}"#]);
}

#[tokio::test]
async fn an_expression_that_fails_on_a_row_names_file_line_and_column() {
    let entity = "
  customer:
    table: customers
    upsert:
      - name: put
        put: /objects/c/{{ row.id }}
        body:
          per: '{{ (100 / int(row.amount)).fixed(2) }}'";
    let live = Live::new(Version::V16, TABLE, entity).await;
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a', 0), (2, 'b', 8)"]).await;
    let said = message(&live, &["customer 1 rejected template"]).await;
    let yaml = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    let line = 1 + yaml.lines().position(|line| line.contains("per:")).expect("the line");
    assert!(
        said.contains(&format!("rowcall.yaml:{line}:"))
            && said.contains("entities.customer.upsert[0].body.per"),
        "{said}"
    );
    assert_eq!(live.calls(), [r#"PUT /objects/c/2 {"per":12.00}"#]);
}

/// What it asked for is waited out: a second call before would be refused for good.
#[tokio::test]
async fn a_remote_that_asks_to_wait_is_called_again_when_it_said() {
    let server = MockServer::start().await;
    let wait = ResponseTemplate::new(429).insert_header("retry-after", "2");
    let asked = std::sync::Arc::new(std::sync::Mutex::new(None::<tokio::time::Instant>));
    let respond = move |_: &wiremock::Request| {
        let now = tokio::time::Instant::now();
        let mut asked = asked.lock().expect("nobody panics here");
        match *asked {
            None => {
                *asked = Some(now);
                wait.clone()
            }
            Some(at) if now.duration_since(at).as_secs() < 2 => ResponseTemplate::new(400),
            Some(_) => ResponseTemplate::new(200),
        }
    };
    Mock::given(path("/objects/c/1")).respond_with(respond).mount(&server).await;
    Mock::given(path("/objects/c/2")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let live = Live::new(Version::V16, TABLE, &entity("")).await;
    let yaml = std::fs::read_to_string(live.rowcall.config()).expect("the configuration");
    live.rowcall.configure(&yaml.replace(&live.bank.url(), &server.uri()).replace("max: 200ms", "max: 1m"));
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a')", "insert into customers values (2, 'b')"]).await;
    let calls = server.received_requests().await.expect("they are recorded");
    let mut paths: Vec<_> = calls.iter().map(|it| it.url.path()).collect();
    paths.sort();
    assert_eq!(paths, ["/objects/c/1", "/objects/c/1", "/objects/c/2"]);
    let key = |at: usize| calls[at].headers["idempotency-key"].clone();
    assert!(key(0) != key(1) || key(1) != key(2), "two calls of one change, one of another");
    live.parked_as(&[]).await;
}

#[tokio::test]
async fn a_row_whose_key_is_null_is_parked_alone() {
    let entities = "
  named:
    table: named
    key: code
    upsert: [{ put: '/objects/n/{{ row.id }}', body: { code: '{{ row.code }}' } }]";
    let sql = "create table named (id int primary key, code text); alter table named replica identity full";
    let live = Live::new(Version::V16, sql, entities).await;
    let _service = live.run();
    live.after(&["insert into named values (1, null), (2, 'b'), (3, null)"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/n/2 {"code":"b"}"#]);
    let client = live.postgres.client().await;
    eventually("two parked changes, neither behind the other", LONG, async || {
        let sql = "select count(*) from rowcall.parked where state = 'rejected' and reason = 'identity'";
        let count: i64 = client.query_one(sql, &[]).await.expect("a count").get(0);
        if count == 2 { Ok(()) } else { Err(count) }
    })
    .await;
    let parked = live.parked().await;
    let said = parked[0]["message"].as_str().expect("a message");
    assert!(said.contains("key column `code` of table public.named is null"), "{said}");
    live.after(&["update named set code = 'c' where id = 3"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/n/3 {"code":"c"}"#]);
}
