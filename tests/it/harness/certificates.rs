//! Certificates for TLS between tests and servers on this machine.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{io::Write, path::Path};
use tempfile::NamedTempFile;

/// An authority, and a server certificate for `localhost` signed by it.
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    authority: NamedTempFile,
    pub server: String,
    pub key: String,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let (server, key) = signed(&issuer, "localhost");
        Self { authority: file(&issuer.pem()), issuer, server, key }
    }

    /// The authority's own certificate, to be trusted.
    pub fn path(&self) -> &Path {
        self.authority.path()
    }

    /// The same as text.
    pub fn authority(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate and its key, by which somebody can prove who they are.
    pub fn client(&self) -> (String, String) {
        signed(&self.issuer, "rowcall")
    }
}

fn signed(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a certificate");
    (params.signed_by(&key, issuer).expect("a signature").pem(), key.serialize_pem())
}

/// A file with this text, gone with the value.
pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("to write it");
    file
}
