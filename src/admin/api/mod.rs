//! `/api/v1`.

use super::{
    Desk,
    problem::{NO_METHOD, NO_PATH, Problem},
};
use axum::{Json, Router, extract::State, response::IntoResponse, routing::get};
use http::{Method, Uri};
use std::sync::Arc;

/// Everything below `/api/v1`.
pub(super) fn router(desk: Arc<dyn Desk>) -> Router {
    Router::new().route("/api/v1/status", get(status)).with_state(desk)
}

async fn status(State(desk): State<Arc<dyn Desk>>) -> Result<impl IntoResponse, Problem> {
    Ok(Json(desk.status().await?))
}

/// Whatever nobody serves.
pub(super) async fn no_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(NO_PATH, format!("there is no `{path}`: `/api/v1/openapi.json` says what there is"))
}

/// A path that is served, but not like this.
pub(super) async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        NO_METHOD,
        format!("`{}` does not know {method}: the header `Allow` says what it knows", uri.path()),
    )
}
