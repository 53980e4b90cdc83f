//! Schemes that need nothing but the request itself.

use crate::harness::{Postgres, Rowcall, Version, eventually, settled, wait::LONG};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const OLD: &[u8] = b"an old secret of some length";
const NEW: &[u8] = b"a new secret of some length";

/// What Standard Webhooks says a receiver must compute.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat());
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).map_or("", |it| it.to_str().expect("text"))
}

/// Answers the first call to each path with 503, all others with 200.
async fn api() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

async fn calls(server: &MockServer) -> [Request; 2] {
    let seen = server.received_requests().await.expect("recording is on");
    seen.try_into().unwrap_or_else(|seen: Vec<_>| panic!("{} calls", seen.len()))
}

#[tokio::test]
async fn each_scheme_proves_every_attempt() {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute("create table customers (id int primary key, name text)").await;
    let whsec = |key: &[u8]| format!("whsec_{}", BASE64_STANDARD.encode(key));
    let schemes = [
        ("none", "none".to_owned()),
        ("bearer", "{ bearer: { token: t0k3n } }".to_owned()),
        ("basic", "{ basic: { username: me, password: \"file:password\" } }".to_owned()),
        ("header", "{ api_key: { header: X-Key, value: k3y } }".to_owned()),
        ("query", "{ api_key: { query: key, value: \"k&y\" } }".to_owned()),
        ("signed", format!("{{ hmac: {{ secrets: [\"{}\", \"{}\"] }} }}", whsec(OLD), whsec(NEW))),
    ];
    let mut servers = Vec::new();
    let mut remotes = String::new();
    for (name, auth) in &schemes {
        let server = api().await;
        let url = server.uri();
        remotes += &format!("  {name}: {{ url: \"{url}\", auth: {auth}, retry: {{ base: 10ms }} }}\n");
        servers.push(server);
    }
    let names: Vec<&str> = schemes.iter().map(|(name, _)| *name).collect();
    let home = Rowcall::with_config("");
    std::fs::write(home.home().join("password"), "pa55\n").expect("written");
    home.configure(&format!(
        "sources:\n  main: {{ url: \"{}\", heartbeat: 50ms }}\nremotes:\n{remotes}entities:\n  customer:\n    table: customers\n    \
         remotes: [{}]\n    upsert: [{{ name: put, post: '/c/{{{{ row.id }}}}', query: {{ full: yes }}, body: {{ name: '{{{{ row.name }}}}' }} }}]\n",
        postgres.url(),
        names.join(", ")
    ));
    home.command(&["init"]).await.expect_code(0);
    home.command(&["check"]).await.expect_code(0);
    let _service = home.run();
    postgres.execute("insert into customers values (7, 'Ada')").await;
    settled(&postgres).await;
    for (server, name) in servers.iter().zip(names) {
        let [first, second] = calls(server).await;
        for call in [&first, &second] {
            let expected = match name {
                "bearer" => "Bearer t0k3n",
                "basic" => "Basic bWU6cGE1NQ==",
                _ => "",
            };
            assert_eq!(header(call, "authorization"), expected, "{name}");
            assert_eq!(header(call, "x-key"), if name == "header" { "k3y" } else { "" });
            let query = if name == "query" { "full=yes&key=k%26y" } else { "full=yes" };
            assert_eq!(call.url.query(), Some(query), "{name}");
            let (id, at) = (header(call, "webhook-id"), header(call, "webhook-timestamp"));
            let signatures = if name == "signed" {
                assert_eq!(id, header(call, "idempotency-key").replace('.', "~"));
                [OLD, NEW].map(|key| signature(key, id, at, &call.body)).join(" ")
            } else {
                String::new()
            };
            assert_eq!(header(call, "webhook-signature"), signatures, "{name}");
        }
        assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"), "the same on every attempt");
        if name == "signed" {
            let at = |call: &Request| header(call, "webhook-timestamp").parse::<i64>().expect("seconds");
            assert!(at(&first) > 1_700_000_000 && at(&second) >= at(&first));
        }
    }
    // Where a step sends what the scheme sends, it is the step that is wrong.
    home.configure(
        &std::fs::read_to_string(home.config()).expect("text").replace("full: yes", "key: '{{ key }}'"),
    );
    drop(_service);
    let _service = home.run();
    postgres.execute("update customers set name = 'Bob'").await;
    let client = postgres.client().await;
    eventually("one is parked", LONG, async || match &*crate::harness::live::parked_lines(&client).await {
        [one] if one == "customer.query 7 rejected template" => Ok(()),
        other => Err(other.to_vec()),
    })
    .await;
}
