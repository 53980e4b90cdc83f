//! Authorities of the remote's own, and certificates that prove who we are.

use crate::{
    harness::{Live, Rowcall, Version, certificates::Certificates, eventually, wait::LONG},
    remote_tls::{Seen, serve, serve_to},
};
use std::fs;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

const CUSTOMER: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/customers/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

/// A home whose remote is this port of `localhost`, with these keys besides.
async fn live(port: u16, keys: &str) -> Live {
    let live =
        Live::new(Version::V16, "create table customers (id int primary key, name text)", CUSTOMER).await;
    let bank = live.bank.url();
    live.reconfigure(|yaml| {
        yaml.replace(&format!("\"{bank}\""), &format!("\"https://localhost:{port}\", {keys}"))
    });
    live
}

fn write(home: &Rowcall, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(home.home().join(name), text).expect("written");
    }
}

async fn arrives(seen: &Seen, expected: &str) {
    eventually("the call arrives", LONG, async || {
        let lines = seen.borrow().clone();
        if lines == [expected] { Ok(()) } else { Err(lines) }
    })
    .await;
}

#[tokio::test]
async fn a_remote_is_trusted_by_an_authority_of_its_own_and_by_no_other() {
    let certificates = Certificates::new();
    let (port, seen, _serving) = serve(&certificates, BOTH).await;
    let live = live(port, "tls: { ca: \"file:ca.pem\" }").await;
    write(&live.rowcall, &[("ca.pem", &Certificates::new().authority())]);
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("✗ remote `bank`: TLS with localhost:"), "{}", check.stdout);
    // It stands in the place of the machine's own, whatever those say.
    let mut home = live.rowcall;
    home.environment("SSL_CERT_FILE", &certificates.path().display().to_string());
    home.command(&["check"]).await.expect_code(1);
    write(&home, &[("ca.pem", &certificates.authority())]);
    let check = home.command(&["check"]).await.expect_code(0);
    assert!(check.stdout.contains("can be reached, TLSv1_3"), "{}", check.stdout);
    let _service = home.run();
    live.postgres.execute("insert into customers values (1, 'Ada')").await;
    arrives(&seen, "HTTP/2.0 PUT /customers/1").await;
}

#[tokio::test]
async fn a_certificate_proves_who_we_are_to_a_remote_that_wants_one() {
    let (certificates, clients) = (Certificates::new(), Certificates::new());
    let (port, seen, _serving) = serve_to(&certificates, BOTH, Some(&clients)).await;
    let live = live(port, "tls: { ca: \"file:ca.pem\" }").await;
    let (cert, key) = clients.client();
    let (foreign, foreign_key) = Certificates::new().client();
    write(&live.rowcall, &[("ca.pem", &certificates.authority()), ("key", &key)]);
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("wants a certificate of us"), "{}", check.stdout);
    live.reconfigure(|yaml| {
        yaml.replace("ca.pem\" }", "ca.pem\", cert: \"file:cert.pem\", key: \"file:key\" }")
    });
    // One that somebody else vouches for, with a key that is not its own, and with its own.
    write(&live.rowcall, &[("cert.pem", &foreign)]);
    let check = live.rowcall.command(&["check"]).await.expect_code(2);
    assert!(check.stderr.contains("`cert` and `key` do not belong together"), "{}", check.stderr);
    write(&live.rowcall, &[("key", &foreign_key)]);
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("does not take our certificate"), "{}", check.stdout);
    write(&live.rowcall, &[("cert.pem", &cert), ("key", &key)]);
    let check = live.rowcall.command(&["check"]).await.expect_code(0);
    assert!(check.stdout.contains("with our certificate"), "{}", check.stdout);
    let shown = live.rowcall.command(&["config", "show"]).await.expect_code(0);
    assert!(shown.stdout.contains("key: \"***\"") && !shown.stdout.contains("PRIVATE"), "{}", shown.stdout);
    let _service = live.run();
    live.postgres.execute("insert into customers values (1, 'Ada')").await;
    arrives(&seen, "HTTP/2.0 PUT /customers/1").await;
}

#[tokio::test]
async fn the_token_endpoint_has_the_tls_of_its_remote_unless_it_has_its_own() {
    let (certificates, clients) = (Certificates::new(), Certificates::new());
    let (port, seen, _serving) = serve_to(&certificates, BOTH, Some(&clients)).await;
    let (cert, key) = clients.client();
    // A remote without TLS: the endpoint's is the only one there is.
    let live =
        Live::new(Version::V16, "create table customers (id int primary key, name text)", CUSTOMER).await;
    let auth = format!(
        "auth: {{ oauth2: {{ token_url: \"https://localhost:{port}/token\", client_id: me, client_secret: s3cr3t, \
         tls: {{ ca: \"file:ca.pem\", cert: \"file:cert.pem\", key: \"file:key\" }} }} }}, retry: {{"
    );
    live.reconfigure(|yaml| yaml.replace("retry: {", &auth));
    write(&live.rowcall, &[("ca.pem", &certificates.authority()), ("cert.pem", &cert), ("key", &key)]);
    // What answers there is no token endpoint, but it was reached.
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains(&format!("localhost:{port} gave what is no token")), "{}", check.stdout);
    assert_eq!(*seen.borrow(), ["HTTP/2.0 POST /token"]);
    // Without its own it has the remote's, which has none.
    let own = |yaml: String| {
        yaml.replace(", tls: { ca: \"file:ca.pem\", cert: \"file:cert.pem\", key: \"file:key\" } } }", " } }")
    };
    live.reconfigure(own);
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(check.stdout.contains("invalid peer certificate"), "{}", check.stdout);
    live.reconfigure(|yaml| {
        yaml.replace(
            "retry: {",
            "tls: { ca: \"file:ca.pem\", cert: \"file:cert.pem\", key: \"file:key\" }, retry: {",
        )
    });
    live.rowcall.command(&["check"]).await.expect_code(1);
    assert_eq!(seen.borrow().len(), 2);
}
