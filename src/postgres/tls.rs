//! The rustls side of `sslmode`.

use super::{Failure, RootCert, SslMode, Stream, Target, verify::Verifier};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::{path::Path, sync::Arc};
use tokio_rustls::TlsConnector;
use x509_cert::{
    Certificate,
    der::{Decode, oid::db::rfc5912 as oid},
};

/// Encrypts a TCP connection whose server has agreed to it.
pub(super) async fn encrypt(
    stream: Stream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Stream, Failure> {
    let Stream::Tcp(tcp) = stream else { return Ok(stream) };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("`{host}` is not a host name that a certificate can carry")))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| {
        Failure::Tls(format!("{error}: check `sslmode`, `sslrootcert` and the server's certificate"))
    })?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let binding = certificate.and_then(|it| end_point_hash(it));
    Ok(Stream::Tls { stream: Box::new(stream), binding })
}

/// What the URL asks of TLS, as rustls wants it.
pub(super) fn config(target: &Target) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(target, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((cert, key)) = &target.client_cert else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(cert, "sslcert")?;
    let key = PrivateKeyDer::from_pem_slice(&read(key, "sslkey")?)
        .map_err(|error| Failure::Tls(format!("`sslkey` {} holds no usable key: {error}", key.display())))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| Failure::Tls(format!("`sslcert` and `sslkey` cannot be used: {error}")))
}

fn verifier(target: &Target, provider: &Arc<CryptoProvider>) -> Result<Verifier, Failure> {
    let verifies = matches!(target.sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
    let trusted = match &target.root_cert {
        Some(RootCert::File(path)) => certificates(path, "sslrootcert")?,
        Some(RootCert::System) => system_roots()?,
        None if verifies => system_roots()?,
        None => return Ok(Verifier::trusting_anyone(provider.clone())),
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        return Err(Failure::Tls("`sslrootcert` holds no certificate that can be used".to_owned()));
    }
    Verifier::trusting(roots, trusted, target.sslmode == SslMode::VerifyFull, provider.clone())
        .map_err(Failure::Tls)
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Failure::Tls(format!(
            "this system has no root certificates{why}: install `ca-certificates` or name a file by `sslrootcert`"
        )));
    }
    Ok(found.certs)
}

fn certificates(path: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = read(path, parameter)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Failure::Tls(format!("`{parameter}` {} holds no PEM certificate", path.display()))),
        Err(error) => Err(Failure::Tls(format!("`{parameter}` {}: {error}", path.display()))),
    }
}

fn read(path: &Path, parameter: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::Tls(format!("`{parameter}` {} cannot be read: {error}", path.display())))
}

/// RFC 5929 `tls-server-end-point`: the certificate hashed by its signature's own hash, at least
/// SHA-256. A signature without one (Ed25519) cannot be bound to.
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    match Certificate::from_der(certificate).ok()?.signature_algorithm.oid {
        oid::ID_SHA_1
        | oid::SHA_1_WITH_RSA_ENCRYPTION
        | oid::ECDSA_WITH_SHA_256
        | oid::SHA_256_WITH_RSA_ENCRYPTION => Some(Sha256::digest(certificate).to_vec()),
        oid::ECDSA_WITH_SHA_384 | oid::SHA_384_WITH_RSA_ENCRYPTION => {
            Some(Sha384::digest(certificate).to_vec())
        }
        oid::ECDSA_WITH_SHA_512 | oid::SHA_512_WITH_RSA_ENCRYPTION => {
            Some(Sha512::digest(certificate).to_vec())
        }
        _ => None,
    }
}
