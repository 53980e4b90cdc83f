//! What must hold for any bytes. `tests/fuzz.rs` runs it for a moment on every machine, `cargo fuzz` for as
//! long as one likes.

mod desk;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use rowcall::{
    admin::{self, Service},
    capture::logical::{self, Message, Old, RawCell, Tuple},
    config,
    mapping::{Expression, Locator, Names, Scope},
    model::{ChangeId, Op},
};
use serde_json::{Map, Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

/// A message or an error, never a panic, and a message can be walked through to its end.
pub fn decode(bytes: &[u8]) {
    match logical::decode(bytes) {
        Ok(Message::Insert { new, .. } | Message::Update { old: None, new, .. }) => walk(new, bytes),
        Ok(Message::Update { old: Some(old), new, .. }) => {
            walk(whole(old), bytes);
            walk(new, bytes);
        }
        Ok(Message::Delete { old, .. }) => walk(whole(old), bytes),
        Ok(Message::Truncate { tables, .. }) => assert!(tables.iter().count() * 4 <= bytes.len()),
        Ok(Message::Relation(relation)) => assert!(relation.columns.len() <= bytes.len()),
        Ok(_) | Err(_) => {}
    }
}

fn whole(old: Old<'_>) -> Tuple<'_> {
    match old {
        Old::Key(row) | Old::Full(row) => row,
    }
}

fn walk(row: Tuple<'_>, bytes: &[u8]) {
    let text = row.cells().map(|cell| if let RawCell::Text(text) = cell { text.len() } else { 0 });
    assert_eq!(text.sum::<usize>(), row.text());
    assert_eq!(row.cells().count(), row.columns());
    assert!(row.text() <= bytes.len());
}

/// What is accepted can be evaluated, over whatever values, and says the same twice.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names = Names { columns: None, ..Names::default() }.with_item().with_saved(["loan_id", "list"]);
    let Ok(expression) = Expression::parse(text, &Locator::default().at("body"), &names) else { return };
    let mut saved = Map::new();
    saved.insert("loan_id".to_owned(), json!("L169"));
    saved.insert("list".to_owned(), json!([1, 2.5, "x", null, true, { "a": [] }]));
    for item in [
        Value::Null,
        json!(-7),
        json!("ünï"),
        json!([[], "a", 9223372036854775807_i64]),
        json!({ "a": 1e300 }),
    ] {
        let scope = Scope {
            row: None,
            old: None,
            op: Op::Insert,
            key: "1,x",
            link: Some(&saved),
            fetched: None,
            parents: None,
            change: ChangeId::default(),
            committed_at: Timestamp::UNIX_EPOCH,
            saved: &saved,
            answers: &[],
            answer: None,
            item: Some(&item),
            outcome: None,
            members: None,
            index: None,
            body: None,
        };
        let told =
            |result: Result<_, rowcall::mapping::MappingError>| result.map_err(|error| error.to_string());
        assert_eq!(told(expression.value(&scope)), told(expression.value(&scope)), "{text}");
        let _ = (expression.truth(&scope), expression.list(&scope));
    }
}

/// A configuration or errors that name a line of it, never a panic.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (!name.ends_with("_UNSET")).then(|| "postgres://me@localhost/x".to_owned());
    if let Err(error) = config::load_text("fuzzed.yaml", text, Path::new("/nonexistent"), &env) {
        assert!(!error.to_string().is_empty(), "an error without words for:\n{text}");
    }
}

type Served = (Runtime, Service, watch::Sender<bool>);

/// It takes longer to make than to ask.
static SERVED: OnceLock<Served> = OnceLock::new();

fn served() -> Served {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (stop, stopped) = watch::channel(false);
    let desk = Arc::new(desk::Nothing);
    let service = Service::new(&admin::Settings::default(), Arc::clone(&desk) as _, desk, stopped);
    (runtime, service, stop)
}

/// A request as it is written, answered: never with a panic or as our own fault, in the form that is said, and
/// without a tag that came with it.
pub fn admin(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    let (runtime, service, _stop) = SERVED.get_or_init(served);
    runtime.block_on(async {
        let (of_the_api, bare) =
            (request.uri().path().starts_with("/api/"), request.method() == Method::HEAD);
        let answer = service.answer(SocketAddr::from(([127, 0, 0, 1], 1)), request).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        assert!(!status.is_server_error(), "{status}");
        let kind = headers.get(header::CONTENT_TYPE).map_or("", |it| it.to_str().expect("a content type"));
        // The one has none, the other goes on until the server stops.
        if bare || kind.starts_with("text/event-stream") {
            return;
        }
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        if kind.ends_with("json") {
            let said: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(!status.is_client_error() || said["detail"].is_string(), "{status}: {said}");
        } else if kind.starts_with("text/html") {
            let text = std::str::from_utf8(&body).expect("text");
            assert!(!text.contains("<injected"), "{text}");
        }
        assert!(
            !of_the_api || !status.is_client_error() || kind == "application/problem+json",
            "{status} {kind}"
        );
    });
}

/// Lines as in HTTP/1: method and target, headers, an empty one, and the body. What is no request is not asked.
fn request(bytes: &[u8]) -> Option<Request<Full<Bytes>>> {
    let head = bytes.windows(2).position(|it| it == b"\n\n").unwrap_or(bytes.len());
    let mut lines = bytes[..head].split(|it| *it == b'\n');
    let first = lines.next()?;
    let (method, target) = first.split_at(first.iter().position(|it| *it == b' ')?);
    let mut request = Request::builder().method(method).uri(&target[1..]);
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|it| *it == b':')?);
        request = request.header(name, value[1..].trim_ascii());
    }
    request.body(Full::from(bytes.get(head + 2..).unwrap_or_default().to_vec())).ok()
}
