//! The process's own log: a level that means something, a collector that can be called.

use super::{Check, base_url, did_you_mean, quoted};
use crate::{config::Log, remote, telemetry};

impl Check<'_> {
    pub(super) fn log(&mut self, log: &Log) {
        if let Err(message) = log_level(&log.level) {
            self.say(&["log", "level"], message);
        }
        if let Some(otlp) = &log.otlp {
            self.otlp(otlp);
        }
    }

    fn otlp(&mut self, otlp: &telemetry::Settings) {
        let base = ["log", "otlp"];
        let at = |key: &'static str| [&base[..], &[key]].concat();
        if let Err(message) = endpoint(&otlp.endpoint, otlp.allow_http) {
            self.say(&at("endpoint"), message);
        }
        for key in otlp.headers.keys() {
            if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
                self.say(&["log", "otlp", "headers", key], format!("`{key}` is not the name of a header"));
            }
        }
        for fault in remote::check(&otlp.remote()) {
            let message = fault.message.replace("`url`", "`endpoint`");
            self.say(&[&base[..], &fault.path].concat(), message);
        }
        if otlp.service.trim().is_empty() {
            self.say(&at("service"), "`service` is empty; leave it out for `rowcall`");
        }
        if otlp.timeout.0.is_zero() {
            self.say(&at("timeout"), "`timeout` must be longer than nothing");
        }
    }
}

fn endpoint(url: &str, allow_http: bool) -> Result<(), String> {
    base_url(url, allow_http, "https://collector.example:4318", "put them under `headers`")?;
    match ["/v1/traces", "/v1/logs"].iter().find(|it| url.trim_end_matches('/').ends_with(*it)) {
        Some(path) => Err(format!("leave `{path}` out: it is appended")),
        None => Ok(()),
    }
}

fn log_level(text: &str) -> Result<(), String> {
    const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];
    let is_word = text.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word && !LEVELS.contains(&text.to_lowercase().as_str()) {
        let meant = did_you_mean(text, LEVELS.iter().copied()).map(|it| format!("; did you mean `{it}`?"));
        let meant = meant.unwrap_or_default();
        return Err(format!(
            "`{text}` is not a log level; known are {}{meant}",
            quoted(LEVELS.iter().copied())
        ));
    }
    match tracing_subscriber::EnvFilter::builder().parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("`{text}` is not a log level or a list of directives: {error}")),
    }
}
