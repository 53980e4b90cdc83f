//! The lines of the log, for the collector.

use super::{Exporter, otlp::attribute};
use serde_json::{Map, Value, json};
use std::fmt::{self, Debug};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Hands lines to the exporter as they are said.
#[derive(Clone, Debug)]
pub struct Lines(pub(super) Exporter);

/// Ours: what libraries say of a request to the collector would cause another one.
fn is_sent(target: &str) -> bool {
    let ours = target.strip_prefix("rowcall").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    // An attempt is a span already.
    ours && !target.starts_with("rowcall::telemetry") && target != "rowcall::attempt"
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if is_sent(about.target()) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.line(fields.line(about.level(), about.target(), self.0.now()));
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    all: Map<String, Value>,
}

impl Fields {
    fn line(mut self, level: &Level, target: &str, at: jiff::Timestamp) -> String {
        let (number, name) = match *level {
            Level::ERROR => (17, "ERROR"),
            Level::WARN => (13, "WARN"),
            Level::INFO => (9, "INFO"),
            Level::DEBUG => (5, "DEBUG"),
            Level::TRACE => (1, "TRACE"),
        };
        let trace = self.all.shift_remove("trace");
        self.all.insert("target".to_owned(), target.into());
        let attributes: Vec<Value> =
            self.all.iter().filter_map(|(key, value)| attribute(key, value)).collect();
        let at = at.as_nanosecond().to_string();
        let mut line = json!({
            "timeUnixNano": at,
            "observedTimeUnixNano": at,
            "severityNumber": number,
            "severityText": name,
            "body": { "stringValue": self.message },
            "attributes": attributes,
        });
        if let Some(trace) = trace {
            line["traceId"] = trace;
        }
        line.to_string()
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.all.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("message", &self.message).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_say_ourselves_is_sent_and_nothing_that_is_about_sending() {
        for (target, sent) in [
            ("rowcall", true),
            ("rowcall::outcome", true),
            ("rowcall::app::session", true),
            ("rowcall::attempt", false),
            ("rowcall::telemetry::exporter", false),
            ("rowcaller", false),
            ("hyper_util::client", false),
        ] {
            assert_eq!(is_sent(target), sent, "{target}");
        }
    }

    #[test]
    fn a_line_has_its_fields_its_level_and_the_trace_that_it_belongs_to() {
        let mut fields = Fields { message: "parked: no".to_owned(), all: Map::new() };
        fields.all.insert("calls".to_owned(), 2.into());
        fields.all.insert("trace".to_owned(), "ab".into());
        let at = jiff::Timestamp::from_second(1).expect("a time");
        let line = fields.line(&Level::WARN, "rowcall::outcome", at);
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["severityNumber"], &line["severityText"]), (&json!(13), &json!("WARN")));
        assert_eq!((&line["body"]["stringValue"], &line["traceId"]), (&json!("parked: no"), &json!("ab")));
        assert_eq!(line["timeUnixNano"], "1000000000");
        let all = json!([
            { "key": "calls", "value": { "intValue": "2" } },
            { "key": "target", "value": { "stringValue": "rowcall::outcome" } },
        ]);
        assert_eq!(line["attributes"], all);
    }
}
