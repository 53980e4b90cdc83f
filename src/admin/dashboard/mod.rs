//! The dashboard at `/`: pages for whoever must find what is stuck, why, and what cures it.
//!
//! Pages are drawn here, as a whole, from what the [`Desk`] says: they can be read without JavaScript, and
//! nothing in them comes from elsewhere (`default-src 'self'`). With it, the part of a page that changes is
//! asked for again whenever [`live`] says that there is something new.
//!
//! What changes something is a form that is confirmed on a page of its own ([`deeds`]), and is done by the
//! API's endpoint, so that it is judged and written down alike.
//!
//! A page is one file with a function that reads and pure ones that draw, a row in the table of [`router`], and
//! mostly one in that of [`layout`].

mod assets;
mod call;
mod calls;
mod configuration;
mod deeds;
mod forms;
mod graph;
mod health;
mod layout;
mod live;
mod login;
mod operations;
mod overview;
mod parked;
mod parked_change;
mod pieces;
mod remotes;
mod route;
mod routes;
mod run;
mod runs;
mod samples;
mod say;
mod schedule;
mod visit;

pub(super) use login::to_login;
pub(super) use samples::{Samples, sample};

use super::{Desk, api::Api, guard::Guard, problem::Problem};
use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use http::header;
use layout::Page;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use visit::Visit;

/// Longer than this nobody looks at an empty page.
const WITHIN: Duration = Duration::from_secs(30);

/// What every page needs.
struct Dashboard {
    api: Arc<Api>,
    desk: Arc<dyn Desk>,
    guard: Arc<Guard>,
    samples: Arc<Samples>,
    /// Whether a cookie may go over TLS only.
    secure: bool,
    streams: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// Everything that is not below `/api`.
pub(super) fn router(
    api: Arc<Api>,
    desk: Arc<dyn Desk>,
    guard: Arc<Guard>,
    samples: Arc<Samples>,
    secure: bool,
    stop: watch::Receiver<bool>,
) -> Router {
    let streams = Arc::new(Semaphore::new(live::STREAMS));
    let dashboard = Arc::new(Dashboard { api, desk, guard, samples, secure, streams, stop });
    Router::new()
        .route("/", page(overview::page))
        .route("/routes", page(routes::page))
        .route("/routes/{route}", page(route::page))
        .route("/runs", page(runs::page))
        .route("/runs/{id}", page(run::page))
        .route("/calls", page(calls::page))
        .route("/calls/{id}", page(call::page))
        .route("/lineage", page(calls::lineage))
        .route("/parked", page(parked::page))
        .route("/parked/{id}", page(parked_change::page))
        .route("/remotes", page(remotes::page))
        .route("/schedule", page(schedule::page))
        .route("/configuration", page(configuration::page))
        .route("/operations", page(operations::page))
        .route("/do/{deed}", page(deeds::confirm).post(deeds::act))
        .route("/live", get(live::stream))
        .route("/login", get(login::page).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/assets/{name}", get(assets::serve))
        .with_state(dashboard)
}

/// Whether a path is shown to whoever asks.
pub(super) fn is_open(path: &str) -> bool {
    path == "/login" || path.starts_with("/assets/")
}

/// Whether who is not known is led to the login there.
pub(super) fn is_page(path: &str) -> bool {
    const PAGES: &[&str] = &[
        "",
        "routes",
        "runs",
        "calls",
        "lineage",
        "parked",
        "remotes",
        "schedule",
        "configuration",
        "operations",
        "do",
    ];
    PAGES.contains(&path.trim_start_matches('/').split('/').next().unwrap_or_default())
}

fn page<F>(draw: fn(Visit) -> F) -> MethodRouter<Arc<Dashboard>>
where
    F: Future<Output = Result<Page, Problem>> + Send + 'static,
{
    get(move |State(dashboard): State<Arc<Dashboard>>, request: Request| async move {
        let visit = match Visit::of(dashboard, request) {
            Ok(visit) => visit,
            Err(problem) => return layout::wrong(&problem, None),
        };
        let frame = visit.frame();
        let api = Arc::clone(&visit.dashboard.api);
        let drawn = async move {
            let _turn = api.turn().await?;
            draw(visit).await
        };
        let slow = || Problem::new(super::problem::TOO_SLOW, "the databases took too long to answer: reload");
        match timeout(WITHIN, drawn).await.unwrap_or_else(|_| Err(slow())) {
            Ok(page) => layout::whole(&page, &frame),
            Err(problem) => layout::wrong(&problem, Some(&frame)),
        }
    })
}

/// An answer to a browser, which may keep nothing and let nothing in.
fn html(status: http::StatusCode, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (status, headers, text).into_response()
}

fn redirect(to: &str) -> Response {
    (http::StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")])
        .into_response()
}
