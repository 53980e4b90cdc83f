use super::{
    Inner,
    faults::{Fault, Rule},
    line::Scissors,
    store::{Reply, Request},
    tokens::TOKEN_PATH,
};
use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, State},
    http::{
        HeaderValue, Method, StatusCode, Uri, header,
        request::{self, Parts},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

const LONGEST_BODY: usize = 16 << 20;

/// Every request comes here.
pub async fn answer(
    State(bank): State<Arc<Inner>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: axum::extract::Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new());
    };
    if parts.uri.path().starts_with("/_") {
        return control(&bank, &parts, &body);
    }
    if parts.uri.path() != TOKEN_PATH {
        bank.store.counts.requests.fetch_add(1, Relaxed);
        bank.store.came(parts.headers.get("traceparent").and_then(|it| it.to_str().ok()));
    }
    let Some(fault) = bank.faults.strike(&parts.method, parts.uri.path()) else {
        return respond(act(&bank, &parts, body));
    };
    bank.store.counts.faults.fetch_add(1, Relaxed);
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            plain(status, json!({ "error": "as ordered" }).to_string().into())
        }
        Fault::TooMany { retry_after } => {
            let mut response =
                plain(StatusCode::TOO_MANY_REQUESTS, Bytes::from_static(b"{\"error\":\"too many\"}"));
            response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
            response
        }
        Fault::TooLarge(most) if body.len() > most => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            plain(status, json!({ "error": format!("more than {most} bytes") }).to_string().into())
        }
        Fault::TooLarge(_) => respond(act(&bank, &parts, body)),
        Fault::Delay(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            respond(act(&bank, &parts, body))
        }
        Fault::Hold => {
            bank.faults.cleared().await;
            respond(act(&bank, &parts, body))
        }
        Fault::DropBefore => {
            scissors.cut();
            plain(StatusCode::OK, Bytes::new())
        }
        Fault::DropAfter => {
            let reply = act(&bank, &parts, body);
            scissors.cut();
            respond(reply)
        }
        Fault::Truncate => {
            let Reply { status, body } = act(&bank, &parts, body);
            let half = body.slice(..body.len() / 2);
            let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            let mut response = plain(status, body);
            *response.body_mut() =
                Body::from_stream(stream::iter([Ok(half), broken]).then(|part| async move {
                    if part.is_err() {
                        // So that what came before is on its way.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    part
                }));
            response
        }
        Fault::SlowBody(millis) => {
            let Reply { status, body } = act(&bank, &parts, body);
            let pause = Duration::from_millis(millis) / u32::try_from(body.len()).unwrap_or(1).max(1);
            let mut response = plain(status, body.clone());
            *response.body_mut() = Body::from_stream(stream::iter(0..body.len()).then(move |at| {
                let byte = body.slice(at..=at);
                async move {
                    tokio::time::sleep(pause).await;
                    Ok::<_, io::Error>(byte)
                }
            }));
            response
        }
        Fault::BadJson => {
            let reply = act(&bank, &parts, body);
            plain(reply.status, Bytes::from_static(b"{\"id\": <html>"))
        }
        Fault::Redirect(to) => {
            let mut response = plain(StatusCode::TEMPORARY_REDIRECT, Bytes::new());
            if let Ok(to) = HeaderValue::from_str(&to) {
                response.headers_mut().insert(header::LOCATION, to);
            }
            response
        }
    }
}

fn act(bank: &Inner, parts: &request::Parts, body: Bytes) -> Reply {
    let path = parts.uri.path();
    let header = |name: &str| parts.headers.get(name).and_then(|it| it.to_str().ok());
    let request = Request { method: &parts.method, path, key: header("idempotency-key"), body };
    if path == TOKEN_PATH {
        return bank.tokens.give(&request);
    }
    if let Err(refusal) = bank.tokens.admit(header("authorization")) {
        bank.store.counts.refused.fetch_add(1, Relaxed);
        return refusal;
    }
    if parts.method == Method::GET {
        return bank.store.get(path, &query(&parts.uri));
    }
    bank.store.apply(&request)
}

/// What tests and people ask and order.
fn control(bank: &Inner, parts: &Parts, body: &Bytes) -> Response {
    let rules = || json!(bank.faults.rules());
    let said = match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/_stats") => json!(bank.stats()),
        ("GET", "/_dump") => json!(bank.store.dump()),
        ("GET", "/_journal") => {
            let from = query(&parts.uri)
                .iter()
                .find_map(|(name, value)| (name == "from").then(|| value.parse().ok())?);
            json!(bank.store.journal(from.unwrap_or(0)))
        }
        ("GET", "/_control") => rules(),
        ("POST", "/_control") => match serde_json::from_slice::<Rule>(body) {
            Ok(rule) => {
                bank.faults.add(rule);
                rules()
            }
            Err(error) => {
                return plain(
                    StatusCode::BAD_REQUEST,
                    json!({ "error": error.to_string() }).to_string().into(),
                );
            }
        },
        ("DELETE", "/_control") => {
            bank.faults.clear();
            Value::Array(Vec::new())
        }
        _ => {
            return plain(
                StatusCode::NOT_FOUND,
                Bytes::from_static(b"{\"error\":\"/_stats, /_dump, /_journal, /_control\"}"),
            );
        }
    };
    plain(StatusCode::OK, said.to_string().into())
}

fn query(uri: &Uri) -> Vec<(String, String)> {
    axum::extract::Query::try_from_uri(uri).map(|query| query.0).unwrap_or_default()
}

fn respond(reply: Reply) -> Response {
    plain(reply.status, reply.body)
}

fn plain(status: StatusCode, body: Bytes) -> Response {
    let empty = body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if !empty {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}
