//! Remotes that send our credentials back, in an error page or a debug field: an answer is kept
//! with a parked change and shown in messages, so they are taken out of it (invariant 7).

use super::{Auth, Settings};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use memchr::memmem::{Finder, find};
use secrecy::ExposeSecret;
use std::fmt;

/// Shorter ones stand in harmless places too often.
const SHORTEST: usize = 6;

/// What must not come back.
pub(super) struct Echoes(Vec<Finder<'static>>);

impl fmt::Debug for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Echoes").field(&self.0.len()).finish()
    }
}

impl Echoes {
    pub(super) fn of(settings: &Settings) -> Self {
        let mut secrets: Vec<String> = settings.headers.values().cloned().collect();
        match &settings.auth {
            Auth::None => {}
            Auth::Bearer { token } => secrets.push(token.expose_secret().to_owned()),
            Auth::Basic { username, password } => {
                let password = password.expose_secret();
                secrets.push(BASE64_STANDARD.encode(format!("{username}:{password}")));
                secrets.push(password.to_owned());
            }
            Auth::ApiKey { value, .. } => secrets.push(value.expose_secret().to_owned()),
        }
        // Of two that begin alike the longer one first, or its end would be left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let long = secrets.iter().filter(|secret| secret.len() >= SHORTEST);
        Self(long.map(|secret| Finder::new(secret.as_bytes()).into_owned()).collect())
    }

    /// The body without them.
    pub(super) fn masked(&self, mut body: Bytes) -> Bytes {
        for secret in &self.0 {
            if secret.find(&body).is_some() {
                body = replaced(&body, secret.needle());
            }
        }
        body
    }
}

fn replaced(body: &[u8], secret: &[u8]) -> Bytes {
    let mut masked = BytesMut::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = find(rest, secret) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(crate::model::MASK.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    masked.extend_from_slice(rest);
    masked.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_what_comes_back() {
        let settings = |auth: &str| -> Settings {
            let json = format!(
                r#"{{ "url": "https://x", "headers": {{ "X-Tenant": "tenant-4711" }}, "auth": {auth} }}"#
            );
            serde_json::from_str(&json).expect("settings")
        };
        let cases = [
            (
                r#"{ "bearer": { "token": "s3cr3t-token" } }"#,
                "no s3cr3t-token, s3cr3t-token!",
                "no ***, ***!",
            ),
            (
                r#"{ "basic": { "username": "u", "password": "passw0rd" } }"#,
                "dTpwYXNzdzByZA== passw0rd",
                "*** ***",
            ),
            (
                r#"{ "api_key": { "header": "X-Key", "value": "key-12345" } }"#,
                "{\"key\":\"key-12345\"}",
                "{\"key\":\"***\"}",
            ),
            (r#""none""#, "of tenant-4711", "of ***"),
            (
                r#"{ "bearer": { "token": "abc" } }"#,
                "abc is too short to be told apart",
                "abc is too short to be told apart",
            ),
        ];
        for (auth, body, expected) in cases {
            let masked = Echoes::of(&settings(auth)).masked(Bytes::from(body));
            assert_eq!(masked, expected, "{auth}");
        }
    }
}
