//! What a service says at its admin address.

use super::{
    rowcall::Service,
    wait::{LONG, eventually},
};
use serde_json::Value;

/// `admin` for a configuration whose service is asked: it listens at a port of its own.
pub const ADMIN: &str = "admin: { listen: \"127.0.0.1:0\" }\n";

/// Where a service listens, for whoever asks it.
pub struct Admin {
    url: String,
    token: Option<String>,
}

impl Admin {
    /// Waits until it says where it listens.
    pub async fn of(service: &Service) -> Self {
        let url = eventually("the admin address", LONG, async || {
            let said = service.stderr();
            let at = said.split("the admin address is ").nth(1).and_then(|it| it.split_whitespace().next());
            at.map(str::to_owned).ok_or(said)
        })
        .await;
        Self { url: url.trim_end_matches('/').to_owned(), token: None }
    }

    /// Its address and port.
    pub fn address(&self) -> &str {
        self.url.split_once("://").map_or(&*self.url, |(_, address)| address)
    }

    /// Shows this from now on.
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// The status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    /// Waits until the path answers with this status, and one of its checks of this name with this in its
    /// reason; gives the whole report.
    pub async fn says(&self, path: &str, status: u16, check: &str, reason: &str) -> Value {
        eventually(&format!("{path} {status}: {check}: {reason}"), LONG, async || {
            let (code, body) = self.get(path).await;
            let report: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{body}: {error}"));
            let checks = report["checks"].as_array().cloned().unwrap_or_default();
            let said = checks
                .iter()
                .any(|it| it["name"] == check && it["reason"].as_str().is_some_and(|it| it.contains(reason)));
            if code == status && said { Ok(report) } else { Err((code, report)) }
        })
        .await
    }

    /// One sample of `/metrics`, such as `rowcall_outcomes_total{source="main",…}`.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let (status, page) = self.get("/metrics").await;
        assert_eq!(status, 200, "{page}");
        let value = page.lines().find_map(|it| it.strip_prefix(series)?.strip_prefix(' '));
        value.map(|it| it.parse().unwrap_or_else(|error| panic!("{series} {it}: {error}")))
    }

    /// Waits until it is this.
    pub async fn metric_is(&self, series: &str, expected: f64) {
        eventually(&format!("{series} {expected}"), LONG, async || match self.metric(series).await {
            Some(value) if value == expected => Ok(()),
            other => Err(other),
        })
        .await;
    }
}
