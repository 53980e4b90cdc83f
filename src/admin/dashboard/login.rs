//! Where tokens are configured: who is it?

use super::{Dashboard, html as answer, layout, pieces::url, redirect};
use crate::admin::guard::session;
use axum::{
    body::to_bytes,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use maud::{Markup, html};
use std::sync::Arc;
use tokio::time::timeout;

/// A form has no more.
const LARGEST: usize = 16 << 10;

/// Leads to the login, and from there back.
pub(in crate::admin) fn to_login(parts: &Parts) -> Response {
    let wanted = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let page = parts.method == http::Method::GET;
    redirect(&format!("/login?to={}", url(if page { wanted } else { "/" })))
}

pub(super) async fn page(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    if !dashboard.guard.has_tokens() {
        return redirect("/");
    }
    let to = field(request.uri().query().unwrap_or_default().as_bytes(), "to");
    answer(StatusCode::OK, draw(&within(to), None).into_string())
}

pub(super) async fn enter(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    let read = timeout(super::WITHIN, to_bytes(request.into_body(), LARGEST)).await;
    let body = read.ok().and_then(Result::ok).unwrap_or_default();
    let to = within(field(&body, "to"));
    let typed = field(&body, "token").unwrap_or_default();
    let now = dashboard.desk.now();
    match dashboard.guard.let_in(&typed, now, dashboard.secure) {
        Some(cookie) => with_cookie(redirect(&to), &cookie),
        None => {
            let wrong = "That is neither `admin.token` nor `admin.read_token` of this instance.";
            answer(StatusCode::UNAUTHORIZED, draw(&to, Some(wrong)).into_string())
        }
    }
}

pub(super) async fn leave(State(dashboard): State<Arc<Dashboard>>) -> Response {
    with_cookie(redirect("/login"), &session::forgotten(dashboard.secure))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn draw(to: &str, wrong: Option<&str>) -> Markup {
    layout::alone(
        "Log in",
        html! {
            h1 { "Log in" }
            p.lead { "With the value of " code { "admin.token" } " you may do everything, with that of " code { "admin.read_token" } " look." }
            form.login method="post" action="/login" {
                input type="hidden" name="to" value=(to);
                label.field { span { "Token" } input type="password" name="token" required autofocus autocomplete="current-password" aria-describedby=[wrong.map(|_| "wrong")]; }
                @if let Some(wrong) = wrong { p #wrong.reason role="alert" { (wrong) } }
                button { "Log in" }
            }
        },
    )
}

fn field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(it, _)| it == name).map(|(_, value)| value.into_owned())
}

/// A path here, and nowhere else.
fn within(to: Option<String>) -> String {
    let here = |it: &String| {
        it.starts_with('/')
            && !it.starts_with("//")
            && it.bytes().all(|it| (b'!'..=b'~').contains(&it) && it != b'\\')
    };
    to.filter(here).unwrap_or_else(|| "/".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_path_of_ours_only() {
        let led = |to: &str| within(Some(to.to_owned()));
        assert_eq!(led("/parked?route=a%20b"), "/parked?route=a%20b");
        for elsewhere in ["//evil.example", "https://evil.example", "/\\evil", "javascript:x", "/a\r\nb", ""]
        {
            assert_eq!(led(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn the_form_keeps_where_it_leads_as_text() {
        let drawn = draw("/\"><script>", Some("no")).into_string();
        assert!(drawn.contains("value=\"/&quot;&gt;&lt;script&gt;\"") && drawn.contains("role=\"alert\""));
    }
}
