//! `/livez`, `/readyz`, `/healthz` and `/metrics`: for whatever keeps the process alive, routes to it, or
//! watches it.

use crate::health::Report;
use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, header};
use std::sync::Arc;

/// How the process does.
#[async_trait]
pub trait Vitals: Send + Sync {
    /// Whether its loops go round: if not, only a restart helps.
    fn lives(&self) -> Report;

    /// Whether it does its work, or waits as a standby.
    fn readiness(&self) -> Report;

    /// How everything does that it works with.
    async fn health(&self) -> Report;

    /// Everything that is counted, and the content type of that.
    fn metrics(&self) -> (&'static str, String);
}

type Shared = State<Arc<dyn Vitals>>;

pub(super) fn router(vitals: Arc<dyn Vitals>) -> Router {
    Router::new()
        .route("/livez", get(|State(it): Shared| async move { told(it.lives()) }))
        .route("/readyz", get(|State(it): Shared| async move { told(it.readiness()) }))
        .route("/healthz", get(|State(it): Shared| async move { told(it.health().await) }))
        .route("/metrics", get(|State(it): Shared| async move { page(it.metrics()) }))
        .with_state(vitals)
}

fn told(report: Report) -> Response {
    let status = if report.is_well() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(report)).into_response()
}

fn page((kind, text): (&'static str, String)) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}
