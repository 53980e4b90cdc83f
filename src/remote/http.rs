//! The remote behind a real HTTP API.

pub(super) mod body;
pub(super) mod client;

use super::{
    Attempt, BadHeader, CallError, Clock, Fault, Leave, RemoteClient, Settings, Shown,
    auth::{self, Scheme, Token},
    echo::Echoes,
    path,
};
use crate::model::{Answer, Body, Call, CallKey, MASK, Span};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Client, Request, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use std::sync::Arc;

/// The longest answer body that is read.
const BODY_LIMIT: usize = 1 << 20;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The status of a call whose credentials were not taken.
const UNAUTHORIZED: u16 = 401;

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
    /// The credentials or the TLS settings cannot be used.
    #[error("remotes.{remote}.{fault}")]
    Wrong {
        /// The remote's name.
        remote: String,
        /// What is wrong, and where.
        fault: Fault,
    },
    /// A header of the remote's own cannot be sent.
    #[error("remotes.{remote}.headers: {source}")]
    Header {
        /// The remote's name.
        remote: String,
        /// What is wrong with it.
        source: BadHeader,
    },
}

impl RemoteError {
    pub(super) fn wrong(remote: &str, fault: Fault) -> Self {
        Self::Wrong { remote: remote.to_owned(), fault }
    }
}

/// A remote API over HTTP/1.1 or 2, with a pool of connections of its own.
#[derive(Debug)]
pub struct HttpRemote {
    client: Client,
    /// Sent with every call.
    headers: HeaderMap,
    /// Everything before a step's path, without a slash at the end.
    base: String,
    /// Name and host, for messages.
    label: String,
    scheme: Scheme,
    clock: Clock,
    /// A step may not send these: the credentials are the remote's.
    reserved: Vec<HeaderName>,
    echoes: Echoes,
    timeout: Span,
    connect_timeout: Span,
    limit: usize,
}

impl HttpRemote {
    /// Checks the settings and makes the client; nothing is sent. The clock dates signatures.
    pub fn new(name: &str, settings: &Settings, clock: Clock) -> Result<Self, RemoteError> {
        let remote = || name.to_owned();
        let url = client::base_url(&settings.url, settings.allow_http)
            .map_err(|message| RemoteError::Url { remote: remote(), message })?;
        let mut headers = HeaderMap::new();
        for (name, value) in settings.headers.iter() {
            let header =
                auth::header_name(name).and_then(|name| Ok((auth::header_value(&name, value)?, name)));
            let (mut value, name) =
                header.map_err(|source| RemoteError::Header { remote: remote(), source })?;
            // Configuration may put a secret into any header.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let scheme = Scheme::new(name, settings)?;
        let reserved = scheme.headers();
        if let Some(name) = reserved.iter().find(|it| headers.contains_key(*it)) {
            let source = BadHeader::Twice(name.to_string());
            return Err(RemoteError::Header { remote: remote(), source });
        }
        let client = client::build(&url, settings.tls.as_ref(), settings, &["tls"])
            .map_err(|fault| RemoteError::wrong(name, fault))?;
        Ok(Self {
            client,
            headers,
            base: url.as_str().trim_end_matches('/').to_owned(),
            label: client::label(name, &settings.url),
            scheme,
            clock,
            reserved,
            echoes: Echoes::of(settings),
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
        *request.headers_mut() = self.headers.clone();
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

    /// Asks the remote's token endpoint for a token, if its scheme has one, and says how that
    /// went.
    pub async fn try_credentials(&self) -> Option<Result<String, String>> {
        self.scheme.try_out().await
    }

    /// One request, and the token it was made with; `None` without leave.
    async fn send(
        &self,
        call: &Call,
        key: &CallKey,
        leave: &mut dyn Leave,
    ) -> Result<Option<(Answer, Option<Arc<Token>>)>, CallError> {
        let mut request = self.request(call, key)?;
        if let Some(parent) = leave.trace()
            && let Ok(parent) = HeaderValue::try_from(parent)
        {
            // A step may speak for a trace of its own.
            request.headers_mut().entry(TRACEPARENT).or_insert(parent);
        }
        let shown = leave.watches().then(|| self.shown(&request));
        let token = self.scheme.prove(&mut request, &key.to_string(), self.clock).await?;
        // Behind the token, since waiting for that is no part of the call.
        if !leave.begin() {
            return Ok(None);
        }
        if let Some(mut shown) = shown {
            self.scheme.mask(&mut shown);
            leave.sends(shown);
        }
        let answer = self.execute(request).await?;
        let answer = self.echoes.without(answer, token.as_ref().map(|it| it.text()));
        if let Some(token) = token.as_ref().filter(|_| answer.status != UNAUTHORIZED) {
            token.accept();
        }
        Ok(Some((answer, token)))
    }

    async fn execute(&self, request: Request) -> Result<Answer, CallError> {
        let mut response = self.client.execute(request).await.map_err(|error| self.failed(error))?;
        let status = response.status().as_u16();
        let headers = body::kept(response.headers());
        let body = body::read(&mut response, self.limit).await.map_err(|unread| match unread {
            body::Unread::TooLong => CallError::TooLong { remote: self.label.clone(), limit: self.limit },
            body::Unread::Broken(error) => self.failed(error),
        })?;
        Ok(Answer { status, headers, body })
    }

    /// Sends JSON that no change caused, without limits and proof: the headers alone say who we are.
    pub async fn post_json(&self, path: &str, json: Bytes) -> Result<Answer, CallError> {
        let url = [self.base.as_str(), path].concat();
        let bad = |error| CallError::BadRequest { message: format!("its URL cannot be read: {error}") };
        let mut request = Request::new(reqwest::Method::POST, Url::parse(&url).map_err(bad)?);
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        *request.body_mut() = Some(json.into());
        self.execute(request).await
    }

    /// The request before its proof is on it: what is put there afterwards is not shown at all.
    fn shown(&self, request: &Request) -> Shown {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            let text = match value.is_sensitive() {
                true => MASK.to_owned(),
                false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.to_string(), text)
        };
        Shown { url: request.url().to_string(), headers: request.headers().iter().map(header).collect() }
    }

    /// Why there is no answer, without the URL: it may carry what must not be shown.
    fn failed(&self, error: reqwest::Error) -> CallError {
        let remote = self.label.clone();
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => CallError::Timeout { remote, limit: self.connect_timeout.min(self.timeout) },
            (true, false) => CallError::Timeout { remote, limit: self.timeout },
            (false, _) => CallError::Transport { remote, message: client::cause(&error) },
        }
    }
}

#[async_trait]
impl RemoteClient for HttpRemote {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        let Some((answer, token)) = self.send(call, key, leave).await? else { return Ok(Attempt::Held) };
        match token {
            // The remote looked at the token and no further, so nothing can happen twice.
            Some(token)
                if answer.status == UNAUTHORIZED
                    && leave.refused(&answer)
                    && self.scheme.renew(&token).await? =>
            {
                let again = self.send(call, key, leave).await?;
                Ok(again.map_or(Attempt::Held, |(answer, _)| Attempt::Answered(answer)))
            }
            _ => Ok(Attempt::Answered(answer)),
        }
    }
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

#[cfg(test)]
mod tests;
