//! One client per remote: which URLs it may call, and how it connects.

use crate::remote::{Fault, Settings, Tls, tls};
use reqwest::{Client, Url, redirect, retry};
use rustls::ClientConfig;
use std::{error::Error, net::IpAddr};

/// How long an unused connection is kept. Shorter than the minute after which many servers and
/// balancers close theirs, so that a call rarely meets a connection that is just being closed.
const IDLE: std::time::Duration = std::time::Duration::from_secs(45);

/// What to do about a certificate nobody here vouches for.
const UNTRUSTED: &str =
    " (this machine trusts the authorities in its root certificates; `tls: { ca }` names other ones)";

/// Reads the base URL; an error never repeats what may be a password.
pub(in crate::remote) fn base_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = callable_url(text, allow_http)?;
    if url.query().is_some() {
        return Err("it must not have a `?` part: put query parameters into the steps".into());
    }
    Ok(url)
}

/// Reads a URL that credentials may be sent to; an error never repeats what may be a password.
pub(in crate::remote) fn callable_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}): expected something like `https://api.example.com/v2`")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold credentials: put them under `auth`".into());
    }
    if url.fragment().is_some() {
        return Err("it must not have a `#` part".into());
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

/// What messages call a remote: its name and host.
pub(in crate::remote) fn label(name: &str, url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => format!("{name} ({})", host(&url)),
        Err(_) => name.to_owned(),
    }
}

/// A client that makes one plain attempt and nothing of its own accord: no redirects, no proxies
/// from the environment, no repeats, no cookies, no decompression. `path` is where `tls` stands.
pub(in crate::remote) fn build(
    url: &Url,
    tls: Option<&Tls>,
    settings: &Settings,
    path: &[&'static str],
) -> Result<Client, Fault> {
    Client::builder()
        .tls_backend_preconfigured(tls_for(url, tls, path)?)
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
        .map_err(|error| Fault::new(path, format!("the HTTP client cannot be set up: {error}")))
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

/// What happened to the connection. The client wraps errors in layers that say nothing, and that
/// name the URL, which may carry what must not be shown: the last one says what happened.
pub(in crate::remote) fn cause(error: &reqwest::Error) -> String {
    let doing = if error.is_connect() { "cannot connect" } else { "the connection broke" };
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let cause = last.to_string();
    let hint = if cause.contains("invalid peer certificate") { UNTRUSTED } else { "" };
    format!("{doing}: {cause}{hint}")
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
