use super::*;
use serde_json::{Value, json};

fn settings(auth: Value) -> Settings {
    serde_json::from_value(json!({ "url": "https://api.example", "auth": auth })).expect("settings")
}

fn scheme(auth: Value) -> Scheme {
    Scheme::new("bank", &settings(auth)).expect("a good scheme")
}

#[test]
fn bearer_basic_and_a_key_in_a_header_are_one_sensitive_header() {
    let header = |auth| match scheme(auth) {
        Scheme::Header(name, value) => {
            assert!(value.is_sensitive(), "{name} would be printed");
            (name.to_string(), value.to_str().expect("text").to_owned())
        }
        other => panic!("{other:?}"),
    };
    let expected = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(header(json!({ "bearer": { "token": "t1" } })), expected("authorization", "Bearer t1"));
    let basic = json!({ "basic": { "username": "Aladdin", "password": "open sesame" } });
    assert_eq!(header(basic), expected("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let key = json!({ "api_key": { "header": "X-Api-Key", "value": "k" } });
    assert_eq!(header(key), expected("x-api-key", "k"));
}

#[test]
fn what_cannot_be_sent_is_named_by_its_key_and_its_value_is_not_shown() {
    for (auth, path) in [
        (json!({ "bearer": { "token": "hunter2\nline" } }), "auth.bearer.token"),
        (json!({ "bearer": { "token": " " } }), "auth.bearer.token"),
        (json!({ "basic": { "username": "", "password": "hunter2" } }), "auth.basic.username"),
        (json!({ "basic": { "username": "a:b", "password": "hunter2" } }), "auth.basic.username"),
        (json!({ "api_key": { "header": "x y", "value": "hunter2" } }), "auth.api_key.header"),
        (json!({ "api_key": { "header": "Host", "value": "hunter2" } }), "auth.api_key.header"),
        (json!({ "api_key": { "header": "Expect", "value": "hunter2" } }), "auth.api_key.header"),
        (json!({ "api_key": { "header": "X-Key", "value": "hunter2\r" } }), "auth.api_key.value"),
        (
            json!({ "api_key": { "header": "X-Key", "query": "key", "value": "hunter2" } }),
            "auth.api_key.query",
        ),
        (json!({ "api_key": { "query": "", "value": "hunter2" } }), "auth.api_key.query"),
        (json!({ "api_key": { "value": "hunter2" } }), "auth.api_key"),
        (json!({ "hmac": { "secrets": ["hunter2"] } }), "auth.hmac.secrets"),
        (json!({ "hmac": { "secrets": [] } }), "auth.hmac.secrets"),
        (oauth2(json!({ "token_url": "http://auth.example" })), "auth.oauth2.token_url"),
        (oauth2(json!({ "token_url": "https://me:hunter2@auth.example" })), "auth.oauth2.token_url"),
        (oauth2(json!({ "token_url": "https://auth.example/#x" })), "auth.oauth2.token_url"),
        (oauth2(json!({ "client_id": "" })), "auth.oauth2.client_id"),
        (oauth2(json!({ "client_secret": "" })), "auth.oauth2.client_secret"),
        (oauth2(json!({ "extra": { "scope": "hunter2" } })), "auth.oauth2.extra"),
        (oauth2(json!({ "tls": { "ca": "hunter2" } })), "auth.oauth2.tls.ca"),
    ] {
        let settings = settings(auth.clone());
        let faults = check(&settings);
        let [fault] = &faults[..] else { panic!("{auth}: {faults:?}") };
        assert_eq!(fault.path.join("."), path, "{fault}");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
        let error = Scheme::new("bank", &settings).expect_err("the same").to_string();
        assert!(error.starts_with(&format!("remotes.bank.{path}: ")), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

fn oauth2(but: Value) -> Value {
    let mut all = json!({ "token_url": "https://auth.example/token?v=1", "client_id": "id", "client_secret": "hunter2" });
    let but = but.as_object().expect("keys").clone();
    all.as_object_mut().expect("keys").extend(but);
    json!({ "oauth2": all })
}

#[test]
fn plain_http_to_the_token_endpoint_needs_loopback_or_to_be_allowed() {
    let plain = |url| oauth2(json!({ "token_url": url }));
    for near in ["http://localhost/token", "http://127.0.0.1:9/token", "http://[::1]/token"] {
        assert_eq!(check(&settings(plain(near))), [], "{near}");
    }
    let mut allowed = settings(plain("http://auth.example/token"));
    assert_eq!(check(&allowed).len(), 1);
    allowed.allow_http = true;
    assert_eq!(check(&allowed), []);
}

#[tokio::test]
async fn a_key_in_the_query_is_added_to_what_the_step_has_there() {
    let key = scheme(json!({ "api_key": { "query": "api key", "value": "a&b=c d" } }));
    let clock = || jiff::Timestamp::UNIX_EPOCH;
    let request = |url: &'static str| {
        let mut request = Request::default();
        *request.uri_mut() = http::Uri::from_static(url);
        request
    };
    for (url, expected) in [
        ("https://api.example/loans", "https://api.example/loans?api+key=a%26b%3Dc+d"),
        ("https://api.example/loans?x=%2F+a", "https://api.example/loans?x=%2F+a&api+key=a%26b%3Dc+d"),
        ("https://api.example/loans?", "https://api.example/loans?api+key=a%26b%3Dc+d"),
    ] {
        let mut request = request(url);
        key.prove(&mut request, &"id", clock).await.expect("room for it");
        assert_eq!(request.uri().to_string(), expected);
    }
    let mut taken = request("https://api.example/?api%20key=1");
    let error = key.prove(&mut taken, &"id", clock).await.expect_err("it is there already");
    assert!(matches!(error, CallError::BadRequest { .. }), "{error:?}");
    assert!(!format!("{error} {key:?}").contains("a&b"));
}

/// Invariant 7: whoever prints settings to debug must not print what may be a secret.
#[test]
fn what_is_printed_to_debug_shows_the_names_of_headers_and_parameters_and_no_value() {
    let mut remote = settings(oauth2(json!({ "extra": { "audience": "hunter2" } })));
    remote.headers = [("X-Tenant-Key".to_owned(), "hunter2".to_owned())].into();
    let headers = vec![("X-Call-Key".into(), "hunter2".to_owned())];
    let call = crate::model::Call { headers, ..crate::remote::conformance::call() };
    let printed = format!("{remote:?} {remote:#?} {call:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
    for name in ["X-Tenant-Key", "audience", "X-Call-Key"] {
        assert!(printed.contains(name), "{name} is no secret: {printed}");
    }
}
