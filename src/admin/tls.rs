//! What the server proves itself by.

use super::settings::{Fault, Tls};
use rustls::{
    CertificateError, Error, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// The certificate, and those behind it.
pub fn certificates(tls: &Tls) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text(&tls.cert, "cert")?.as_bytes()).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(at("cert", "there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")),
        Err(error) => Err(at("cert", format!("it is not PEM: {error}"))),
    }
}

/// TLS as these settings say.
pub(super) fn server(tls: &Tls) -> Result<Arc<ServerConfig>, Fault> {
    let chain = certificates(tls)?;
    let key = text(&tls.key, "key")?;
    if key.contains("ENCRYPTED") {
        return Err(at("key", "the key is encrypted: give it without a passphrase"));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| at("key", "there is no private key in it (`-----BEGIN PRIVATE KEY-----`)"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| at("cert", format!("TLS cannot be set up: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => at("key", "`cert` and `key` do not belong together"),
            Error::InvalidCertificate(CertificateError::BadEncoding) => {
                at("cert", "`cert` holds no usable certificate")
            }
            error => at("cert", format!("`cert` and `key` cannot be used: {error}")),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The text, if it is PEM at all: a path that was given without `file:` is the common mistake.
fn text<'a>(pem: &'a SecretString, key: &'static str) -> Result<&'a str, Fault> {
    let text = pem.expose_secret();
    if text.contains("-----BEGIN ") {
        return Ok(text);
    }
    Err(at(
        key,
        format!("this is not PEM; a file is read by `file:`, such as `{key}: file:/etc/rowcall/{key}.pem`"),
    ))
}

fn at(key: &'static str, message: impl Into<String>) -> Fault {
    Fault::new(&["tls", key], message)
}
