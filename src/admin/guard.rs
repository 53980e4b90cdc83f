//! Who asks, and may they: tokens, and what keeps web pages elsewhere from asking through a browser.
//!
//! With tokens, whoever shows one is believed. Without, the server listens on loopback only, where anything
//! on the machine may do everything; a browser there may be told by any page what to send, so
//!
//! - the request must be for a loopback name (`Host`), or a name of the page's own could be turned into
//!   this machine's address (DNS rebinding);
//! - what changes something must be JSON or carry the header `X-Rowcall`, neither of which a page can
//!   send elsewhere without asking first; and where the browser says from where it comes
//!   (`Sec-Fetch-Site`, `Origin`), that must be here. A form of the dashboard is neither: it must be said
//!   by the browser to come from here.
//!
//! The second holds with tokens too. A browser shows a cookie instead of a token, see [`session`]; without
//! it, whoever asks for a page is led to the login.

pub(super) mod session;

use super::{
    Desk, Settings, dashboard,
    problem::{CROSS_SITE, FORBIDDEN, Problem, TOO_LONG, UNAUTHENTICATED},
    server::Peer,
};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use jiff::Timestamp;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc};

/// Paths that say nothing worth a secret: those that whatever keeps the process alive asks.
const OPEN: &[&str] = &["/livez", "/readyz"];
/// The longest path and query.
const LONGEST_TARGET: usize = 8 << 10;
/// What only our own clients send.
const OURS: &str = "x-rowcall";

/// What an asker may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Showed `admin.token`: everything.
    Token,
    /// Showed `admin.read_token`: look.
    ReadToken,
    /// Is on this machine, where no token is configured: everything.
    Local,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ReadToken => "read_token",
            Self::Local => "local",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub role: Role,
    pub address: IpAddr,
}

/// The tokens, as what they hash to: two hashes differ at a place that says nothing of the token, so
/// that the time a comparison takes tells nothing.
pub(super) struct Guard {
    token: Option<[u8; 32]>,
    read_token: Option<[u8; 32]>,
}

impl Guard {
    pub(super) fn new(settings: &Settings) -> Self {
        let hash =
            |token: &Option<SecretString>| token.as_ref().map(|it| hash(it.expose_secret().as_bytes()));
        Self { token: hash(&settings.token), read_token: hash(&settings.read_token) }
    }

    /// Who it is, or why not.
    fn admit(&self, parts: &Parts, address: IpAddr, now: Timestamp) -> Result<Operator, Problem> {
        is_short(parts)?;
        let role = if self.token.is_none() {
            is_for_this_machine(parts)?;
            Role::Local
        } else {
            self.role(&parts.headers, now)?
        };
        if changes_something(&parts.method) {
            is_ours(parts)?;
            if role == Role::ReadToken {
                let detail = "this is `admin.read_token`, which may only look: `admin.token` may do this";
                return Err(Problem::new(FORBIDDEN, detail));
            }
        }
        Ok(Operator { role, address })
    }

    fn role(&self, headers: &HeaderMap, now: Timestamp) -> Result<Role, Problem> {
        const HOW: &str = "send `Authorization: Bearer` and the value of `admin.token` or `admin.read_token`";
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            if let Some(role) = self.remembered(headers, now) {
                return Ok(role);
            }
            return Err(Problem::new(UNAUTHENTICATED, format!("no token was shown: {HOW}")));
        };
        let scheme =
            shown.as_bytes().split_at_checked(7).filter(|(it, _)| it.eq_ignore_ascii_case(b"bearer "));
        let Some((_, token)) = scheme else {
            return Err(Problem::new(UNAUTHENTICATED, format!("that is no bearer token: {HOW}")));
        };
        let shown = hash(token.trim_ascii());
        // Both, whichever it is.
        let [full, read] = [&self.token, &self.read_token].map(|it| it.is_some_and(|it| same(&it, &shown)));
        match (full, read) {
            (true, _) => Ok(Role::Token),
            (_, true) => Ok(Role::ReadToken),
            _ => Err(Problem::new(UNAUTHENTICATED, format!("the token is not known here: {HOW}"))),
        }
    }
}

/// Lets through who may, and says who it is by an [`Operator`] among the request's extensions.
pub(super) async fn guard(
    State((guard, desk)): State<(Arc<Guard>, Arc<dyn Desk>)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    if dashboard::is_open(parts.uri.path()) {
        let judged = is_short(&parts).and_then(|()| match changes_something(&parts.method) {
            true => is_ours(&parts),
            false => Ok(()),
        });
        if let Err(problem) = judged {
            return problem.into_response();
        }
    } else if !OPEN.contains(&parts.uri.path()) {
        let address = parts.extensions.get::<Peer>().map(|Peer(address)| address.ip());
        // The server puts it there; who asks past the server is nobody.
        let address = address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        match guard.admit(&parts, address, desk.now()) {
            Ok(operator) => drop(parts.extensions.insert(operator)),
            Err(problem) => {
                tracing::debug!(%address, path = parts.uri.path(), "not let in: {}", problem.detail());
                let page = dashboard::is_page(parts.uri.path());
                return if page && problem.is(UNAUTHENTICATED) {
                    dashboard::to_login(&parts)
                } else {
                    problem.into_response()
                };
            }
        }
    }
    let mut response = next.run(Request::from_parts(parts, body)).await;
    // What is JSON is nothing else.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_short(parts: &Parts) -> Result<(), Problem> {
    let target = parts.uri.path_and_query().map_or(0, |it| it.as_str().len());
    if target <= LONGEST_TARGET {
        return Ok(());
    }
    Err(Problem::new(TOO_LONG, format!("at most {LONGEST_TARGET} bytes are read, not {target}")))
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where no token is, a name that is not this machine's own may be anyone's.
fn is_for_this_machine(parts: &Parts) -> Result<(), Problem> {
    let host = host(parts).unwrap_or_default();
    let name = without_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.is_loopback()) {
        return Ok(());
    }
    let detail = format!(
        "`Host: {}` is no name of this machine, and there is no `admin.token`: ask for `localhost` or `127.0.0.1`, or \
         configure a token",
        host.chars().take(100).collect::<String>()
    );
    Err(Problem::new(CROSS_SITE, detail))
}

/// What a page elsewhere cannot send through a browser without being allowed to.
fn is_ours(parts: &Parts) -> Result<(), Problem> {
    let text = |name: &str| parts.headers.get(name).map(|it| it.to_str().unwrap_or("?"));
    let mut said_here = text("sec-fetch-site") == Some("same-origin");
    if let Some(site) = text("sec-fetch-site").filter(|it| !matches!(*it, "same-origin" | "none")) {
        let detail = format!("the browser says that it comes from elsewhere (`Sec-Fetch-Site: {site}`)");
        return Err(Problem::new(CROSS_SITE, detail));
    }
    if let Some(origin) = text("origin") {
        let from = origin.split_once("://").map(|(_, host)| host);
        if from.is_none()
            || !from.zip(host(parts)).is_some_and(|(from, host)| from.eq_ignore_ascii_case(host))
        {
            let detail = "the browser says that it comes from another place (`Origin`)";
            return Err(Problem::new(CROSS_SITE, detail));
        }
        said_here = true;
    }
    let is_json = text("content-type").is_some_and(is_json);
    let is_form = text("content-type").is_some_and(is_form) && said_here;
    if is_json || is_form || parts.headers.contains_key(OURS) {
        return Ok(());
    }
    let detail = "what changes something is sent with `Content-Type: application/json` or `X-Rowcall: 1`, so that no web \
                  page can have a browser do it";
    Err(Problem::new(CROSS_SITE, detail))
}

/// Whether a content type is JSON.
pub(super) fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Whether a content type is that of a form.
pub(super) fn is_form(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn host(parts: &Parts) -> Option<&str> {
    let written = parts.headers.get(header::HOST).and_then(|it| it.to_str().ok());
    written.or_else(|| parts.uri.authority().map(|it| it.as_str()))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|it| it.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests;
