use super::*;
use crate::remote::{
    Auth,
    conformance::{self, Arrived, Stage, call, key},
};
use jiff::Timestamp;
use std::{sync::Mutex, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use wiremock::{Mock, MockServer, Request as Seen, Respond, ResponseTemplate, matchers::any};

fn settings(url: &str) -> Settings {
    let json =
        serde_json::json!({ "url": url, "timeout": "30s", "connect_timeout": "30s", "concurrency": 1 });
    serde_json::from_value(json).expect("settings")
}

fn made(settings: &Settings) -> Result<HttpRemote, RemoteError> {
    HttpRemote::new("bank", settings, || Timestamp::UNIX_EPOCH)
}

fn remote(url: &str) -> HttpRemote {
    made(&settings(url)).expect("good settings")
}

/// A server that reads a request, writes these bytes and closes the connection.
struct RawServer {
    url: String,
    _serving: JoinSet<()>,
}

async fn raw(reply: Option<&'static [u8]>) -> RawServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            match reply {
                Some(reply) => {
                    let _ = socket.write_all(reply).await;
                }
                // Silence: the connection stays open.
                None => kept.push(socket),
            }
        }
    });
    RawServer { url, _serving: serving }
}

/// Answers with each of its answers in turn.
struct InTurn(Mutex<std::vec::IntoIter<Answer>>);

impl Respond for InTurn {
    fn respond(&self, _: &Seen) -> ResponseTemplate {
        let answer = self.0.lock().expect("a lock").next().expect("an answer for every call");
        ResponseTemplate::new(answer.status).set_body_bytes(answer.body)
    }
}

#[derive(Default)]
struct HttpStage {
    server: Option<MockServer>,
    raw: Option<RawServer>,
}

#[async_trait]
impl Stage for HttpStage {
    async fn answering(&mut self, answers: Vec<Answer>) -> Box<dyn RemoteClient> {
        let server = MockServer::start().await;
        let in_turn = InTurn(Mutex::new(answers.into_iter()));
        Mock::given(any()).respond_with(in_turn).mount(&server).await;
        let client = Box::new(remote(&server.uri()));
        self.server = Some(server);
        client
    }

    async fn breaking_off(&mut self) -> Box<dyn RemoteClient> {
        let server = raw(Some(b"")).await;
        let client = Box::new(remote(&server.url));
        self.raw = Some(server);
        client
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let server = self.server.as_ref().expect("a server");
        let seen = server.received_requests().await.expect("recording is on");
        let header =
            |seen: &Seen| seen.headers.get("idempotency-key").map(|it| it.to_str().expect("text").to_owned());
        let arrived = |seen: &Seen| Arrived {
            method: seen.method.to_string(),
            path: seen.url.as_str()[url_path(seen)].to_owned(),
            key: header(seen),
            body: seen.body.clone(),
        };
        seen.iter().map(arrived).collect()
    }
}

fn url_path(seen: &Seen) -> std::ops::RangeFrom<usize> {
    let text = seen.url.as_str();
    let host = text.find("://").expect("a scheme") + 3;
    host + text[host..].find('/').expect("a path")..
}

#[tokio::test]
async fn the_http_remote_conforms() {
    conformance::run(&mut HttpStage::default()).await;
}

#[tokio::test]
async fn a_call_goes_below_the_base_path_with_the_headers_of_remote_and_step() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let mut settings = settings(&format!("{}/v2/", server.uri()));
    settings.auth = Auth::Bearer { token: "t0k3n".into() };
    settings.headers =
        [("X-Tenant".to_owned(), "a".to_owned()), ("Accept".to_owned(), "text/html".to_owned())].into();
    let remote = made(&settings).expect("good settings");
    let headers = vec![("X-Tenant".into(), "b".to_owned())];
    remote.call(&Call { headers, ..call() }, &key("create")).await.expect("an answer");
    let seen = server.received_requests().await.expect("recording is on").remove(0);
    assert_eq!(seen.url.path(), "/v2/loans");
    let header = |name: &str| seen.headers.get(name).map(|it| it.to_str().expect("text"));
    assert_eq!(header("authorization"), Some("Bearer t0k3n"));
    assert_eq!(header("x-tenant"), Some("b"), "the step's own header is nearer");
    assert_eq!(header("accept"), Some("text/html"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("user-agent"), Some(concat!("rowcall/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(header("accept-encoding"), None);
}

#[tokio::test]
async fn only_the_headers_that_may_be_needed_are_kept() {
    let server = MockServer::start().await;
    let template = ResponseTemplate::new(201)
        .insert_header("Location", "/loans/7")
        .insert_header("X-RateLimit-Remaining", "3")
        .insert_header("RateLimit", "\"x\";r=1")
        .insert_header("Set-Cookie", "session=secret")
        .insert_header("X-Internal", "1");
    Mock::given(any()).respond_with(template).mount(&server).await;
    let answer = remote(&server.uri()).call(&call(), &key("create")).await.expect("an answer");
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name).collect();
    names.retain(|name| *name != "date");
    names.sort_unstable();
    assert_eq!(names, ["location", "ratelimit", "x-ratelimit-remaining"]);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = MockServer::start().await;
    let there = ResponseTemplate::new(307).insert_header("location", format!("{}/elsewhere", server.uri()));
    Mock::given(any()).respond_with(there).expect(1).mount(&server).await;
    let answer = remote(&server.uri()).call(&call(), &key("create")).await.expect("an answer");
    assert_eq!(answer.status, 307);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_held() {
    let told = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nfghij\r\n0\r\n\r\n";
    let server = raw(Some(told)).await;
    let error = remote(&server.url).call(&call(), &key("create")).await.expect_err("too long");
    assert!(matches!(error, CallError::TooLong { limit: 1_048_576, .. }), "{error:?}");
    let server = raw(Some(chunked)).await;
    let exact = remote(&server.url).with_body_limit(10).call(&call(), &key("create")).await;
    assert_eq!(exact.expect("just short enough").body, "abcdefghij");
    let error =
        remote(&server.url).with_body_limit(9).call(&call(), &key("create")).await.expect_err("too long");
    assert!(matches!(error, CallError::TooLong { limit: 9, .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_body_is_no_answer() {
    let server = raw(Some(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")).await;
    let error = remote(&server.url).call(&call(), &key("create")).await.expect_err("half an answer");
    assert!(matches!(error, CallError::Transport { .. }), "{error:?}");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let server = raw(None).await;
    let mut settings = settings(&server.url);
    settings.timeout = Span(Duration::from_millis(50));
    let remote = made(&settings).expect("good settings");
    let error = remote.call(&call(), &key("create")).await.expect_err("no answer");
    assert!(matches!(error, CallError::Timeout { limit, .. } if limit == settings.timeout), "{error:?}");
}

#[tokio::test]
async fn an_error_names_the_remote_and_its_host_and_nothing_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let mut settings = settings(&format!("http://{address}/hidden-base"));
    settings.auth = Auth::Bearer { token: "hidden-token".into() };
    let remote = made(&settings).expect("good settings");
    let call = Call { path: "/loans?sig=hidden-query".to_owned(), ..call() };
    let error = remote.call(&call, &key("create")).await.expect_err("nobody listens");
    let text = format!("{error} {error:?} {remote:?}");
    assert!(error.to_string().contains(&format!("bank ({address})")), "{text}");
    assert!(error.to_string().contains("cannot connect"), "{text}");
    assert!(!text.contains("hidden-token") && !text.contains("hidden-query"), "{text}");
}

#[tokio::test]
async fn a_step_can_neither_break_a_header_nor_replace_the_credentials() {
    let mut settings = settings("http://127.0.0.1:9");
    settings.auth = Auth::ApiKey { header: Some("X-Api-Key".into()), query: None, value: "k".into() };
    let remote = made(&settings).expect("good settings");
    for (name, value) in [
        ("x-note", "a\r\nx-evil: 1"),
        ("X-API-KEY", "mine"),
        ("Idempotency-Key", "1"),
        ("a b", ""),
        ("Accept-Encoding", "gzip"),
    ] {
        let call = Call { headers: vec![(name.into(), value.to_owned())], ..call() };
        let error = remote.call(&call, &key("create")).await.expect_err(name);
        assert!(matches!(error, CallError::BadRequest { .. }), "{error:?}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let mut wrong = settings("https://api.example");
    wrong.headers = [("x y".to_owned(), "1".to_owned())].into();
    let error = made(&wrong).expect_err("a bad header").to_string();
    assert!(error.starts_with("remotes.bank.headers: `x y`"), "{error}");
    let error = made(&settings("http://api.example")).expect_err("plain").to_string();
    assert!(error.starts_with("remotes.bank.url: ") && error.contains("allow_http"), "{error}");
    let mut twice = settings("https://api.example");
    twice.headers = [("Authorization".to_owned(), "x".to_owned())].into();
    twice.auth = Auth::Bearer { token: "t".into() };
    let error = made(&twice).expect_err("two of them").to_string();
    assert!(error.contains("one of the two places"), "{error}");
}

/// The bytes of a request, as a server that reads until it has this end sees them.
async fn sent(settings: &Settings, call: &Call, end: &str, url: impl Fn(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = listener.local_addr().expect("an address").to_string();
    let mut settings = settings.clone();
    settings.url = url(&host);
    let remote = made(&settings).expect("good settings");
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            assert_ne!(socket.read_buf(&mut seen).await.expect("more"), 0, "it ended early");
        }
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("an answer");
        String::from_utf8(seen).expect("text").replace(&host, "HOST")
    };
    let key = key("create");
    let (seen, answer) = tokio::join!(serve, remote.call(call, &key));
    assert_eq!(answer.expect("an answer").status, 204);
    seen
}

/// Bodies, signatures and caches of a remote may depend on each of them.
#[tokio::test]
async fn a_request_is_these_bytes() {
    let mut settings = settings("http://localhost");
    settings.headers = [("X-Tenant".to_owned(), "a".to_owned())].into();
    settings.auth = Auth::Bearer { token: "t0k3n".into() };
    let version = env!("CARGO_PKG_VERSION");
    let with_body = Call { path: "/loans/é x?q='1'&r=%2F".to_owned(), ..call() };
    let seen = sent(&settings, &with_body, "}", |host| format!("http://{host}/v2/")).await;
    let expected = [
        "POST /v2/loans/%C3%A9%20x?q=%271%27&r=%2F HTTP/1.1",
        "x-tenant: a",
        "idempotency-key: loan-00000007-16-3-create",
        "content-type: application/json",
        "authorization: Bearer t0k3n",
        "accept: */*",
        &format!("user-agent: rowcall/{version}"),
        "host: HOST",
        "content-length: 15",
        "",
        "{\"amount\":1.10}",
    ];
    assert_eq!(seen, expected.join("\r\n"));
    settings.auth = Auth::ApiKey { header: None, query: Some("key".into()), value: "k y".into() };
    let bare = Call { method: crate::model::Method::Get, path: "/".to_owned(), body: Body::Empty, ..call() };
    let seen = sent(&settings, &bare, "\r\n\r\n", |host| format!("http://{host}")).await;
    let expected = [
        "GET /?key=k+y HTTP/1.1",
        "x-tenant: a",
        "accept: */*",
        &format!("user-agent: rowcall/{version}"),
        "host: HOST",
        "\r\n",
    ];
    assert_eq!(seen, expected.join("\r\n"));
    let empty = Call { method: crate::model::Method::Post, ..bare };
    let seen = sent(&settings, &empty, "\r\n\r\n", |host| format!("http://{host}")).await;
    let expected = [
        "POST /?key=k+y HTTP/1.1",
        "x-tenant: a",
        "idempotency-key: loan-00000007-16-3-create",
        "accept: */*",
        &format!("user-agent: rowcall/{version}"),
        "host: HOST",
        "\r\n",
    ];
    assert_eq!(seen, expected.join("\r\n"));
}

#[tokio::test]
async fn a_body_that_never_ends_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut settings = settings(&format!("http://{}", listener.local_addr().expect("an address")));
    settings.timeout = Span(Duration::from_millis(50));
    let remote = made(&settings).expect("good settings");
    let key = key("create");
    let call = call();
    let serve = async {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        assert_ne!(socket.read(&mut [0; 4096]).await.expect("a request"), 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await.expect("half an answer");
        socket
    };
    let (_open, answer) = tokio::join!(serve, remote.call(&call, &key));
    let error = answer.expect_err("half an answer");
    assert!(matches!(error, CallError::Timeout { limit, .. } if limit == settings.timeout), "{error:?}");
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_is_a_timeout_of_connecting() {
    let server = raw(None).await;
    let mut settings = settings(&server.url.replace("http:", "https:"));
    let authority = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    settings.tls = Some(crate::remote::Tls { ca: Some(authority.cert.pem().into()), cert: None, key: None });
    settings.connect_timeout = Span(Duration::from_millis(50));
    let remote = made(&settings).expect("good settings");
    let error = remote.call(&call(), &key("create")).await.expect_err("no answer");
    let limit = settings.connect_timeout;
    assert!(matches!(error, CallError::Timeout { limit: it, .. } if it == limit), "{error:?}");
}

/// Or the remote would be taken for one that is down.
#[tokio::test]
async fn a_path_longer_than_a_request_can_carry_is_a_bad_request() {
    let call = Call { path: format!("/{}", "a".repeat(70_000)), ..call() };
    let error = remote("http://127.0.0.1:9").call(&call, &key("create")).await.expect_err("too long");
    assert!(matches!(error, CallError::BadRequest { .. }), "{error:?}");
}
