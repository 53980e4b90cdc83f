//! What pages are made of beside themselves: all of it is in the program.

use super::html;
use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use std::sync::LazyLock;
use xxhash_rust::xxh3::Xxh3;

const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
    ("htmx.min.js", "text/javascript; charset=utf-8", include_str!("assets/htmx.min.js")),
    ("htmx-sse.min.js", "text/javascript; charset=utf-8", include_str!("assets/htmx-sse.min.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Another one wherever any of it is another.
static EDITION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Xxh3::new();
    ASSETS.iter().for_each(|(_, _, text)| hash.update(text.as_bytes()));
    format!("{:016x}", hash.digest())
});

/// Where a browser finds it.
pub(super) fn path(name: &str) -> String {
    format!("/assets/{name}?{}", *EDITION)
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(it, _, _)| *it == name) else {
        return html(StatusCode::NOT_FOUND, "There is no such file.".to_owned());
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, *text).into_response()
}
