//! One client per remote: how it connects, and how a request ends.

use super::body;
use crate::remote::{Fault, Settings, Tls, tls};
use bytes::Bytes;
use http::{
    HeaderValue, Response, Uri,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use std::{
    error::Error,
    io::{self, ErrorKind},
    iter::successors,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;
use url::Url;

/// A request with all of its body.
pub(in crate::remote) type Request = http::Request<Bytes>;

/// How long an unused connection is kept. Shorter than the minute after which many servers and
/// balancers close theirs, so that a call rarely meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(45);

/// A peer that has vanished is noticed by probes while a connection is quiet, and by what it does
/// not acknowledge while something is sent.
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("rowcall/", env!("CARGO_PKG_VERSION")));

/// What to do about a certificate nobody here vouches for.
const UNTRUSTED: &str =
    " (this machine trusts the authorities in its root certificates; `tls: { ca }` names other ones)";

/// How the message begins where there was no connection.
pub(in crate::remote) const UNCONNECTED: &str = "cannot connect: ";

/// Why there is no answer. Nothing in it names the URL, which may carry what must not be shown.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::remote) enum Lost {
    /// The body is longer than the limit.
    TooLong,
    /// There was no connection in time.
    NotConnected,
    /// The answer was not complete in time.
    Late,
    /// What happened to the connection.
    Broken(String),
}

/// Makes one plain attempt and nothing of its own accord: no redirects, no proxies from the
/// environment, no repeats of what may have been heard, no cookies, no decompression.
#[derive(Debug)]
pub(in crate::remote) struct Client {
    pool: legacy::Client<Connector, Full<Bytes>>,
    timeout: Duration,
}

impl Client {
    /// A client for this URL. `path` is where `tls` stands.
    pub(in crate::remote) fn new(
        url: &Url,
        tls: Option<&Tls>,
        settings: &Settings,
        path: &[&'static str],
    ) -> Result<Self, Fault> {
        let connector = Connector::new(tls_for(url, tls, path)?, settings.connect_timeout.0);
        // A request that met a connection which the remote had closed already, and of which nothing
        // was sent, goes out on another: that is the pool's default.
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency.get() as usize)
            .build(connector);
        Ok(Self { pool, timeout: settings.timeout.0 })
    }

    /// The whole answer, with at most so many bytes of body.
    pub(in crate::remote) async fn send(
        &self,
        request: Request,
        limit: usize,
    ) -> Result<Response<Bytes>, Lost> {
        let mut request = request.map(Full::new);
        let headers = request.headers_mut();
        headers.entry(ACCEPT).or_insert(ANYTHING);
        headers.entry(USER_AGENT).or_insert(OURSELVES);
        let whole = async {
            let (head, body) = self.pool.request(request).await?.into_parts();
            Ok(Response::from_parts(head, body::read(body, limit).await?))
        };
        timeout(self.timeout, whole).await.unwrap_or(Err(Lost::Late))
    }
}

impl From<legacy::Error> for Lost {
    fn from(error: legacy::Error) -> Self {
        match (is_timeout(&error), error.is_connect()) {
            (true, true) => Self::NotConnected,
            (true, false) => Self::Late,
            (false, true) => Self::Broken(format!("{UNCONNECTED}{}", cause(&error))),
            (false, false) => Self::Broken(broken(&error)),
        }
    }
}

impl From<hyper::Error> for Lost {
    fn from(error: hyper::Error) -> Self {
        if is_timeout(&error) { Self::Late } else { Self::Broken(broken(&error)) }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |it: &&'a (dyn Error + 'static)| (**it).source())
}

/// Whether the system, or our own limit on connecting, gave up waiting.
fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|it| {
        it.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == ErrorKind::TimedOut)
            || it.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout)
    })
}

fn broken(error: &(dyn Error + 'static)) -> String {
    format!("the connection broke: {}", cause(error))
}

/// Errors come wrapped in layers that say nothing: the last one says what happened.
fn cause(error: &(dyn Error + 'static)) -> String {
    let cause = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let hint = if cause.contains("invalid peer certificate") { UNTRUSTED } else { "" };
    format!("{cause}{hint}")
}

/// TLS for this URL; root certificates are read only where they are needed.
pub(in crate::remote) fn tls_for(
    url: &Url,
    tls: Option<&Tls>,
    path: &[&'static str],
) -> Result<ClientConfig, Fault> {
    match url.scheme() {
        "https" => tls::client(tls, path),
        _ => tls::none(),
    }
}

/// Connects, with TLS where the scheme asks for it, within a limit for both. The pool clones it for
/// every request.
#[derive(Clone, Debug)]
struct Connector(Arc<Connecting>);

#[derive(Debug)]
struct Connecting {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Connector {
    fn new(tls: ClientConfig, limit: Duration) -> Self {
        let mut http = HttpConnector::new();
        // The other scheme is for what it is wrapped in.
        http.enforce_http(false);
        http.set_nodelay(true);
        // Where a host has several addresses each has its part of the time.
        http.set_connect_timeout(Some(limit));
        http.set_keepalive(Some(PROBE_EVERY));
        http.set_keepalive_interval(Some(PROBE_EVERY));
        http.set_keepalive_retries(Some(PROBES));
        #[cfg(target_os = "linux")]
        http.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self(Arc::new(Connecting { https: HttpsConnector::from((http, tls)), limit }))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Connecting { https, limit } = &*self.0;
        let connecting = timeout(*limit, https.clone().call(to));
        Box::pin(async move {
            connecting.await.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()))
        })
    }
}
