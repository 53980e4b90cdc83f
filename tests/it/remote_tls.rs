//! A remote behind TLS, as remotes are: trusted by this machine's roots, over HTTP/2 and HTTP/1.1.

use crate::harness::{Postgres, Rowcall, Version, certificates::Certificates, eventually, wait::LONG};
use axum::{Router, extract::State, http::Request, serve::Listener};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};

/// What arrived: `HTTP/2.0 PUT /customers/1`.
pub type Seen = Arc<watch::Sender<Vec<String>>>;

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            // A client that does not trust us breaks off; the next one may.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Serves on a port of its own, speaking these protocols, until the set is dropped.
pub async fn serve(certificates: &Certificates, protocols: &[&[u8]]) -> (u16, Seen, JoinSet<()>) {
    serve_to(certificates, protocols, None).await
}

/// The same to nobody but whom this authority vouches for.
pub async fn serve_to(
    certificates: &Certificates,
    protocols: &[&[u8]],
    clients: Option<&Certificates>,
) -> (u16, Seen, JoinSet<()>) {
    let chain = vec![CertificateDer::from_pem_slice(certificates.server.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("protocol versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_slice(clients.authority().as_bytes());
            roots.add(authority.expect("a certificate")).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let mut config = builder.with_single_cert(chain, key).expect("a server's configuration");
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = tcp.local_addr().expect("an address").port();
    let seen: Seen = Arc::default();
    let record = async |State(seen): State<Seen>, request: Request<axum::body::Body>| {
        let line = format!("{:?} {} {}", request.version(), request.method(), request.uri().path());
        seen.send_modify(|lines| lines.push(line));
    };
    let router = Router::new().fallback(record).with_state(Arc::clone(&seen));
    let mut serving = JoinSet::new();
    let listener = Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
    serving.spawn(async move { axum::serve(listener, router).await.expect("to serve") });
    (port, seen, serving)
}

fn config(postgres: &Postgres, port: u16) -> String {
    format!(
        "sources: {{ main: {{ url: \"{}\" }} }}\n\
         remotes: {{ bank: {{ url: \"https://localhost:{port}\" }} }}\n\
         entities:\n  customer:\n    table: customers\n    upsert:\n      \
         - {{ name: put, put: \"/customers/{{{{ row.id }}}}\", body: {{ name: \"{{{{ row.name }}}}\" }} }}\n",
        postgres.url()
    )
}

async fn arrives_as(protocols: &[&[u8]], version: &str) {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute("create table customers (id int primary key, name text)").await;
    let certificates = Certificates::new();
    let (port, seen, _serving) = serve(&certificates, protocols).await;
    let mut rowcall = Rowcall::with_config(&config(&postgres, port));
    rowcall.environment("SSL_CERT_FILE", &certificates.path().display().to_string());
    rowcall.command(&["init"]).await.expect_code(0);
    rowcall.command(&["check"]).await.expect_code(0);
    let _service = rowcall.run();
    postgres.execute("insert into customers values (1, 'Ada')").await;
    let expected = format!("{version} PUT /customers/1");
    eventually("the call arrives", LONG, async || match seen.borrow().as_slice() {
        [line] => {
            assert_eq!(*line, expected);
            Ok(())
        }
        lines => Err(lines.to_vec()),
    })
    .await;
}

#[tokio::test]
async fn a_remote_that_offers_http_2_is_called_over_it() {
    arrives_as(&[b"h2", b"http/1.1"], "HTTP/2.0").await;
}

#[tokio::test]
async fn a_remote_that_offers_http_1_only_is_called_over_that() {
    arrives_as(&[b"http/1.1"], "HTTP/1.1").await;
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused_and_said() {
    let postgres = Postgres::start(Version::V16).await;
    postgres.execute("create table customers (id int primary key, name text)").await;
    let (port, seen, _serving) = serve(&Certificates::new(), &[b"h2"]).await;
    let mut rowcall = Rowcall::with_config(&config(&postgres, port));
    // Trusts another authority.
    let other = Certificates::new();
    rowcall.environment("SSL_CERT_FILE", &other.path().display().to_string());
    rowcall.command(&["init"]).await.expect_code(0);
    let check = rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("✗ remote `bank`: TLS with localhost:"), "{}", check.stdout);
    assert!(seen.borrow().is_empty());
}
