//! Whom a remote's connections trust, and what proves who we are on them.

use super::Fault;
use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `remotes.<name>.tls`: PEM, mostly read by `file:`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authorities to trust, in the place of the machine's own.
    #[serde(default, serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub ca: Option<SecretString>,
    /// The certificate that proves who we are, with those between it and its authority behind it.
    #[serde(default, serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub cert: Option<SecretString>,
    /// The private key of `cert`, not encrypted.
    #[serde(default, serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub key: Option<SecretString>,
}

/// What the settings hold, read.
#[derive(Default)]
struct Material {
    roots: Option<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// Judges the settings; `path` is where they stand.
pub(super) fn check(tls: &Tls, path: &[&'static str]) -> Result<(), Fault> {
    let Material { roots, identity } = material(tls, path)?;
    config(roots.unwrap_or_else(RootCertStore::empty), identity, path).map(drop)
}

/// TLS as these settings say; without them, by the machine's own root certificates.
pub(super) fn client(tls: Option<&Tls>, path: &[&'static str]) -> Result<ClientConfig, Fault> {
    let Material { roots, identity } = tls.map_or(Ok(Material::default()), |tls| material(tls, path))?;
    let roots = match roots {
        Some(roots) => roots,
        None => machine_roots().map_err(|message| Fault::new(path, message))?,
    };
    config(roots, identity, path)
}

/// For connections without TLS: nobody is asked for, nobody is trusted.
pub(super) fn none() -> Result<ClientConfig, Fault> {
    config(RootCertStore::empty(), None, &["tls"])
}

fn config(
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    path: &[&'static str],
) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::new(path, format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            let message = match error {
                Error::InconsistentKeys(_) => "`cert` and `key` do not belong together".to_owned(),
                Error::InvalidCertificate(CertificateError::BadEncoding) => {
                    "`cert` holds no usable certificate".to_owned()
                }
                error => format!("`cert` and `key` cannot be used: {error}"),
            };
            Fault::new(path, message)
        })?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn material(tls: &Tls, path: &[&'static str]) -> Result<Material, Fault> {
    let at = |key: &'static str| [path, &[key]].concat();
    let roots = tls.ca.as_ref().map(|ca| roots(ca, &at("ca"))).transpose()?;
    let identity = match (&tls.cert, &tls.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((certificates(cert, &at("cert"))?, private_key(key, &at("key"))?)),
        (Some(_), None) => return Err(Fault::new(path, "`cert` needs its `key`")),
        (None, Some(_)) => return Err(Fault::new(path, "`key` needs its `cert`")),
    };
    Ok(Material { roots, identity })
}

fn roots(pem: &SecretString, path: &[&'static str]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|error| {
            Fault::new(path, format!("a certificate in it cannot be an authority: {error}"))
        })?;
    }
    Ok(roots)
}

fn certificates(pem: &SecretString, path: &[&'static str]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text(pem, path)?.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Fault::new(path, "there is no certificate in it (`-----BEGIN CERTIFICATE-----`)")),
        Err(error) => Err(Fault::new(path, format!("it is not PEM: {error}"))),
    }
}

fn private_key(pem: &SecretString, path: &[&'static str]) -> Result<PrivateKeyDer<'static>, Fault> {
    let text = text(pem, path)?;
    if text.contains("ENCRYPTED") {
        return Err(Fault::new(path, "the key is encrypted: give it without a passphrase"));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| Fault::new(path, "there is no private key in it (`-----BEGIN PRIVATE KEY-----`)"))
}

/// The text, if it is PEM at all: a path that was given without `file:` is the common mistake.
fn text<'a>(pem: &'a SecretString, path: &[&'static str]) -> Result<&'a str, Fault> {
    let text = pem.expose_secret();
    if !text.contains("-----BEGIN ") {
        return Err(Fault::new(
            path,
            "this is not PEM; a file is read by `file:`, such as `file:/etc/rowcall/ca.pem`",
        ));
    }
    Ok(text)
}

fn machine_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let because = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "no root certificates were found on this machine{because}: install the package `ca-certificates`, point \
             SSL_CERT_FILE at a PEM file, or give `ca`"
        ));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
