use super::*;
use crate::remote::{Attempt, CallError, Clock, HttpRemote, RemoteClient, conformance};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};
use wiremock::{
    Mock, MockServer, Request as Seen, ResponseTemplate,
    matchers::{any, method, path},
};

const CLOCK: Clock = || jiff::Timestamp::UNIX_EPOCH;

fn settings(server: &MockServer, but: Value) -> Settings {
    let mut oauth2 = json!({
        "token_url": format!("{}/token?v=1", server.uri()), "client_id": "me: & co", "client_secret": "s3cr3t/+ü",
    });
    oauth2.as_object_mut().expect("keys").extend(but.as_object().expect("keys").clone());
    let url = format!("{}/api", server.uri());
    serde_json::from_value(json!({ "url": url, "timeout": "30s", "auth": { "oauth2": oauth2 } }))
        .expect("settings")
}

fn remote(server: &MockServer, but: Value) -> HttpRemote {
    HttpRemote::new("bank", &settings(server, but), CLOCK).expect("good settings")
}

/// A server whose token endpoint answers like this, and whose API takes anything.
async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/token")).respond_with(answer).mount(&server).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

async fn called(remote: &HttpRemote) -> Result<crate::model::Answer, CallError> {
    remote.call(&conformance::call(), &conformance::key("create")).await
}

async fn asked(server: &MockServer) -> Vec<Seen> {
    let seen = server.received_requests().await.expect("recording is on");
    seen.into_iter().filter(|it| it.url.path() == "/token").collect()
}

fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.get(name).map(|it| it.to_str().expect("text"))
}

fn form(seen: &Seen) -> BTreeMap<String, String> {
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn granted() -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({ "access_token": "t0k3n-1", "token_type": "bearer", "expires_in": 3600 }))
}

#[tokio::test]
async fn the_request_is_the_one_of_the_rfc_and_the_call_carries_the_token() {
    let server = server(granted()).await;
    let remote = remote(&server, json!({ "scope": "a b", "extra": { "audience": "https://api" } }));
    for _ in 0..3 {
        assert_eq!(called(&remote).await.expect("an answer").status, 200);
    }
    let asked = asked(&server).await;
    let [asked] = &asked[..] else { panic!("{} requests for one token", asked.len()) };
    assert_eq!((asked.method.as_str(), asked.url.query()), ("POST", Some("v=1")));
    // Both form-encoded before they are put together: `me%3A+%26+co:s3cr3t%2F%2B%C3%BC`.
    assert_eq!(header(asked, "authorization"), Some("Basic bWUlM0ErJTI2K2NvOnMzY3IzdCUyRiUyQiVDMyVCQw=="));
    assert_eq!(header(asked, "accept"), Some("application/json"));
    assert_eq!(header(asked, "content-type"), Some("application/x-www-form-urlencoded"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected =
        [pair("grant_type", "client_credentials"), pair("scope", "a b"), pair("audience", "https://api")];
    assert_eq!(form(asked), BTreeMap::from(expected));
    let seen = server.received_requests().await.expect("recording is on");
    let calls: Vec<_> = seen.iter().filter(|it| it.url.path() != "/token").collect();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|it| header(it, "authorization") == Some("Bearer t0k3n-1")));
}

#[tokio::test]
async fn the_credentials_can_go_into_the_body() {
    let server = server(granted()).await;
    called(&remote(&server, json!({ "credentials": "body" }))).await.expect("an answer");
    let asked = asked(&server).await.remove(0);
    assert_eq!(header(&asked, "authorization"), None);
    assert_eq!(form(&asked)["client_id"], "me: & co");
    assert_eq!(form(&asked)["client_secret"], "s3cr3t/+ü");
}

/// Takes only tokens from the n-th on, and gives one more each time it is asked.
async fn demanding(from: usize) -> MockServer {
    let server = MockServer::start().await;
    let given = Arc::new(AtomicUsize::new(0));
    let give = move |_: &Seen| {
        let number = given.fetch_add(1, SeqCst) + 1;
        ResponseTemplate::new(200).set_body_json(json!({ "access_token": format!("token-{number}") }))
    };
    let take = move |seen: &Seen| {
        let token = header(seen, "authorization").and_then(|it| it.strip_prefix("Bearer token-"));
        let number: usize = token.and_then(|it| it.parse().ok()).expect("a token");
        let status = if number >= from { 201 } else { 401 };
        ResponseTemplate::new(status).set_body_string(format!("you sent token-{number}"))
    };
    Mock::given(path("/token")).respond_with(give).mount(&server).await;
    Mock::given(method("POST")).respond_with(take).mount(&server).await;
    server
}

#[tokio::test]
async fn after_a_401_the_call_is_made_again_once_under_the_same_key() {
    let server = demanding(2).await;
    let remote = remote(&server, json!({}));
    let answer = called(&remote).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (201, &b"you sent ***"[..]));
    let seen = server.received_requests().await.expect("recording is on");
    let calls: Vec<_> = seen.iter().filter(|it| it.url.path() != "/token").collect();
    let [first, second] = &calls[..] else { panic!("{} calls", calls.len()) };
    assert_eq!(header(first, "idempotency-key"), header(second, "idempotency-key"));
    assert_eq!((&first.url, &first.body), (&second.url, &second.body));
    assert_eq!(asked(&server).await.len(), 2);
}

#[tokio::test]
async fn each_request_asks_for_leave_and_none_is_sent_again_without() {
    for (leaves, held, sent) in [(0, true, 0), (1, true, 1), (2, false, 2)] {
        let server = demanding(2).await;
        let remote = remote(&server, json!({}));
        let mut leave = conformance::Counted { left: leaves, refused: 0 };
        let attempt = remote.attempt(&conformance::call(), &conformance::key("create"), &mut leave).await;
        assert_eq!(attempt.expect("no error") == Attempt::Held, held, "{leaves}");
        let seen = server.received_requests().await.expect("recording is on");
        assert_eq!(seen.iter().filter(|it| it.url.path() != "/token").count(), sent, "{leaves}");
    }
}

#[tokio::test]
async fn a_second_401_is_an_answer() {
    let server = demanding(usize::MAX).await;
    let remote = remote(&server, json!({}));
    assert_eq!(called(&remote).await.expect("an answer").status, 401);
    assert_eq!(asked(&server).await.len(), 2);
    assert_eq!(called(&remote).await.expect("an answer").status, 401);
    assert_eq!(asked(&server).await.len(), 2, "a remote that takes none is not given one for every call");
}

#[tokio::test]
async fn what_a_token_endpoint_says_is_told_without_its_secrets() {
    use Trouble::{Refused, Unreachable};
    let body = |status, body: &str| ResponseTemplate::new(status).set_body_string(body);
    let cases = [
        (
            body(401, r#"{"error":"invalid_client","error_description":"no\n s3cr3t/+ü"}"#),
            Refused,
            "answered with 401 (check `client_id`, `client_secret` and where they go: `credentials`): invalid_client: no ***",
        ),
        (body(400, r#"{"error":"invalid_scope"}"#), Refused, "answered with 400: invalid_scope"),
        (
            body(403, "<p>s3cr3t%2F%2B%C3%BC bWUlM0ErJTI2K2NvOnMzY3IzdCUyRiUyQiVDMyVCQw=="),
            Refused,
            "answered with 403: <p>*** ***",
        ),
        (body(404, ""), Refused, "answered with 404 (check `token_url`)"),
        (body(302, ""), Refused, "answered with 302 (check `token_url`)"),
        (body(503, "busy"), Unreachable, "answered with 503: busy"),
        (body(429, ""), Unreachable, "answered with 429"),
        (body(200, "hello"), Refused, "gave what is no token (text/plain, 5 bytes)"),
        (
            body(200, r#"{"error":"unsupported","error_description":"s3cr3t/+ü"}"#),
            Refused,
            "gave no `access_token` (text/plain, 56 bytes, with `error`, `error_description`): unsupported: ***",
        ),
        (
            body(200, r#"{"access_token":""}"#),
            Refused,
            "gave no `access_token` (text/plain, 19 bytes, with `access_token`)",
        ),
        (
            body(200, r#"{"access_token":"x","token_type":"mac"}"#),
            Refused,
            "gives tokens of the type `mac`; only `Bearer` is supported",
        ),
        (body(200, "{\"access_token\":\"x\\r\\ny\"}"), Refused, "gave a token that a header cannot carry"),
    ];
    for (answer, expected, said) in cases {
        let server = server(answer).await;
        let error = called(&remote(&server, json!({}))).await.expect_err(said);
        let CallError::Token { remote, message, trouble, wait } = error else { panic!("{error:?}") };
        let host = server.address().to_string();
        assert_eq!((message, trouble), (format!("{host} {said}"), expected));
        assert_eq!(remote, format!("bank ({host})"));
        assert!(wait <= Duration::from_secs(1));
        assert_eq!(server.received_requests().await.expect("recording is on").len(), 1, "nothing is called");
    }
}

#[tokio::test]
async fn a_token_in_an_unusable_answer_is_not_shown() {
    for (kind, body, outline) in [
        (
            "application/x-www-form-urlencoded; charset=utf-8",
            "access_token=t0k3n-987654&expires_in=3600",
            "application/x-www-form-urlencoded, 41 bytes",
        ),
        (
            "application/json",
            r#"{"expires":1,"accessToken":"t0k3n-987654"}"#,
            "application/json, 42 bytes, with `expires`, `accessToken`",
        ),
        (
            "application/json",
            r#"{"data":{"access_token":"t0k3n-987654"}}"#,
            "application/json, 40 bytes, with `data`",
        ),
        ("application/json", r#"{"access_token":987654}"#, "application/json, 23 bytes, with `access_token`"),
        ("", r#"["t0k3n-987654"]"#, "of no type, 16 bytes"),
    ] {
        let server = server(ResponseTemplate::new(200).set_body_raw(body, kind)).await;
        let error = called(&remote(&server, json!({}))).await.expect_err(body);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(&format!("({outline})")), "{shown}");
        assert!(!shown.contains("987654"), "{shown}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_told_from_one_that_refuses() {
    let server = MockServer::start().await;
    let settings = settings(&server, json!({ "token_url": "http://127.0.0.1:1/token" }));
    let remote = HttpRemote::new("bank", &settings, CLOCK).expect("good settings");
    let error = called(&remote).await.expect_err("nobody listens");
    assert!(matches!(&error, CallError::Token { trouble: Trouble::Unreachable, .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1 cannot connect: "), "{error}");
}

#[tokio::test]
async fn an_endpoint_may_say_when_to_ask_again() {
    let server = server(ResponseTemplate::new(429).insert_header("retry-after", "90")).await;
    let error = called(&remote(&server, json!({}))).await.expect_err("not now");
    let CallError::Token { wait, .. } = error else { panic!("{error:?}") };
    assert!(wait > Duration::from_secs(60), "{wait:?}");
}

#[tokio::test]
async fn the_credentials_can_be_tried_without_a_call() {
    let server = server(granted()).await;
    let host = server.address().to_string();
    let tried = remote(&server, json!({})).try_credentials().await;
    assert_eq!(tried, Some(Ok(format!("{host} gives a token, good for 3600 s"))));
    let bearer = json!({ "url": server.uri(), "auth": { "bearer": { "token": "t" } } });
    let bearer = HttpRemote::new("bank", &serde_json::from_value(bearer).expect("settings"), CLOCK);
    assert_eq!(bearer.expect("good settings").try_credentials().await, None);
}

#[test]
fn a_lifetime_is_read_however_it_is_written() {
    for (said, expected) in [
        (json!(3600), Some(3600.0)),
        (json!("3600"), Some(3600.0)),
        (json!(59.5), Some(59.5)),
        (json!(0), Some(0.0)),
        (json!(-5), Some(0.0)),
        (json!(1e300), Some(3.2e9)),
        (json!("soon"), None),
        (json!("NaN"), None),
        (json!(null), None),
        (json!({}), None),
    ] {
        assert_eq!(lifetime(&said), expected.map(Duration::from_secs_f64), "{said}");
    }
}
