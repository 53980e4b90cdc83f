//! Who may ask, over what, and where.

use super::ask::{Ask, address, listening};
use crate::harness::{Live, Rowcall, Version, certificates::Certificates, eventually, wait::LONG};
use reqwest::Method;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::json;
use std::{net::TcpListener, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]";
const FULL: &str = "full-0123456789abcdef";
const READ: &str = "read-0123456789abcdef";

#[tokio::test]
async fn a_token_may_do_everything_a_read_token_only_look_and_nobody_else_anything() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    std::fs::write(live.rowcall.home().join("token"), format!("{FULL}\n")).expect("written");
    listening(&live, &format!("admin: {{ listen: \"127.0.0.1:0\", token: file:token, read_token: {READ} }}"));
    let service = live.run();
    let full = Ask::of(&service, Some(FULL)).await;
    let read = full.with(Some(READ));
    assert_eq!(full.with(None).get("/api/v1/status").await.problem(), "unauthenticated");
    let wrong = full.with(Some("full-0123456789abcdeg")).get("/api/v1/status").await;
    assert_eq!((wrong.status, wrong.problem()), (401, "unauthenticated"));
    assert!(wrong.headers["www-authenticate"].to_str().is_ok_and(|it| it.starts_with("Bearer")));
    read.get("/api/v1/status").await.expect(200);
    let shown = read.get("/api/v1/configuration").await.expect(200);
    let text = shown.to_string();
    assert!(text.contains("***") && !text.contains(FULL) && !text.contains(READ), "{text}");
    let all = json!({ "all": true });
    let refused = read.post("/api/v1/parked/retry", &all).await;
    assert_eq!((refused.status, refused.problem()), (403, "forbidden"));
    assert_eq!(full.post("/api/v1/parked/retry", &all).await.expect(200), json!({ "count": 0 }));
    let done = full.get("/api/v1/operations").await.expect(200);
    assert_eq!(done.as_array().map(Vec::len), Some(1), "what was refused at the door was nothing: {done:#}");
    assert_eq!((&done[0]["who"], &done[0]["address"]), (&json!("token"), &json!("127.0.0.1")));
    let said = service.stderr();
    assert!(!said.contains(FULL) && !said.contains(READ), "{said}");
}

#[tokio::test]
async fn without_tokens_a_web_page_elsewhere_reaches_nothing() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    listening(&live, "admin: { listen: \"127.0.0.1:0\" }");
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    let post = async |headers: &[(&str, &str)]| {
        ask.checked(Method::POST, "/api/v1/parked/retry", headers, json!({ "all": true }).to_string())
            .await
            .status
    };
    let json = ("content-type", "application/json");
    assert_eq!(post(&[json]).await, 200);
    assert_eq!(post(&[json, ("origin", &ask.base)]).await, 200);
    for headers in [
        &[("content-type", "text/plain")][..],
        &[json, ("origin", "https://evil.example")],
        &[json, ("sec-fetch-site", "cross-site")],
        &[json, ("host", "evil.example")],
    ] {
        assert_eq!(post(headers).await, 403, "{headers:?}");
    }
    let rebound =
        ask.checked(Method::GET, "/api/v1/status", &[("host", "evil.example:8087")], String::new()).await;
    assert_eq!((rebound.status, rebound.problem()), (403, "cross-site"));
}

#[tokio::test]
async fn over_tls_it_proves_itself_and_answers_nobody_in_the_clear() {
    let (certificates, live) = (Certificates::new(), Live::new(Version::V16, TABLE, ENTITY).await);
    let home = live.rowcall.home();
    std::fs::write(home.join("server.pem"), &certificates.server).expect("written");
    std::fs::write(home.join("server.key"), &certificates.key).expect("written");
    let tls = "{ cert: file:server.pem, key: file:server.key }";
    listening(&live, &format!("admin: {{ listen: \"0.0.0.0:0\", token: {FULL}, tls: {tls} }}"));
    let service = live.run();
    let address = address(&service).await.replace("0.0.0.0", "127.0.0.1");
    assert!(service.stderr().contains("https://0.0.0.0:"), "{}", service.stderr());
    let mut roots = RootCertStore::empty();
    let authority =
        CertificateDer::from_pem_slice(certificates.authority().as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let stream = TcpStream::connect(&address).await.expect("a connection");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    let request = format!(
        "GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {FULL}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{read:?} {answer}");

    let mut clear = TcpStream::connect(&address).await.expect("a connection");
    clear.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = timeout(LONG, clear.read_to_end(&mut answer)).await.expect("in time");
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"), "{answer:?}");

    // Whoever has the same configuration believes it, whatever name is in its certificate, and nobody else.
    live.reconfigure(|yaml| yaml.replace("0.0.0.0:0", &address));
    eventually("it is ready", LONG, async || {
        let output = live.rowcall.command(&["ready"]).await;
        if output.status.success() { Ok(()) } else { Err(output.stderr) }
    })
    .await;
    let others = Certificates::new();
    std::fs::write(home.join("server.pem"), &others.server).expect("written");
    std::fs::write(home.join("server.key"), &others.key).expect("written");
    let said = live.rowcall.command(&["ready"]).await.expect_code(1).stderr;
    assert!(said.contains("cannot be asked"), "{said}");
}

#[tokio::test]
async fn a_taken_address_is_said_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("its address");
    let rowcall = Rowcall::with_config(&format!(
        "sources: {{ main: {{ url: \"postgres://me@127.0.0.1:1/x\" }} }}\n\
         remotes: {{ bank: {{ url: \"http://127.0.0.1:1\" }} }}\n\
         entities:{ENTITY}\nadmin: {{ listen: \"{address}\" }}\n"
    ));
    let said = rowcall.command(&["run"]).await.expect_code(1).stderr;
    let expected = format!("rowcall: `admin.listen`: {address} is taken already");
    assert!(said.contains(&expected) && said.contains("admin: { listen: off }"), "{said}");
}
