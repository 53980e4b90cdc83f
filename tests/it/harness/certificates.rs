//! Certificates for TLS between tests and servers on this machine.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{io::Write, path::Path};
use tempfile::NamedTempFile;

/// An authority, and a server certificate for `localhost` signed by it.
pub struct Certificates {
    authority: NamedTempFile,
    pub server: String,
    pub key: String,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a certificate");
        let server = params.signed_by(&key, &authority).expect("a signature").pem();
        Self { authority: file(&authority.pem()), server, key: key.serialize_pem() }
    }

    /// The authority's own certificate, to be trusted.
    pub fn path(&self) -> &Path {
        self.authority.path()
    }
}

/// A file with this text, gone with the value.
pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("to write it");
    file
}
