//! The server: it listens, keeps every connection within bounds, and ends in order.

use super::{
    Desk, Listen, Settings, Vitals, api, dashboard, guard, hands::Hands, settings::Fault, tls, vitals,
};
use crate::engine::stopped;
use axum::{
    BoxError, Router,
    body::Body,
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderValue, Request, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// Connections at once, at most; others wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a client may take for its greeting, and for each request's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a request's head may have.
const LARGEST_HEAD: usize = 32 << 10;
/// How long an answer under way may still take when the server stops.
const LEAVE: Duration = Duration::from_secs(2);
/// Without a file left to accept with, trying at once would only burn time.
const BREATH: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// Why the server does not start: one message for a person.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is somebody else's.
    #[error(
        "`admin.listen`: {0} is taken already, perhaps by another instance: give this one another address, or turn its \
         server off by `admin: {{ listen: off }}`"
    )]
    Taken(SocketAddr),
    /// The address cannot be listened at.
    #[error("`admin.listen`: {0} cannot be listened at: {1}")]
    Unusable(SocketAddr, io::Error),
    /// What it proves itself by cannot be used.
    #[error("`admin.{}`: {}", .0.path.join("."), .0.message)]
    Tls(Fault),
}

/// The running server.
pub struct Admin {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
    hands: Arc<Hands>,
}

impl Admin {
    /// Starts listening, unless that is turned off.
    pub async fn start(
        settings: &Settings,
        desk: Arc<dyn Desk>,
        vitals: Arc<dyn Vitals>,
    ) -> Result<Option<Self>, StartError> {
        let Listen::At(wanted) = settings.listen else { return Ok(None) };
        let tls = settings.tls.as_ref().map(tls::server).transpose().map_err(StartError::Tls)?;
        let listener = TcpListener::bind(wanted).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::Taken(wanted),
            _ => StartError::Unusable(wanted, error),
        })?;
        let address = listener.local_addr().map_err(|error| StartError::Unusable(wanted, error))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!(%address, "the admin address is {scheme}://{address}/");
        let (stop, stopped) = watch::channel(false);
        let service = Service::new(settings, Arc::clone(&desk), vitals, stopped.clone());
        let hands = Arc::clone(&service.hands);
        let mut task = JoinSet::new();
        task.spawn(dashboard::sample(desk, Arc::clone(&service.samples), stopped.clone()));
        task.spawn(serve(listener, tls, service, stopped));
        Ok(Some(Self { address, stop, task, hands }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing more, and waits a moment for the answers under way.
    pub async fn close(mut self) {
        self.stop.send_replace(true);
        while self.task.join_next().await.is_some() {}
        self.hands.rest().await;
    }
}

/// What answers, whoever listens.
#[derive(Clone)]
pub struct Service {
    router: Router,
    hands: Arc<Hands>,
    samples: Arc<dashboard::Samples>,
}

impl Service {
    /// Everything that is served: each part brings a router of its own. All of it is behind the guard, but
    /// for the paths that the guard names. What is told as it happens is told until `stop`.
    pub fn new(
        settings: &Settings,
        desk: Arc<dyn Desk>,
        vitals: Arc<dyn Vitals>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let known = Arc::new(guard::Guard::new(settings));
        let (hands, samples) = (Arc::new(Hands::default()), Arc::new(dashboard::Samples::default()));
        let api = Arc::new(api::Api::new(Arc::clone(&desk), Arc::clone(&hands)));
        let (shown, secure) = (Arc::clone(&samples), settings.tls.is_some());
        let router = Router::new()
            .merge(api::router(&api))
            .merge(dashboard::router(api, Arc::clone(&desk), Arc::clone(&known), shown, secure, stop))
            .merge(vitals::router(vitals))
            .fallback(api::no_path)
            .method_not_allowed_fallback(api::no_method)
            .layer(middleware::from_fn_with_state((known, desk), guard::guard))
            .layer(middleware::from_fn(leave_the_unread));
        Self { router, hands, samples }
    }

    /// Answers a request that came from there.
    pub async fn answer<B>(&self, peer: SocketAddr, request: Request<B>) -> Response
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        self.router.clone().call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// A request that is refused may have a body that is not read to its end. Its connection ends with the answer,
/// and says so: a client that used it again would find it broken.
async fn leave_the_unread(request: Request<Body>, next: Next) -> Response {
    let has_body = request.body().size_hint().exact() != Some(0);
    let mut response = next.run(request).await;
    if has_body && response.status().is_client_error() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    service: Service,
    mut stop: watch::Receiver<bool>,
) {
    let tls = tls.map(TlsAcceptor::from);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (tls, service, stop) = (tls.clone(), service.clone(), stopping.clone());
                connections.spawn(async move {
                    connection(stream, peer, tls, service, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the admin address could not be accepted");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(LEAVE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: Service,
    stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, peer, service, stop).await };
    match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, service, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with who came to the admin address"),
        Err(_) => tracing::debug!(%peer, "who came to the admin address began no TLS"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    service: Service,
    mut stop: watch::Receiver<bool>,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(peer, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "a connection to the admin address broke off");
    }
}
