//! How OTLP writes things in JSON: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use crate::call_log::Record;
use serde_json::{Map, Value, json};
use url::Url;

/// One `KeyValue`. 64-bit integers are text there.
pub(super) fn attribute(key: &str, value: &Value) -> Option<Value> {
    let value = match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(it) => json!({ "boolValue": it }),
        Value::Number(number) => match number.as_i64() {
            Some(it) => json!({ "intValue": it.to_string() }),
            None => json!({ "doubleValue": number.as_f64() }),
        },
        _ => return None,
    };
    Some(json!({ "key": key, "value": value }))
}

fn attributes(all: &Map<String, Value>) -> Vec<Value> {
    all.iter().filter_map(|(key, value)| attribute(key, value)).collect()
}

/// What is sent: `resourceSpans` or `resourceLogs` around items that are JSON already.
pub(super) fn envelope(kind: Kind, service: &str, items: &str) -> String {
    let (resource, scope, list) = match kind {
        Kind::Spans => ("resourceSpans", "scopeSpans", "spans"),
        Kind::Lines => ("resourceLogs", "scopeLogs", "logRecords"),
    };
    let version = env!("CARGO_PKG_VERSION");
    let all = Map::from_iter([
        ("service.name".to_owned(), service.into()),
        ("service.version".to_owned(), version.into()),
    ]);
    let described = json!({ "attributes": attributes(&all) });
    let by = json!({ "name": "rowcall", "version": version });
    format!(
        r#"{{"{resource}":[{{"resource":{described},"{scope}":[{{"scope":{by},"{list}":[{items}]}}]}}]}}"#
    )
}

/// What travels in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Spans,
    Lines,
}

impl Kind {
    /// Below the endpoint.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Spans => "/v1/traces",
            Self::Lines => "/v1/logs",
        }
    }

    /// For a person.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Lines => "log lines",
        }
    }
}

/// The span of an attempt. `traceparent` named it to the remote, so the remote's own is its child.
pub(super) fn span(record: &Record<'_>) -> String {
    let Record { at, took_us, trace, span, method, step, class, error, .. } = record;
    let began = at.as_nanosecond();
    let status = match (class, error) {
        (None, _) => json!({}),
        (Some(class), error) => {
            json!({ "code": 2, "message": error.as_deref().unwrap_or(class) })
        }
    };
    let span = json!({
        "traceId": trace,
        "spanId": span,
        "name": format!("{method} {step}"),
        "kind": 3,
        "startTimeUnixNano": began.to_string(),
        "endTimeUnixNano": (began + i128::from(*took_us) * 1_000).to_string(),
        "attributes": attributes(&described(record)),
        "status": status,
    });
    span.to_string()
}

/// By the conventions for HTTP clients where there are some.
fn described(record: &Record<'_>) -> Map<String, Value> {
    let mut all = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        value.into_iter().for_each(|value| drop(all.insert(key.to_owned(), value)));
    };
    add("http.request.method", Some((*record.method).into()));
    add("http.response.status_code", record.response.as_ref().map(|it| it.status.into()));
    if let Ok(url) = Url::parse(&record.url) {
        add("server.address", url.host_str().map(Into::into));
        add("server.port", url.port_or_known_default().map(Into::into));
        add("url.path", Some(url.path().into()));
    }
    add("error.type", record.class.as_deref().map(Into::into));
    add("peer.service", Some((*record.remote).into()));
    for (key, value) in [
        ("rowcall.route", &*record.route),
        ("rowcall.entity", &*record.entity),
        ("rowcall.step", &*record.step),
        ("rowcall.call_key", &*record.call_key),
        ("rowcall.outcome", &*record.outcome),
    ] {
        add(key, Some(value.into()));
    }
    add("rowcall.key", record.keys.first().map(|it| (**it).into()));
    add("rowcall.change", record.changes.first().map(|it| (**it).into()));
    add("rowcall.rows", Some(record.keys.len().into()));
    add("rowcall.run", record.run.map(Into::into));
    add("rowcall.attempt", Some(record.attempt.into()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_log::{CallRecord, Content, Exchange, RECORD_VERSION, RecordId, SpanId, Trace};
    use bytes::Bytes;

    fn record() -> CallRecord {
        CallRecord {
            v: RECORD_VERSION,
            id: RecordId("a#1".into()),
            at: jiff::Timestamp::from_second(7).expect("a time"),
            took_us: 1_500,
            route: "loan.bank".into(),
            entity: "loan".into(),
            keys: ["42".into()].into(),
            changes: ["0/12C.0".into()].into(),
            run: None,
            step: "create".into(),
            attempt: 2,
            call_key: "a".into(),
            remote: "bank".into(),
            method: "POST".into(),
            url: "https://bank.example/loans?api_key=s3cr3t".into(),
            request: Content::new([("x-key", "s3cr3t")].into(), &Bytes::from_static(b"s3cr3t")),
            response: Some(Exchange {
                status: 422,
                content: Content::new([].into(), &Bytes::from_static(b"s3cr3t")),
            }),
            class: Some("refused".into()),
            error: None,
            outcome: "rejected".into(),
            trace: Trace::of("x"),
            span: SpanId::of("x"),
        }
    }

    #[test]
    fn a_span_has_the_names_of_its_record_and_nothing_that_may_be_secret() {
        let span: Value = serde_json::from_str(&span(&record())).expect("JSON");
        assert_eq!(span["traceId"], Trace::of("x").to_string());
        assert_eq!((&span["spanId"], &span["name"]), (&json!(SpanId::of("x")), &json!("POST create")));
        assert_eq!(span["startTimeUnixNano"], "7000000000");
        assert_eq!(span["endTimeUnixNano"], "7001500000");
        assert_eq!(span["status"], json!({ "code": 2, "message": "refused" }));
        let list = span["attributes"].as_array().expect("a list");
        let of = |key: &str| list.iter().find(|it| it["key"] == key).map(|it| it["value"].clone());
        assert_eq!(of("url.path"), Some(json!({ "stringValue": "/loans" })));
        assert_eq!(of("http.response.status_code"), Some(json!({ "intValue": "422" })));
        assert_eq!(of("server.port"), Some(json!({ "intValue": "443" })));
        assert_eq!(of("rowcall.attempt"), Some(json!({ "intValue": "2" })));
        assert_eq!(of("rowcall.run"), None);
        assert!(!span.to_string().contains("s3cr3t"), "{span}");
    }

    #[test]
    fn items_travel_in_an_envelope_that_names_the_service() {
        let sent: Value = serde_json::from_str(&envelope(Kind::Spans, "mine \"x\"", "{},{}")).expect("JSON");
        let resource = &sent["resourceSpans"][0];
        let name = &resource["resource"]["attributes"][0];
        assert_eq!(*name, json!({ "key": "service.name", "value": { "stringValue": "mine \"x\"" } }));
        assert_eq!(resource["scopeSpans"][0]["spans"], json!([{}, {}]));
        let sent = envelope(Kind::Lines, "x", "");
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"], json!([]));
    }
}
