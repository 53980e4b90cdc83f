//! The call log's way: out of the process, through the broker, into what keeps it.

mod access;
mod checked;
mod clauses;
mod keeper;
mod lineage;
mod mongodb;
mod outlet;
mod pipeline;
mod refused;
mod secrets;
mod service;

use rowcall::call_log::{
    CallRecord, Content, Exchange, Line, RECORD_VERSION, RecordId, SpanId, Trace, rabbitmq::RabbitMqSettings,
};
use std::sync::Arc;

/// A record that differs from every other.
fn record(number: u32) -> CallRecord {
    let call_key = format!("loan@lender-main-0/{number}-0");
    CallRecord {
        v: RECORD_VERSION,
        id: RecordId::new(&call_key, None, 1),
        at: "2024-05-06T07:08:09.123456789Z".parse().expect("a time"),
        took_us: 12_345,
        route: "loan@lender".into(),
        entity: "loan".into(),
        keys: [number.to_string().into()].into(),
        changes: [format!("0/{number}-0").into()].into(),
        run: None,
        step: "upsert".into(),
        attempt: 1,
        call_key: call_key.into(),
        remote: "lender".into(),
        method: "PUT".into(),
        url: format!("https://lender.example/loans/{number}"),
        request: Content {
            headers: [("content-type", "application/json")].into(),
            body: format!(r#"{{"id":{number}}}"#).into(),
            size: 9,
            base64: false,
        },
        response: Some(Exchange { status: 200, content: Content::default() }),
        class: None,
        error: None,
        outcome: "answered".into(),
        trace: Trace::of("1"),
        span: SpanId::of("2"),
    }
}

fn line(record: &CallRecord) -> Line {
    Line::from(record.clone())
}

fn lines(numbers: impl IntoIterator<Item = u32>) -> Arc<[Line]> {
    numbers.into_iter().map(|number| line(&record(number))).collect()
}

fn at(url: &str) -> RabbitMqSettings {
    RabbitMqSettings::at(url.to_owned().into())
}
