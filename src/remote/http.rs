//! The remote behind a real HTTP API.

pub(super) mod address;
pub(super) mod body;
pub(super) mod client;

use super::{
    Attempt, BadHeader, CallError, Clock, Fault, Leave, RemoteClient, Settings, Shown, TokenLife,
    auth::{self, Scheme, Token},
    echo::Echoes,
    path,
};
use crate::model::{Answer, Body, Call, CallKey, MASK, Method as Verb, Span};
use address::Base;
use async_trait::async_trait;
use bytes::Bytes;
use client::{Client, Lost, Request};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use std::{borrow::Cow, fmt::Write, sync::Arc};

/// The longest answer body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// A URL that is longer grows in memory while it is written down.
const USUAL_URL: usize = 128;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How many headers a request has at most beside those of remote and step: our own, the proof, and
/// what the connection adds.
const OWN_HEADERS: usize = 10;

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
    /// Everything before a step's path.
    base: Base,
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
        let (base, url) = address::base_url(&settings.url, settings.allow_http)
            .and_then(|url| Ok((Base::new(&url)?, url)))
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
        let client = Client::new(&url, settings.tls.as_ref(), settings, &["tls"])
            .map_err(|fault| RemoteError::wrong(name, fault))?;
        Ok(Self {
            client,
            headers,
            base,
            label: address::label(name, &settings.url),
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
        let body = call.body.bytes().cloned().unwrap_or_default();
        let mut request = self.bare(method(call.method), &call.path, call.headers.len(), body)?;
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
        Ok(request)
    }

    /// A request with the remote's headers, and room for so many more beside those of our own.
    fn bare(&self, method: Method, path: &str, more: usize, body: Bytes) -> Result<Request, CallError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.base.uri(path).map_err(|message| CallError::BadRequest { message })?;
        let mut headers = HeaderMap::with_capacity(self.headers.len() + more + OWN_HEADERS);
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        *request.headers_mut() = headers;
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
        let token = self.scheme.prove(&mut request, key, self.clock).await?;
        // Behind the token, since waiting for that is no part of the call.
        if !leave.begin() {
            return Ok(None);
        }
        if let Some(shown) = shown {
            leave.sends(shown);
        }
        let answer = self.execute(request).await?;
        let answer = match &token {
            Some(token) => token.echoes().without(answer),
            None => answer,
        };
        let answer = self.echoes.without(answer);
        if let Some(token) = token.as_ref().filter(|_| answer.status != UNAUTHORIZED) {
            token.accept();
        }
        Ok(Some((answer, token)))
    }

    async fn execute(&self, request: Request) -> Result<Answer, CallError> {
        let response = self.client.send(request, self.limit).await.map_err(|lost| self.failed(lost))?;
        let status = response.status().as_u16();
        let headers = body::kept(response.headers());
        Ok(Answer { status, headers, body: response.into_body() })
    }

    /// Sends JSON that no change caused, without limits and proof: the headers alone say who we are. `key`
    /// travels as the idempotency header.
    pub async fn post_json(&self, path: &str, json: Bytes, key: Option<&str>) -> Result<Answer, CallError> {
        let mut request = self.bare(Method::POST, path, 0, json)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        if let Some(key) = key {
            let key = HeaderValue::try_from(key);
            let message = "the idempotency key is no header value".to_owned();
            headers.insert(IDEMPOTENCY_KEY, key.map_err(|_| CallError::BadRequest { message })?);
        }
        self.execute(request).await
    }

    /// The request before its proof is on it: of what is put there afterwards only the names are shown.
    fn shown(&self, request: &Request) -> Shown {
        fn text(value: &HeaderValue) -> Cow<'_, str> {
            match std::str::from_utf8(value.as_bytes()) {
                _ if value.is_sensitive() => MASK.into(),
                Ok(text) => text.into(),
                Err(_) => String::from_utf8_lossy(value.as_bytes()),
            }
        }
        let fields = request.headers().iter().map(|(name, value)| (name.as_str(), text(value)));
        let proof = self.scheme.headers();
        let proof = proof.iter().map(|name| (name.as_str(), MASK.into()));
        let mut url = String::with_capacity(USUAL_URL);
        // A string takes whatever is written to it.
        let written = write!(url, "{}", request.uri());
        debug_assert!(written.is_ok(), "{written:?}");
        Shown { url: self.scheme.masked_on(url), headers: fields.chain(proof).collect() }
    }

    fn failed(&self, lost: Lost) -> CallError {
        let remote = self.label.clone();
        match lost {
            Lost::TooLong => CallError::TooLong { remote, limit: self.limit },
            Lost::NotConnected => {
                CallError::Timeout { remote, limit: self.connect_timeout.min(self.timeout) }
            }
            Lost::Late => CallError::Timeout { remote, limit: self.timeout },
            Lost::Broken(message) => CallError::Transport { remote, message },
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

    fn token_life(&self) -> Option<TokenLife> {
        self.scheme.token_life()
    }
}

fn method(verb: Verb) -> Method {
    match verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete => Method::DELETE,
    }
}

#[cfg(test)]
mod tests;
