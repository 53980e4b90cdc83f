//! One client per remote: which URLs it may call, and how it connects.

use crate::remote::Settings;
use reqwest::{Client, Url, header::HeaderMap, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use std::{net::IpAddr, sync::Arc};

/// How long an unused connection is kept. Shorter than the minute after which many servers and
/// balancers close theirs, so that a call rarely meets a connection that is just being closed.
const IDLE: std::time::Duration = std::time::Duration::from_secs(45);

/// Reads the base URL; an error never repeats what may be a password.
pub(in crate::remote) fn base_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}): expected something like `https://api.example.com/v2`")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "it must not hold credentials: put them under `auth: { basic: { username, password } }`".into()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must not have a `?` or `#` part: put query parameters into the steps".into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(format!(
            "`http://` to {} would send credentials and data unencrypted: use `https://`, or set `allow_http: true` if the network is trusted",
            host(&url)
        )),
        other => Err(format!("`{other}://` is not a way to call an API: use `https://`")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and, where it is not the usual one, port.
pub(in crate::remote) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A client that makes one plain attempt and nothing of its own accord: no redirects, no proxies
/// from the environment, no repeats, no cookies, no decompression.
pub(super) fn build(url: &Url, settings: &Settings, headers: HeaderMap) -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(tls(url)?)
        .default_headers(headers)
        .user_agent(concat!("rowcall/", env!("CARGO_PKG_VERSION")))
        .timeout(settings.timeout.0)
        .connect_timeout(settings.connect_timeout.0)
        .pool_max_idle_per_host(settings.concurrency.get() as usize)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .build()
        .map_err(|error| format!("the HTTP client cannot be set up: {error}"))
}

/// TLS with the machine's own root certificates, which are read only where they are needed.
pub(in crate::remote) fn tls(url: &Url) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if url.scheme() == "https" {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let because = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!(
                "no root certificates were found on this machine{because}: install the package `ca-certificates`, or point SSL_CERT_FILE at a PEM file"
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_unless_it_stays_on_this_machine_or_is_allowed() {
        for fine in
            ["https://api.example/v2", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:9/x"]
        {
            assert!(base_url(fine, false).is_ok(), "{fine}");
        }
        for wrong in
            ["http://api.example", "http://127.0.0.1.example", "ftp://x", "api.example", "", "https://"]
        {
            assert!(base_url(wrong, false).is_err(), "{wrong}");
        }
        assert!(base_url("http://api.example", true).is_ok());
    }

    #[test]
    fn a_base_url_holds_no_credentials_query_or_fragment_and_the_error_does_not_repeat_them() {
        for wrong in [
            "https://me:hunter2@api.example",
            "https://api.example?key=hunter2",
            "https://a.example/#hunter2",
        ] {
            let error = base_url(wrong, false).expect_err(wrong);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
