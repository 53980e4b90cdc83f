//! OAuth 2 client credentials (RFC 6749, 4.4): the request for a token and what comes back.

use super::{
    BadHeader, Fault, Oauth2, Placement, present, secret_value,
    token::{Granted, NotGranted, TokenSource, Trouble},
};
use crate::{
    model::one_line,
    remote::{
        RemoteError, Settings,
        echo::Echoes,
        http::{
            address, body,
            client::{Client, Lost, Request},
        },
        retry::retry_after,
        tls as remote_tls,
    },
};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use url::Url;

const URL: &[&str] = &["auth", "oauth2", "token_url"];
const ID: &[&str] = &["auth", "oauth2", "client_id"];
const SECRET: &[&str] = &["auth", "oauth2", "client_secret"];
const EXTRA: &[&str] = &["auth", "oauth2", "extra"];
const TLS: &[&str] = &["auth", "oauth2", "tls"];

/// Parameters that are keys of their own.
const OURS: &[&str] = &["grant_type", "client_id", "client_secret", "scope"];

/// The longest answer that is read.
const LIMIT: usize = 256 << 10;
/// How much of an answer a message shows.
const SHOWN: usize = 300;
/// How many of its keys, and how much of each.
const KEYS_SHOWN: usize = 10;
const KEY_SHOWN: usize = 40;

/// What can be said about the settings before a client is made of them.
pub(super) fn check(settings: &Oauth2, allow_http: bool) -> Vec<Fault> {
    let Oauth2 { token_url, client_id, client_secret, extra, tls, .. } = settings;
    let mut faults = Vec::new();
    faults.extend(endpoint(token_url, allow_http).err());
    faults.extend(present(ID, client_id).err());
    faults.extend(present(SECRET, client_secret.expose_secret()).err());
    if let Some(name) = extra.keys().find(|it| OURS.contains(&it.as_str())) {
        faults.push(Fault::new(
            EXTRA,
            format!("`{name}` is not an extra parameter: rowcall sends it by itself"),
        ));
    }
    faults.extend(tls.as_ref().and_then(|it| remote_tls::check(it, TLS).err()));
    faults
}

fn endpoint(token_url: &str, allow_http: bool) -> Result<Url, Fault> {
    address::callable_url(token_url, allow_http).map_err(|message| Fault::new(URL, message))
}

/// One place that gives tokens to one client.
pub(super) struct TokenEndpoint {
    remote: String,
    place: String,
    client: Client,
    uri: Uri,
    headers: HeaderMap,
    form: Bytes,
    echoes: Echoes,
    timeout: Duration,
}

impl TokenEndpoint {
    pub(super) fn new(remote: &str, oauth2: &Oauth2, settings: &Settings) -> Result<Self, RemoteError> {
        let wrong = |fault| RemoteError::wrong(remote, fault);
        if let Some(fault) = check(oauth2, settings.allow_http).into_iter().next() {
            return Err(wrong(fault));
        }
        let url = endpoint(&oauth2.token_url, settings.allow_http).map_err(wrong)?;
        let uri = address::uri(&url).map_err(|message| wrong(Fault::new(URL, message)))?;
        let (tls, path) = match &oauth2.tls {
            Some(tls) => (Some(tls), TLS),
            None => (settings.tls.as_ref(), &["tls"][..]),
        };
        let client = Client::new(&url, tls, settings, path).map_err(wrong)?;
        let (headers, form) =
            request(oauth2).map_err(|error| wrong(Fault::new(SECRET, error.to_string())))?;
        Ok(Self {
            remote: address::label(remote, &settings.url),
            place: address::host(&url),
            client,
            uri,
            headers,
            form,
            echoes: Echoes::new(secrets(oauth2)),
            timeout: settings.timeout.0,
        })
    }

    fn refused(&self, message: String) -> NotGranted {
        self.not_granted(Trouble::Refused, message)
    }

    fn not_granted(&self, trouble: Trouble, message: String) -> NotGranted {
        NotGranted { trouble, message: format!("{} {message}", self.place), retry_after: None }
    }

    /// What a 2xx holds. However odd it is, a token may be somewhere in it: it is never shown.
    fn granted(&self, kind: &str, body: &Bytes) -> Result<Granted, NotGranted> {
        let unusable = |what: &str| {
            // Some answer 200 to a refusal.
            let told = self.told(body).unwrap_or_default();
            self.refused(format!("gave {what} ({}){told}", outline(kind, body)))
        };
        let said: Said = serde_json::from_slice(body).map_err(|_| unusable("what is no token"))?;
        let Some(token) = said.access_token.filter(|it| !it.expose_secret().is_empty()) else {
            return Err(unusable("no `access_token`"));
        };
        if let Some(kind) = said.token_type.filter(|it| !it.eq_ignore_ascii_case("bearer")) {
            let message =
                format!("gives tokens of the type `{}`; only `Bearer` is supported", one_line(&kind, 40));
            return Err(self.refused(message));
        }
        let header = secret_value(&AUTHORIZATION, &format!("Bearer {}", token.expose_secret()));
        let header =
            header.map_err(|_| self.refused("gave a token that a header cannot carry".to_owned()))?;
        Ok(Granted { text: token, header, lifetime: said.expires_in.as_ref().and_then(lifetime) })
    }

    /// What another status means.
    fn failure(&self, status: u16, body: &Bytes) -> NotGranted {
        let passes = matches!(status, 408 | 425 | 429 | 500..);
        let hint = match status {
            300..=399 | 404 | 405 => " (check `token_url`)",
            401 => " (check `client_id`, `client_secret` and where they go: `credentials`)",
            _ => "",
        };
        let trouble = if passes { Trouble::Unreachable } else { Trouble::Refused };
        self.not_granted(trouble, format!("answered with {status}{hint}{}", self.reasons(body)))
    }

    /// `error` and `error_description`, or the beginning of what else it said.
    fn reasons(&self, body: &Bytes) -> String {
        self.told(body).unwrap_or_else(|| match std::str::from_utf8(&self.echoes.masked(body.clone())) {
            Ok(text) if text.trim().is_empty() => String::new(),
            Ok(text) => format!(": {}", one_line(text.trim(), SHOWN)),
            Err(_) => format!(": ({} bytes that are not text)", body.len()),
        })
    }

    /// `error` and `error_description`, behind a colon.
    fn told(&self, body: &Bytes) -> Option<String> {
        let Refusal { error, error_description } = serde_json::from_slice(body).ok()?;
        let said = match error_description {
            Some(why) => format!("{}: {why}", error?),
            None => error?,
        };
        Some(format!(": {}", one_line(&self.echoes.masked_text(&said), SHOWN)))
    }
}

/// What can be said of an answer without its values: its type, its size, and its keys.
fn outline(kind: &str, body: &[u8]) -> String {
    let kind = kind.split(';').next().map(str::trim).filter(|it| !it.is_empty()).unwrap_or("of no type");
    let outline = format!("{}, {} bytes", one_line(kind, KEY_SHOWN), body.len());
    let keys = match serde_json::from_slice(body) {
        Ok(Value::Object(said)) => said.into_iter().map(|(key, _)| key),
        _ => return outline,
    };
    let keys: Vec<_> = keys.take(KEYS_SHOWN).map(|key| format!("`{}`", one_line(&key, KEY_SHOWN))).collect();
    match keys.is_empty() {
        true => outline,
        false => format!("{outline}, with {}", keys.join(", ")),
    }
}

#[async_trait]
impl TokenSource for TokenEndpoint {
    async fn fetch(&self) -> Result<Granted, NotGranted> {
        let mut request = Request::new(self.form.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let unreachable = |message: String| self.not_granted(Trouble::Unreachable, message);
        let response = self.client.send(request, LIMIT).await.map_err(|lost| match lost {
            Lost::TooLong => self.refused(format!("gave more than {LIMIT} bytes")),
            Lost::NotConnected | Lost::Late => {
                unreachable(format!("did not answer within {} ms", self.timeout.as_millis()))
            }
            Lost::Broken(message) => unreachable(message),
        })?;
        let status = response.status().as_u16();
        let headers = body::kept(response.headers());
        let body = response.into_body();
        match status {
            200..=299 => self.granted(headers.get(CONTENT_TYPE.as_str()).unwrap_or_default(), &body),
            _ => Err(NotGranted { retry_after: retry_after(&headers), ..self.failure(status, &body) }),
        }
    }

    fn remote(&self) -> &str {
        &self.remote
    }

    fn place(&self) -> &str {
        &self.place
    }
}

#[derive(Deserialize)]
struct Said {
    access_token: Option<SecretString>,
    token_type: Option<String>,
    expires_in: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

/// Seconds, as a number or, as some write it, as text. One that is no time at all says nothing.
fn lifetime(said: &Value) -> Option<Duration> {
    let seconds: f64 = match said {
        Value::Number(number) => number.to_string().parse().ok()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // A hundred years are as good as for ever, and can be counted with.
    let seconds = if seconds.is_nan() { return None } else { seconds.clamp(0.0, 3.2e9) };
    Some(Duration::from_secs_f64(seconds))
}

/// The headers and the body of the request.
fn request(settings: &Oauth2) -> Result<(HeaderMap, Bytes), BadHeader> {
    let Oauth2 { client_id, client_secret, scope, extra, credentials, .. } = settings;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    match credentials {
        Placement::Basic => {
            let value = format!("Basic {}", basic(client_id, client_secret));
            headers.insert(AUTHORIZATION, secret_value(&AUTHORIZATION, &value)?);
        }
        Placement::Body => {
            form.append_pair("client_id", client_id);
            form.append_pair("client_secret", client_secret.expose_secret());
        }
    }
    if let Some(scope) = scope {
        form.append_pair("scope", scope);
    }
    form.extend_pairs(extra.iter());
    Ok((headers, form.finish().into()))
}

/// RFC 6749, 2.3.1: both are form-encoded before they are put together.
fn basic(client_id: &str, client_secret: &SecretString) -> String {
    let coded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    BASE64_STANDARD.encode(format!("{}:{}", coded(client_id), coded(client_secret.expose_secret())))
}

/// What must not be shown, should the endpoint say it back.
fn secrets(settings: &Oauth2) -> Vec<String> {
    let Oauth2 { client_id, client_secret, extra, .. } = settings;
    let mut secrets = vec![client_secret.expose_secret().to_owned(), basic(client_id, client_secret)];
    secrets.extend(extra.values().cloned());
    secrets
}

#[cfg(test)]
mod tests;
