//! OAuth 2 client credentials against the bank, whose tokens end, are revoked, and are not given.

use crate::harness::{Live, Version, eventually, settled, wait::LONG};
use rowcall::demo::{Effect, Fault, Rule, TOKEN_PATH};
use std::time::Duration;

const CUSTOMERS: &str = "create table customers (id int primary key, name text)";

const CUSTOMER: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// A bank that gives tokens to `rowcall` only, which has this secret, 64 calls at once and one
/// attempt for each.
async fn live(secret: &str) -> Live {
    let live = Live::new(Version::V16, CUSTOMERS, CUSTOMER).await;
    live.bank.tokens().require("rowcall", "s3cr3t");
    let auth = format!(
        "auth: {{ oauth2: {{ token_url: \"{}{TOKEN_PATH}\", client_id: rowcall, client_secret: {secret}, credentials: body }} }}, \
         concurrency: 64, retry: {{ attempts: 1,",
        live.bank.url()
    );
    live.reconfigure(|yaml| yaml.replace("retry: { attempts: 3,", &auth));
    live
}

/// Every row arrived, by exactly one call that did something.
fn arrived_once(live: &Live, rows: usize) {
    let journal = live.bank.journal();
    assert!(journal.iter().all(|it| it.effect == Effect::Applied), "{journal:#?}");
    assert_eq!((journal.len(), live.bank.dump().len()), (rows, rows));
}

async fn requests(live: &Live, count: u64) {
    eventually(&format!("{count} calls"), LONG, async || {
        let stats = live.bank.stats();
        if stats.requests >= count { Ok(()) } else { Err(stats) }
    })
    .await;
}

#[tokio::test]
async fn a_token_that_ends_under_64_concurrent_calls_is_renewed_once() {
    let live = live("s3cr3t").await;
    let check = live.rowcall.command(&["check"]).await.expect_code(0);
    assert!(check.stdout.contains("gives a token"), "{}", check.stdout);
    assert_eq!(live.bank.tokens().issued(), 1);
    let _service = live.run();
    live.after(&["insert into customers values (0, 'first')"]).await;
    assert_eq!((live.bank.tokens().issued(), live.bank.tokens().unauthorized()), (2, 0));
    // 64 calls are under way with the present token when it ends.
    live.bank.faults().add(Rule::new(Fault::Hold).path("/customers"));
    live.postgres.execute("insert into customers select i, 'more' from generate_series(1, 500) i").await;
    requests(&live, 1 + 64).await;
    live.bank.tokens().revoke();
    live.bank.faults().clear();
    settled(&live.postgres).await;
    assert_eq!(live.bank.tokens().unauthorized(), 64, "each of them was refused once");
    assert_eq!(live.bank.tokens().issued(), 3, "and one token was asked for");
    assert_eq!(live.bank.tokens().refused(), 0);
    assert_eq!(live.bank.stats().requests, 1 + 500 + 64);
    arrived_once(&live, 501);
    assert_eq!(live.parked().await.len(), 0);
}

#[tokio::test]
async fn how_old_a_token_is_and_how_old_it_gets_is_shown() {
    let live = live("s3cr3t").await;
    live.bank.tokens().lifetime(Duration::from_secs(1_000));
    let _service = live.run();
    live.after(&["insert into customers values (1, 'n')"]).await;
    let lasts = "select extract(epoch from token_until - token_since)::int from rowcall.remote_status
                 where token_since between now() - interval '5 minutes' and now()";
    eventually("the token is told of", LONG, async || {
        let lasts = live.postgres.text(lasts).await;
        if lasts.as_deref() == Some("1000") { Ok(()) } else { Err(lasts) }
    })
    .await;
    let remote = status(&live, "remotes").await;
    let at =
        |name: &str| remote[name].as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok()).expect(name);
    assert_eq!(at("token_until").duration_since(at("token_since")).as_secs(), 1_000);
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(text.contains("  token of ") && text.contains(", good until "), "{text}");
}

#[tokio::test]
async fn tokens_of_a_short_life_are_renewed_as_they_end() {
    let live = live("s3cr3t").await;
    live.bank.tokens().lifetime(Duration::from_secs(1));
    let _service = live.run();
    let mut rows = 0;
    while live.bank.tokens().issued() < 4 {
        rows += 1;
        live.after(&[&format!("insert into customers values ({rows}, 'n')")]).await;
    }
    arrived_once(&live, rows);
    assert_eq!(live.parked().await.len(), 0);
}

#[tokio::test]
async fn while_no_token_is_given_nothing_is_called_or_parked_and_then_everything_goes_on() {
    for (fault, told) in
        [(Fault::Status(503), "answered with 503"), (Fault::DropBefore, "the connection broke")]
    {
        let live = live("s3cr3t").await;
        live.bank.faults().add(Rule::new(fault).path(TOKEN_PATH));
        let service = live.run();
        live.postgres.execute("insert into customers select i, 'n' from generate_series(1, 64) i").await;
        eventually("all 64 wait", LONG, async || {
            let route = status(&live, "routes").await;
            let error = route["last_error"].as_str().unwrap_or_default();
            if route["backing_off"] == 64 && error.contains(told) { Ok(()) } else { Err(route) }
        })
        .await;
        let asked = live.bank.stats().faults;
        assert!(asked < 10, "64 calls wait for {asked} requests");
        assert_eq!((live.bank.stats().requests, live.parked().await.len()), (0, 0));
        live.bank.faults().clear();
        settled(&live.postgres).await;
        arrived_once(&live, 64);
        assert_eq!((live.bank.tokens().issued(), live.parked().await.len()), (1, 0));
        assert!(!service.stderr().contains("s3cr3t"));
    }
}

#[tokio::test]
async fn a_client_that_is_refused_is_said_and_burns_no_change() {
    let live = live("wr0ng-s3cr3t").await;
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("answered with 401 (check `client_id`"), "{}", check.stdout);
    assert!(check.stdout.contains("invalid_client: not a client of this bank"), "{}", check.stdout);
    // For a breaker it is a failure of the remote like any other.
    live.reconfigure(|yaml| {
        yaml.replace("breaker: { failures: 0 }", "breaker: { failures: 3, open: 100ms, max: 1s }")
    });
    let service = live.run();
    live.postgres.execute("insert into customers select i, 'n' from generate_series(1, 64) i").await;
    eventually("the breaker opens, and says why", LONG, async || {
        let log = service.stderr();
        let open = log.contains("the breaker is open") && log.contains("not a client of this bank");
        if open { Ok(()) } else { Err(log) }
    })
    .await;
    let refused = live.bank.tokens().refused();
    assert!(refused < 10, "64 calls wait for {refused} requests");
    // The bank comes to know it.
    live.bank.tokens().require("rowcall", "wr0ng-s3cr3t");
    settled(&live.postgres).await;
    arrived_once(&live, 64);
    assert_eq!(live.parked().await.len(), 0);
}

async fn status(live: &Live, of: &str) -> serde_json::Value {
    let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    // There is none before anything was settled.
    status[of].get(0).cloned().unwrap_or_default()
}
