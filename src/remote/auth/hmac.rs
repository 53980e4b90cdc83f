//! Signatures after Standard Webhooks: the receiver can tell that a request is ours, unchanged,
//! recent, and whether it has seen it before.

use super::Fault;
use crate::remote::{CallError, http::client::Request};
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::fmt::{self, Display};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

pub(super) const HEADERS: [HeaderName; 3] = [ID, TIMESTAMP, SIGNATURE];

const PATH: &[&str] = &["auth", "hmac", "secrets"];
const PREFIX: &str = "whsec_";
/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// Signs requests, by each of its secrets: while one is being replaced, the receiver may know
/// either.
#[derive(Clone)]
pub(in crate::remote) struct Signer(Vec<Hmac<Sha256>>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.0.len()).finish()
    }
}

impl Signer {
    pub(super) fn new(secrets: &[SecretString]) -> Result<Self, Fault> {
        if secrets.is_empty() {
            return Err(Fault::new(PATH, "at least one secret is needed to sign with"));
        }
        let keyed = secrets.iter().enumerate().map(|(at, secret)| {
            let key = key(secret.expose_secret())
                .map_err(|problem| Fault::new(PATH, format!("the secret at {} {problem}", at + 1)))?;
            // A key of any length will do.
            Hmac::new_from_slice(&key).map_err(|error| Fault::new(PATH, error.to_string()))
        });
        keyed.collect::<Result<_, _>>().map(Self)
    }

    /// Sets the three headers. `id` is the same on every attempt of the call, `now` this one's.
    pub(super) fn sign(
        &self,
        request: &mut Request,
        id: &dyn Display,
        now: Timestamp,
    ) -> Result<(), CallError> {
        // The parts of what is signed are separated by dots, so none may hold one.
        let id = id.to_string().replace('.', "~");
        let seconds = now.as_second();
        let body = request.body();
        let signatures: Vec<String> =
            self.0.iter().map(|keyed| signature(keyed, &id, seconds, body)).collect();
        let bad = |_| CallError::BadRequest { message: "the call key is no header value".to_owned() };
        let id = HeaderValue::try_from(id).map_err(bad)?;
        let signatures = HeaderValue::try_from(signatures.join(" ")).map_err(bad)?;
        let headers = request.headers_mut();
        headers.insert(ID, id);
        headers.insert(TIMESTAMP, seconds.into());
        headers.insert(SIGNATURE, signatures);
        Ok(())
    }
}

fn key(secret: &str) -> Result<Vec<u8>, String> {
    let shape =
        format!("is not `{PREFIX}` and base64 behind it: that is how Standard Webhooks writes a secret");
    let Some(coded) = secret.trim().strip_prefix(PREFIX) else { return Err(shape) };
    let key = BASE64_STANDARD.decode(coded).map_err(|_| shape)?;
    if key.len() < SHORTEST {
        return Err(format!("has {} bytes: fewer than {SHORTEST} can be guessed", key.len()));
    }
    Ok(key)
}

fn signature(keyed: &Hmac<Sha256>, id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = keyed.clone();
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secrets: &[&str]) -> Result<Signer, Fault> {
        Signer::new(&secrets.iter().map(|it| SecretString::from(*it)).collect::<Vec<_>>())
    }

    fn signed(signer: &Signer, id: &str, body: Option<&'static str>, at: i64) -> [String; 3] {
        let mut request = Request::new(body.unwrap_or_default().into());
        let now = Timestamp::from_second(at).expect("a time");
        signer.sign(&mut request, &id, now).expect("a signature");
        HEADERS.map(|name| request.headers()[name].to_str().expect("text").to_owned())
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of the reference implementations.
        let signer = signer(&[SECRET]).expect("a good secret");
        let [id, timestamp, signature] =
            signed(&signer, "msg_p5jXN8AQM9LWM0D4loKWxJek", Some("{\"test\": 2432232314}"), 1_614_265_330);
        assert_eq!((&*id, &*timestamp), ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"));
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs_and_nothing_signed_holds_a_further_dot() {
        let other = "whsec_AAECAwQFBgcICQoLDA0ODw==";
        let both = signer(&[SECRET, other]).expect("good secrets");
        let [id, _, signatures] = signed(&both, "loan.bank-1-create", None, 7);
        assert_eq!(id, "loan~bank-1-create");
        let alone =
            |secret| signed(&signer(&[secret]).expect("good"), "loan.bank-1-create", None, 7)[2].clone();
        assert_eq!(signatures, format!("{} {}", alone(SECRET), alone(other)));
        assert_ne!(
            alone(SECRET),
            signed(&signer(&[SECRET]).expect("good"), "loan.bank-1-create", None, 8)[2]
        );
    }

    #[test]
    fn a_secret_of_another_shape_is_refused_and_not_shown() {
        for wrong in
            ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_hunter2!", "whsec_aHVudGVyMg==", "", "whsec_"]
        {
            let fault = signer(&[SECRET, wrong]).expect_err(wrong);
            assert!(fault.message.starts_with("the secret at 2 "), "{fault}");
            let hidden = wrong.trim_start_matches("whsec_");
            assert!(hidden.is_empty() || !fault.to_string().contains(hidden), "{fault}");
        }
        assert!(signer(&[]).is_err());
        assert!(!format!("{:?}", signer(&[SECRET])).contains("MfKQ"));
    }
}
