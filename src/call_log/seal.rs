//! Bodies at rest, sealed with AES-256-GCM: who reads the store without the key reads no body.

use super::{CallRecord, Record};
use aes_gcm::{
    Aes256Gcm, Key, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;

/// What a sealed body begins with.
pub(super) const SEALED: &str = "sealed:";
const NONCE: usize = 12;

/// Seals bodies, and opens them again.
#[derive(Clone)]
pub struct Seal {
    /// The first one seals.
    keys: Vec<Aes256Gcm>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seal").field(&self.keys.len()).finish()
    }
}

impl Seal {
    /// The first key seals; all of them open. Each is 32 bytes in Base64 or hexadecimal digits.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a SecretString>) -> Result<Self, String> {
        let keys = keys.into_iter().map(|key| Ok(Aes256Gcm::new(&read(key)?)));
        Ok(Self { keys: keys.collect::<Result<_, String>>()? })
    }

    /// Random bytes, as sealing takes them.
    pub fn nonce() -> Option<[u8; NONCE]> {
        let mut bytes = [0; NONCE];
        getrandom::fill(&mut bytes).ok().map(|()| bytes)
    }

    /// Seals the bodies of a record. `nonce` gives random bytes; where there are none, the body is given
    /// up, or two of them could be held against each other.
    pub fn close(&self, record: &mut Record<'_>, mut nonce: impl FnMut() -> Option<[u8; NONCE]>) {
        let Some(key) = self.keys.first() else { return };
        let id = record.id.to_string();
        let response = record.response.iter_mut().map(|it| (&mut it.content, "response"));
        for (content, side) in [(&mut record.request, "request")].into_iter().chain(response) {
            if content.body.is_empty() {
                continue;
            }
            let aad = format!("{id}/{side}");
            let payload = Payload { msg: content.body.as_bytes(), aad: aad.as_bytes() };
            let sealed = nonce().and_then(|nonce| {
                let sealed = key.encrypt(&Nonce::from(nonce), payload).ok()?;
                Some(STANDARD.encode([&nonce[..], &sealed].concat()))
            });
            content.body = format!("{SEALED}{}", sealed.unwrap_or_default()).into();
        }
    }

    /// Opens what is sealed; whether all of it could be.
    pub fn open(&self, record: &mut CallRecord) -> bool {
        let id = record.id.to_string();
        let response = record.response.iter_mut().map(|it| (&mut it.content, "response"));
        let mut all = true;
        for (content, side) in [(&mut record.request, "request")].into_iter().chain(response) {
            let Some(sealed) = content.body.strip_prefix(SEALED) else { continue };
            let aad = format!("{id}/{side}");
            match self.unseal(sealed, aad.as_bytes()) {
                Some(body) => content.body = body.into(),
                None => all = false,
            }
        }
        all
    }

    fn unseal(&self, sealed: &str, aad: &[u8]) -> Option<String> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, msg) = bytes.split_first_chunk::<NONCE>()?;
        let open = |key: &Aes256Gcm| key.decrypt(&Nonce::from(*nonce), Payload { msg, aad }).ok();
        String::from_utf8(self.keys.iter().find_map(open)?).ok()
    }
}

fn read(secret: &SecretString) -> Result<Key<Aes256Gcm>, String> {
    let text = secret.expose_secret().trim();
    let hex = |text: &str| -> Option<Vec<u8>> {
        let digits = text.len() == 64 && text.is_ascii();
        digits.then(|| (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect())?
    };
    let bytes = hex(text).or_else(|| STANDARD.decode(text).ok()).unwrap_or_default();
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
        "the key must be 32 bytes, written in Base64 or in 64 hexadecimal digits: `openssl rand -base64 32` makes one"
            .to_owned()
    })?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_log::tests::record;

    fn seal(keys: &[&str]) -> Result<Seal, String> {
        let keys: Vec<SecretString> = keys.iter().map(|key| SecretString::from(*key)).collect();
        Seal::new(&keys)
    }

    const OLD: &str = "0000000000000000000000000000000000000000000000000000000000000001";
    const NEW: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI=";

    #[test]
    fn what_is_sealed_is_opened_with_its_key_alone_and_in_its_place() {
        let plain = record("a#1");
        let mut sealed = plain.clone();
        seal(&[OLD]).expect("a key").close(&mut sealed, || Some([7; NONCE]));
        let text = serde_json::to_string(&sealed).expect("it is written");
        assert!(!text.contains("asked") && !text.contains("answered so"), "{text}");
        let mut opened = sealed.clone();
        assert!(!seal(&[NEW]).expect("a key").open(&mut opened));
        assert_eq!(opened, sealed);
        assert!(seal(&[NEW, OLD]).expect("keys").open(&mut opened));
        assert_eq!(opened, plain);
        // Put into another record it is worth nothing.
        let mut moved = CallRecord { id: record("b#1").id, ..sealed };
        assert!(!seal(&[OLD]).expect("a key").open(&mut moved));
    }

    #[test]
    fn a_key_of_another_length_is_refused_without_being_shown() {
        for wrong in ["", "hunter2", &OLD[1..], "AAAA"] {
            let error = seal(&[wrong]).expect_err("it is no key");
            assert!(error.contains("32 bytes") && (wrong.is_empty() || !error.contains(wrong)), "{error}");
        }
    }
}
