use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

struct Pem {
    ca: String,
    cert: String,
    key: String,
}

fn pem() -> Pem {
    let mut params = CertificateParams::new(Vec::new()).expect("an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["rowcall".to_owned()]).expect("a certificate");
    let cert = params.signed_by(&key, &ca).expect("a signature").pem();
    Pem { ca: ca.pem(), cert, key: key.serialize_pem() }
}

fn tls(ca: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Tls {
    let secret = |text: Option<&str>| text.map(SecretString::from);
    Tls { ca: secret(ca), cert: secret(cert), key: secret(key) }
}

#[test]
fn what_belongs_together_is_taken() {
    let Pem { ca, cert, key } = pem();
    let several = format!("# two of them\n{ca}\n{}", pem().ca);
    for good in [
        tls(None, None, None),
        tls(Some(&ca), None, None),
        tls(Some(&several), None, None),
        tls(None, Some(&cert), Some(&key)),
        tls(Some(&ca), Some(&format!("{cert}{ca}")), Some(&key)),
        // A file that holds both.
        tls(None, Some(&format!("{key}{cert}")), Some(&format!("{key}{cert}"))),
    ] {
        assert_eq!(check(&good, &["tls"]), Ok(()));
    }
}

#[test]
fn what_cannot_be_used_is_named_by_its_key_and_not_shown() {
    let Pem { ca, cert, key } = pem();
    let other = pem();
    let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let garbled = "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n";
    let not_one = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
    for (wrong, path, part) in [
        (tls(Some("/etc/ca.pem"), None, None), "tls.ca", "read by `file:`"),
        (tls(Some(&key), None, None), "tls.ca", "no certificate in it"),
        (tls(Some(garbled), None, None), "tls.ca", "not PEM"),
        (tls(Some(not_one), None, None), "tls.ca", "cannot be an authority"),
        (tls(None, Some(&cert), None), "tls", "`cert` needs its `key`"),
        (tls(None, None, Some(&key)), "tls", "`key` needs its `cert`"),
        (tls(None, Some(&cert), Some(&cert)), "tls.key", "no private key in it"),
        (tls(None, Some(&cert), Some(&encrypted)), "tls.key", "is encrypted"),
        (tls(None, Some(&cert), Some(&other.key)), "tls", "do not belong together"),
        (tls(None, Some(not_one), Some(&key)), "tls", "`cert`"),
        (tls(Some(&ca), Some("hunter2"), Some(&key)), "tls.cert", "read by `file:`"),
    ] {
        let fault = check(&wrong, &["tls"]).expect_err(part);
        assert_eq!(fault.path.join("."), path, "{fault}");
        assert!(fault.message.contains(part), "{fault}");
        let shown = fault.to_string();
        assert!(!shown.contains("hunter2") && !shown.contains("PRIVATE KEY-----\n"), "{shown}");
    }
}
