use super::{CallLogError, RabbitMqSettings};
use lapin::{
    tcp::RustlsConnector,
    uri::{AMQPScheme, AMQPUri},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc};
use url::Url;

/// The broker often answers its own heartbeats only; half of this without a word is a dead connection.
const HEARTBEAT_SECS: u16 = 10;

/// Where the broker is, and whom to trust there: the settings, read.
#[derive(Clone)]
pub struct Address {
    pub(super) uri: AMQPUri,
    pub(super) tls: Option<Arc<RustlsConnector>>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Without the credentials.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.uri.scheme, self.uri.authority.host, self.uri.authority.port)
    }
}

impl Address {
    /// Reads the URL and the authorities. What is wrong with them does not pass by itself.
    pub fn new(settings: &RabbitMqSettings) -> Result<Self, CallLogError> {
        let uri = uri(settings.url.expose_secret()).ok_or_else(|| {
            // What is in there instead may be a password.
            wrong("`url` is not `amqp://user:password@host:port/vhost` (or `amqps://…`)")
        })?;
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(Arc::new(tls(settings.ca.as_ref())?)),
        };
        Ok(Self { uri, tls })
    }
}

fn wrong(message: impl Into<String>) -> CallLogError {
    CallLogError { doing: "reading the broker's address", message: message.into(), lasting: true }
}

fn uri(text: &str) -> Option<AMQPUri> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let mut uri: AMQPUri = text.parse().ok()?;
    // The parser takes an address of version 6 for none, and connects to `localhost`.
    if host.starts_with('[') {
        host.trim_matches(['[', ']']).clone_into(&mut uri.authority.host);
    }
    // A slash at the end is seldom meant as the virtual host without a name.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
    Some(uri)
}

fn tls(ca: Option<&SecretString>) -> Result<RustlsConnector, CallLogError> {
    let roots = match ca {
        Some(pem) => given_roots(pem)?,
        None => machine_roots()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config.into())
}

fn given_roots(pem: &SecretString) -> Result<RootCertStore, CallLogError> {
    let pem = pem.expose_secret();
    if !pem.contains("-----BEGIN ") {
        return Err(wrong("`ca` is not PEM; a file is read by `file:`, such as `file:/etc/rowcall/ca.pem`"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|it| roots.add(it).map_err(|error| error.to_string()));
        added.map_err(|error| wrong(format!("a certificate in `ca` cannot be an authority: {error}")))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in `ca` (`-----BEGIN CERTIFICATE-----`)"));
    }
    Ok(roots)
}

fn machine_roots() -> Result<RootCertStore, CallLogError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(wrong(
            "no root certificates were found on this machine: install the package `ca-certificates`, point \
             SSL_CERT_FILE at a PEM file, or give `ca`",
        ));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, CallLogError> {
        Address::new(&RabbitMqSettings::at(url.to_owned().into()))
    }

    #[test]
    fn a_url_is_read_as_its_writer_meant_it() {
        for (url, host, port, vhost) in [
            ("amqp://broker", "broker", 5672, "/"),
            ("amqp://broker/", "broker", 5672, "/"),
            ("amqp://u:p@10.0.0.7:99/logs", "10.0.0.7", 99, "logs"),
            ("amqp://u:p@[::1]:99/%2flogs", "::1", 99, "/logs"),
        ] {
            let address = read(url).expect(url);
            let Address { uri, .. } = &address;
            assert_eq!((&*uri.authority.host, uri.authority.port, &*uri.vhost), (host, port, vhost), "{url}");
            assert_eq!(uri.query.heartbeat, Some(HEARTBEAT_SECS));
        }
        let address = read("amqp://u:p%40ss@h?heartbeat=3").expect("a URL");
        assert_eq!(
            (address.uri.authority.userinfo.password.as_str(), address.uri.query.heartbeat),
            ("p@ss", Some(3))
        );
        assert_eq!(format!("{address:?}"), "Address(amqp://h:5672)");
    }

    #[test]
    fn what_cannot_be_read_is_not_said_back() {
        for url in ["hidden", "http://u:hidden@h", "amqp://", "amqp://u:hidden@h:port", "amqp:hidden"] {
            let error = read(url).expect_err(url);
            assert!(error.lasting && !format!("{error} {error:?}").contains("hidden"), "{error:?}");
        }
        let ca = Some("/etc/hidden.pem".to_owned().into());
        let settings = RabbitMqSettings { ca, ..RabbitMqSettings::at("amqps://h".to_owned().into()) };
        let error = Address::new(&settings).expect_err("not PEM").to_string();
        assert!(error.contains("file:") && !error.contains("hidden"), "{error}");
    }
}
