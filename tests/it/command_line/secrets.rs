//! No secret leaves the process (invariant 7): everything it says, logs and stores, at the highest
//! level of detail and in the worst of cases, is searched for every secret it was given.

use crate::harness::{Postgres, Rowcall, Version, eventually, live::parked_lines, settled, wait::LONG};
use std::fmt::Write;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

const PASSWORD: &str = "s3cr3t-database-password";
const TOKEN: &str = "s3cr3t-bearer-token";
const HEADER: &str = "s3cr3t-header-value";

const ENTITIES: &str = "
  c:
    table: customers
    upsert: [{ name: put, put: '/c/{{ row.id }}', query: { q: '{{ row.name }}' }, body: { name: '{{ row.name }}' } }]
  d:
    table: customers
    upsert: [{ name: put, put: '/d/{{ row.id }}', body: { name: '{{ row.nothing }}' } }]";

fn yaml(postgres: &Postgres, bank: &str, password: &str) -> String {
    let url = postgres.url_as("app", password);
    format!(
        "sources:\n  main: {{ url: \"{url}\", heartbeat: 50ms }}\n\
         remotes:\n  bank:\n    url: \"{bank}\"\n    auth: {{ bearer: {{ token: \"{TOKEN}\" }} }}\n    headers: {{ X-Key: \"{HEADER}\" }}\n    \
         retry: {{ attempts: 2, base: 10ms }}\n\
         log: {{ level: trace }}\nentities:{ENTITIES}\n"
    )
}

#[tokio::test]
async fn no_secret_is_in_any_output_log_or_parked_change() {
    let postgres = Postgres::with(Version::V16).hba("host all app all scram-sha-256").start().await;
    postgres.execute(&format!("create role app login superuser password '{PASSWORD}'")).await;
    postgres.execute("create table customers (id int primary key, name text, nothing text)").await;
    let bank = MockServer::start().await;
    // Fails in every way, and says back what it was told.
    let answer = |request: &Request| {
        let said =
            |name: &str| request.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("").to_owned();
        let status = match request.url.path() {
            "/c/1" => 401,
            "/c/2" => 503,
            "/c/3" => 302,
            _ => 200,
        };
        assert_eq!(said("authorization"), format!("Bearer {TOKEN}"));
        assert_eq!(said("x-key"), HEADER);
        ResponseTemplate::new(status)
            .set_body_string("no")
            .insert_header("location", "https://example.org/x?sig=hidden")
    };
    Mock::given(method("PUT")).respond_with(answer).mount(&bank).await;
    let home = Rowcall::with_config(&yaml(&postgres, &bank.uri(), PASSWORD));
    let mut said = String::new();
    let mut say = |output: crate::harness::rowcall::Output| {
        write!(said, "{}{}", output.stdout, output.stderr).expect("text")
    };
    say(home.command(&["init"]).await.expect_code(0));
    say(home.command(&["init", "--print"]).await.expect_code(0));
    postgres.execute("alter table customers drop column nothing").await;
    say(home.command(&["check"]).await.expect_code(1));
    say(home.command(&["run"]).await.expect_code(1));
    postgres.execute("alter table customers add nothing text").await;
    let service = home.run();
    postgres.execute("insert into customers values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')").await;
    settled(&postgres).await;
    // A connection that breaks is told of with its URL at most without the password.
    postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'").await;
    postgres.execute("insert into customers values (5, 'e')").await;
    settled(&postgres).await;
    let client = postgres.client().await;
    eventually("three are parked", LONG, async || {
        let parked = parked_lines(&client).await;
        if parked.len() == 3 { Ok(()) } else { Err(parked) }
    })
    .await;
    service.sigterm();
    let (status, log) = service.end().await;
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "it says everything it can");
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["parked", "list"],
        &["parked", "list", "--json"],
        &["parked", "show", "1"],
        &["config", "show"],
        &["check", "--json"],
        &["preview", "c", "1"],
    ] {
        say(home.command(args).await);
    }
    // A wrong password and a wrong URL are secrets too.
    home.configure(&yaml(&postgres, &bank.uri(), &format!("{PASSWORD}x")));
    say(home.command(&["run"]).await.expect_code(1));
    say(home.command(&["check"]).await.expect_code(1));
    home.configure(&yaml(&postgres, &bank.uri(), PASSWORD).replace("postgres://", "postgers://"));
    say(home.command(&["run"]).await.expect_code(2));
    home.configure(
        &yaml(&postgres, &bank.uri(), PASSWORD).replace("/postgres\"", "/postgres?sslmode=maybe\""),
    );
    say(home.command(&["run"]).await.expect_code(2));
    let stored = client
        .query_one(
            "select coalesce((select string_agg(p::text, '') from rowcall.parked p), '')
                 || coalesce((select string_agg(s::text, '') from rowcall.route_status s), '')
                 || coalesce((select string_agg(i::text, '') from rowcall.instance i), '')",
            &[],
        )
        .await
        .expect("what is stored");
    let stored: String = stored.get(0);
    assert!(stored.contains("401"), "{stored}");
    for (place, text) in [("the log", &log), ("the outputs", &said), ("the state", &stored)] {
        for secret in [PASSWORD, TOKEN, HEADER, "hidden"] {
            if let Some(at) = text.find(secret) {
                let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
                panic!("{place}: {secret} is in: {}", text[line..].lines().next().unwrap_or_default());
            }
        }
    }
}
