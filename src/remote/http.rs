//! The remote behind a real HTTP API.

pub(super) mod client;

use super::{BadHeader, CallError, RemoteClient, Settings, auth, path};
use crate::model::{Answer, Body, Call, CallKey, Span};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Request, Response, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use std::error::Error;

/// The longest answer body that is read.
const BODY_LIMIT: usize = 1 << 20;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What to do about a certificate nobody here vouches for.
const UNTRUSTED: &str =
    " (this machine trusts the authorities in its root certificates; SSL_CERT_FILE names other ones)";

/// What is wrong with a remote's settings, or with this machine's certificates.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RemoteError {
    /// The base URL is not one that can be called.
    #[error("remotes.{remote}.url: {message}")]
    Url {
        /// The remote's name.
        remote: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// The credentials cannot be sent.
    #[error("remotes.{remote}.auth: {source}")]
    Auth {
        /// The remote's name.
        remote: String,
        /// What is wrong with them.
        source: BadHeader,
    },
    /// A header of the remote's own cannot be sent.
    #[error("remotes.{remote}.headers: {source}")]
    Header {
        /// The remote's name.
        remote: String,
        /// What is wrong with it.
        source: BadHeader,
    },
    /// The client cannot be set up.
    #[error("remotes.{remote}: {message}")]
    Client {
        /// The remote's name.
        remote: String,
        /// What stands in the way.
        message: String,
    },
}

/// A remote API over HTTP/1.1 or 2, with a pool of connections of its own.
#[derive(Debug)]
pub struct HttpRemote {
    client: Client,
    /// Everything before a step's path, without a slash at the end.
    base: String,
    /// Name and host, for messages.
    label: String,
    /// A step may not send these: the credentials are the remote's.
    reserved: Vec<HeaderName>,
    timeout: Span,
    connect_timeout: Span,
    limit: usize,
}

impl HttpRemote {
    /// Checks the settings and makes the client; nothing is sent.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, RemoteError> {
        let remote = || name.to_owned();
        let url = client::base_url(&settings.url, settings.allow_http)
            .map_err(|message| RemoteError::Url { remote: remote(), message })?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let header =
                auth::header_name(name).and_then(|name| Ok((auth::header_value(&name, value)?, name)));
            let (mut value, name) =
                header.map_err(|source| RemoteError::Header { remote: remote(), source })?;
            // Configuration may put a secret into any header.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let mut reserved = Vec::new();
        let credentials =
            settings.auth.header().map_err(|source| RemoteError::Auth { remote: remote(), source })?;
        if let Some((name, value)) = credentials {
            if headers.contains_key(&name) {
                let source = BadHeader::Twice(name.to_string());
                return Err(RemoteError::Header { remote: remote(), source });
            }
            reserved.push(name.clone());
            headers.insert(name, value);
        }
        let client = client::build(&url, settings, headers)
            .map_err(|message| RemoteError::Client { remote: remote(), message })?;
        Ok(Self {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            label: format!("{name} ({})", client::host(&url)),
            reserved,
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            limit: BODY_LIMIT,
        })
    }

    /// Reads answer bodies up to this many bytes instead of one MiB.
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    fn request(&self, call: &Call, key: &CallKey) -> Result<Request, CallError> {
        let bad = |message: String| CallError::BadRequest { message };
        path::check(&call.path)?;
        let url = [self.base.as_str(), &call.path].concat();
        let url = Url::parse(&url).map_err(|error| bad(format!("its URL cannot be read: {error}")))?;
        let mut request = Request::new(method(call.method), url);
        let headers = request.headers_mut();
        if call.method.mutates() {
            let value = HeaderValue::try_from(key.to_string()).map_err(|_| {
                bad(format!("the call key `{}` is no header value", key.to_string().escape_debug()))
            })?;
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        match &call.body {
            Body::Empty => None,
            Body::Json(_) => headers.insert(CONTENT_TYPE, JSON),
            Body::Form(_) => headers.insert(CONTENT_TYPE, FORM),
            Body::Text(_) => headers.insert(CONTENT_TYPE, TEXT),
        };
        for (name, value) in &call.headers {
            let name = auth::header_name(name).map_err(|error| bad(error.to_string()))?;
            if self.reserved.contains(&name) {
                return Err(bad(format!("the header `{name}` is set by the remote's `auth`: leave it out")));
            }
            let mut value = auth::header_value(&name, value).map_err(|error| bad(error.to_string()))?;
            value.set_sensitive(name == AUTHORIZATION);
            headers.insert(name, value);
        }
        if let Some(body) = call.body.bytes() {
            *request.body_mut() = Some(body.clone().into());
        }
        Ok(request)
    }

    /// The body, as far as the limit allows.
    async fn body(&self, response: &mut Response) -> Result<Bytes, CallError> {
        let too_long = || CallError::TooLong { remote: self.label.clone(), limit: self.limit };
        if response.content_length().is_some_and(|length| length > self.limit as u64) {
            return Err(too_long());
        }
        let chunk = |chunk: reqwest::Result<Option<Bytes>>| chunk.map_err(|error| self.failed(error));
        let Some(first) = chunk(response.chunk().await)? else { return Ok(Bytes::new()) };
        let Some(second) = chunk(response.chunk().await)? else {
            return if first.len() > self.limit { Err(too_long()) } else { Ok(first) };
        };
        let mut body = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(part) = next {
            if body.len() + part.len() > self.limit {
                return Err(too_long());
            }
            body.extend_from_slice(&part);
            next = chunk(response.chunk().await)?;
        }
        Ok(body.freeze())
    }

    /// Why there is no answer, without the URL: it may carry what must not be shown.
    fn failed(&self, error: reqwest::Error) -> CallError {
        let remote = self.label.clone();
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => CallError::Timeout { remote, limit: self.connect_timeout.min(self.timeout) },
            (true, false) => CallError::Timeout { remote, limit: self.timeout },
            (false, connecting) => {
                let doing = if connecting { "cannot connect" } else { "the connection broke" };
                let cause = innermost(&error);
                let hint = if cause.contains("invalid peer certificate") { UNTRUSTED } else { "" };
                CallError::Transport { remote, message: format!("{doing}: {cause}{hint}") }
            }
        }
    }
}

#[async_trait]
impl RemoteClient for HttpRemote {
    async fn call(&self, call: &Call, key: &CallKey) -> Result<Answer, CallError> {
        let request = self.request(call, key)?;
        let mut response = self.client.execute(request).await.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let headers = kept(response.headers());
        let body = self.body(&mut response).await?;
        Ok(Answer { status, headers, body })
    }
}

/// The header fields that something may come to need: answers are stored with parked changes, so
/// cookies and the like are not kept.
fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        matches!(name, "content-type" | "location" | "etag" | "retry-after" | "date" | "x-request-id")
            || name.starts_with("ratelimit")
            || name.starts_with("x-ratelimit")
    };
    let wanted = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    // Postgres cannot store NUL; a header cannot carry it.
    wanted
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn method(method: crate::model::Method) -> reqwest::Method {
    use crate::model::Method;
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

/// The client wraps errors in layers that say nothing; the last one says what happened.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests;
