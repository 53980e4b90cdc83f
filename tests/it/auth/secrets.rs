//! Credentials that are asked for, computed or put into a URL do not leave either (invariant 7).

use crate::harness::{Postgres, Rowcall, Version, eventually, live::parked_lines, wait::LONG};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

const CLIENT: &str = "s3cr3t-of-the-client";
const TOKEN: &str = "s3cr3t-t0k3n";
const KEY: &str = "s3cr3t/key";
const CODED: &str = "s3cr3t%2Fkey";
const SIGNING: &str = "czNjcjN0LW9mLXRoZS1zaWduYXR1cmU=";

#[tokio::test]
async fn no_token_client_secret_or_key_is_in_any_output_log_or_parked_change() {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute("create table customers (id int primary key, name text)").await;
    let api = MockServer::start().await;
    let grant = ResponseTemplate::new(200).set_body_string(format!("{{\"access_token\":\"{TOKEN}\"}}"));
    Mock::given(path("/token")).respond_with(grant).mount(&api).await;
    let refuse = ResponseTemplate::new(401).set_body_string(format!("{{\"error\":\"no {CLIENT}\"}}"));
    Mock::given(path("/refused")).respond_with(refuse).mount(&api).await;
    // Says back everything it was told, in the body and in a header.
    let answer = |request: &Request| {
        let header = |name: &str| request.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or("");
        let said = format!("{} {}", request.url, header("authorization"));
        ResponseTemplate::new(401).set_body_string(&said).insert_header("location", said.as_str())
    };
    Mock::given(method("PUT")).respond_with(answer).mount(&api).await;
    let url = api.uri();
    let oauth2 = |path: &str| {
        format!("{{ oauth2: {{ token_url: \"{url}/{path}\", client_id: me, client_secret: {CLIENT} }} }}")
    };
    let remotes = [
        ("token", oauth2("token")),
        ("refused", oauth2("refused")),
        ("query", format!("{{ api_key: {{ query: key, value: {KEY} }} }}")),
        ("signed", format!("{{ hmac: {{ secrets: [whsec_{SIGNING}] }} }}")),
    ];
    let remotes: String = remotes
        .iter()
        .map(|(name, auth)| format!("  {name}: {{ url: \"{url}\", auth: {auth} }}\n"))
        .collect();
    let home = Rowcall::with_config(&format!(
        "sources:\n  main: {{ url: \"{}\", heartbeat: 50ms }}\nremotes:\n{remotes}log: {{ level: trace }}\nentities:\n  c:\n    \
         table: customers\n    remotes: [token, refused, query, signed]\n    upsert: [{{ name: put, put: '/c/{{{{ row.id }}}}' }}]\n",
        postgres.url()
    ));
    let mut said = String::new();
    let mut say = |output: crate::harness::rowcall::Output| said += &(output.stdout + &output.stderr);
    say(home.command(&["init"]).await.expect_code(0));
    say(home.command(&["check"]).await.expect_code(1));
    let service = home.run();
    postgres.execute("insert into customers values (1, 'a')").await;
    let client = postgres.client().await;
    eventually("three are parked", LONG, async || {
        let parked = parked_lines(&client).await;
        if parked.len() == 3 { Ok(()) } else { Err(parked) }
    })
    .await;
    eventually("the refusal is logged", LONG, async || {
        if service.stderr().contains("answered with 401 (check `client_id`") { Ok(()) } else { Err(()) }
    })
    .await;
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["parked", "list", "--json"],
        &["parked", "show", "1"],
        &["config", "show"],
        &["check", "--json"],
        &["preview", "c", "1"],
    ] {
        say(home.command(args).await);
    }
    service.sigterm();
    let (_, log) = service.end().await;
    assert!(log.contains("TRACE"), "it says everything it can");
    let sql = "select coalesce((select string_agg(p::text, '') from rowcall.parked p), '')
                   || coalesce((select string_agg(s::text, '') from rowcall.route_status s), '')";
    let stored: String = client.query_one(sql, &[]).await.expect("what is stored").get(0);
    assert!(stored.contains("401") && stored.contains("***"), "{stored}");
    for (place, text) in [("the log", &log), ("the outputs", &said), ("the state", &stored)] {
        for secret in [CLIENT, TOKEN, KEY, CODED, SIGNING] {
            if let Some(at) = text.find(secret) {
                let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
                panic!("{place}: {secret} is in: {}", text[line..].lines().next().unwrap_or_default());
            }
        }
    }
}
