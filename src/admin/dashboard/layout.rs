//! What stands around every page. Pure.

use super::{assets, pieces, say};
use crate::admin::{guard::Role, problem::Problem};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

/// The pages that the navigation has: path and name.
const TABS: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/routes", "Routes"),
    ("/parked", "Parked"),
    ("/calls", "Calls"),
    ("/runs", "Runs"),
    ("/remotes", "Remotes"),
    ("/schedule", "Schedule"),
    ("/operations", "Operations"),
    ("/configuration", "Configuration"),
];

/// What htmx may do: nothing beyond asking for this page again.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"allowScriptTags":false,"selfRequestsOnly":true,"historyEnabled":false}"#;

/// A page, without what stands around it.
pub(super) struct Page {
    pub title: String,
    /// Asked for again whenever something is new; begins with the heading.
    pub live: Markup,
    /// Stays as it is, so that nothing is lost that was typed or chosen there.
    pub rest: Markup,
}

impl Page {
    /// One of which nothing changes.
    pub(super) fn still(title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), live: html! {}, rest: body }
    }
}

/// Who looks, from where, when.
#[derive(Clone)]
pub(super) struct Frame {
    pub here: String,
    pub now: Timestamp,
    pub role: Role,
    /// What was just done.
    pub said: Option<String>,
}

pub(super) fn whole(page: &Page, frame: &Frame) -> Response {
    let live = !page.live.0.is_empty();
    let body = html! {
        @if live {
            div #live hx-get=(frame.here) hx-trigger="sse:tick" hx-select="#live" hx-swap="outerHTML" hx-sync="this:drop" {
                (page.live)
                p.asof {
                    "As of " time datetime=(frame.now) { (say::exact(frame.now)) } ". "
                    a href=(frame.here) { "Reload" }
                }
            }
        }
        (page.rest)
    };
    super::html(StatusCode::OK, frame_of(&page.title, body, Some(frame), live).into_string())
}

/// Something is wrong with what was asked, or with what should answer.
pub(super) fn wrong(problem: &Problem, frame: Option<&Frame>) -> Response {
    let (status, title) = problem.head();
    let body = html! {
        h1 { (pieces::shape(super::health::Health::Stuck)) (title) }
        p.reason { (problem.detail()) }
        p { a.button href="/" { "Overview" } }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    super::html(status, frame_of(title, body, frame, false).into_string())
}

/// A page by itself, for who is not known yet.
pub(super) fn alone(title: &str, body: Markup) -> Markup {
    frame_of(title, body, None, false)
}

fn frame_of(title: &str, body: Markup, frame: Option<&Frame>, live: bool) -> Markup {
    let tab = frame.map(|it| tab(&it.here));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="htmx-config" content=(HTMX);
                title { (title) " · Rowcall" }
                link rel="icon" type="image/svg+xml" href=(assets::path("icon.svg"));
                link rel="stylesheet" href=(assets::path("style.css"));
                @for script in ["htmx.min.js", "htmx-sse.min.js", "dashboard.js"] {
                    script defer src=(assets::path(script)) {}
                }
            }
            body hx-ext=[live.then_some("sse")] sse-connect=[live.then_some("/live")] {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "Rowcall" }
                    @if let Some(frame) = frame {
                        nav aria-label="Pages" {
                            ul {
                                @for (path, name) in TABS {
                                    li { a href=(path) aria-current=[(tab == Some(path)).then_some("page")] { (name) } }
                                }
                            }
                        }
                        div.who {
                            @if live {
                                span #pulse hidden { "live" }
                                button #hold type="button" hidden aria-pressed="false" { "Hold still" }
                            }
                            @if frame.role == Role::ReadToken { span title="admin.read_token may change nothing" { "may only look" } }
                            @if frame.role != Role::Local {
                                form method="post" action="/logout" { button.quiet { "Log out" } }
                            }
                        }
                    }
                }
                p #said.hidden role="status" aria-live="polite" {}
                main #main tabindex="-1" {
                    @if let Some(said) = frame.and_then(|it| it.said.as_ref()) {
                        p.said role="status" { (said) }
                    }
                    (body)
                }
            }
        }
    }
}

/// The tab under which a path is.
fn tab(here: &str) -> &'static str {
    let path = here.split('?').next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let first = if first == "lineage" { "calls" } else { first };
    let is = |it: &&(&str, &str)| it.0.trim_start_matches('/') == first;
    TABS.iter().find(is).map_or("", |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_it_is_and_holds_nothing_that_a_browser_would_run() {
        let now = Timestamp::UNIX_EPOCH;
        let frame = Frame { here: "/parked/7?source=\"x".to_owned(), now, role: Role::Token, said: None };
        let text = frame_of("<script>", html! { p { "<b>" } }, Some(&frame), true).into_string();
        assert!(
            text.contains("<title>&lt;script&gt; · Rowcall</title>") && text.contains("<p>&lt;b&gt;</p>")
        );
        assert!(text.contains("<a href=\"/parked\" aria-current=\"page\">"), "{text}");
        assert!(text.contains("Log out") && !text.contains(" style=") && !text.contains(" onclick"));
        let stranger = alone("Log in", html! {}).into_string();
        assert!(!stranger.contains("<nav") && !stranger.contains("sse-connect"));
    }

    #[test]
    fn a_path_is_under_its_tab() {
        for (path, expected) in [("/", "/"), ("/runs/7?x", "/runs"), ("/lineage", "/calls"), ("/do/x", "")] {
            assert_eq!(tab(path), expected);
        }
    }
}
