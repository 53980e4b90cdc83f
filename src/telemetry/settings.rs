use crate::{
    model::{HiddenValues, Span},
    remote,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `log.otlp`: a collector that takes OTLP over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Otlp")]
pub struct Settings {
    /// The collector's base URL, without `/v1/traces`. HTTPS unless the host is loopback or
    /// `allow_http` is set.
    pub endpoint: String,
    /// Headers sent with everything. They may hold secrets, so their values are never shown.
    #[serde(default, serialize_with = "crate::model::masked_values")]
    #[schemars(extend("writeOnly" = true))]
    pub headers: HiddenValues,
    /// Whom to trust behind `https`, and how to prove who we are there.
    #[serde(default)]
    pub tls: Option<remote::Tls>,
    /// What this process is called there: `service.name`.
    #[serde(default = "service")]
    pub service: String,
    /// Whether the lines of the log are sent too; otherwise spans alone.
    #[serde(default = "lines")]
    pub lines: bool,
    /// How long the collector may take to answer.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Allow plain HTTP to a host that is not loopback.
    #[serde(default)]
    pub allow_http: bool,
}

impl Settings {
    /// The collector as something that is called.
    pub fn remote(&self) -> remote::Settings {
        let (url, headers) = (self.endpoint.clone(), self.headers.clone());
        remote::Settings::plain(url, headers, self.tls.clone(), self.timeout, self.allow_http)
    }
}

fn service() -> String {
    "rowcall".to_owned()
}

fn lines() -> bool {
    true
}

fn timeout() -> Span {
    Span(Duration::from_secs(10))
}
