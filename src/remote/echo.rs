//! Remotes that send our credentials back, in an error page or a debug field: an answer is kept
//! with a parked change and shown in messages, so they are taken out of it (invariant 7).
//!
//! The same answer is what steps save and look up, so nothing else may be taken out: a tenant's name
//! or an API's address that a header holds stands in most `location`s.

use super::{Auth, Settings, auth::basic_pair};
use crate::model::{Answer, MASK};
use bytes::{Bytes, BytesMut};
use memchr::memmem::{Finder, find};
use secrecy::ExposeSecret;
use serde_json::Value;
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
    /// Every secret a remote is told that is known beforehand. It is told neither what signs nor
    /// what a token endpoint is told.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut secrets = Vec::new();
        for (_, value) in settings.headers.iter().filter(|(name, value)| is_secret(name, value)) {
            secrets.push(value.clone());
            // The token of `Bearer <token>` may come back alone.
            secrets.extend(value.split_once(' ').map(|(_, token)| token.trim().to_owned()));
        }
        match &settings.auth {
            Auth::None | Auth::Hmac { .. } | Auth::Oauth2(_) => {}
            Auth::Bearer { token } => secrets.push(token.expose_secret().to_owned()),
            Auth::Basic { username, password } => {
                secrets.push(basic_pair(username, password));
                secrets.push(password.expose_secret().to_owned());
            }
            Auth::ApiKey { value, .. } => secrets.push(value.expose_secret().to_owned()),
        }
        Self::new(secrets)
    }

    /// These, as they are and as a URL or JSON writes them.
    pub(super) fn new(secrets: Vec<String>) -> Self {
        let mut forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        // Of two that begin alike the longer one first, or its end would be left.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        let long = forms.iter().filter(|form| form.len() >= SHORTEST);
        Self(long.map(|form| Finder::new(form.as_bytes()).into_owned()).collect())
    }

    /// The answer without them. One that holds none, as nearly all do, is not copied.
    pub(super) fn without(&self, mut answer: Answer) -> Answer {
        answer.headers.replace(|_, value| self.are_in(value).then(|| self.masked_text(value)));
        Answer { body: self.masked(answer.body), ..answer }
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

    fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| secret.find(text.as_bytes()).is_some())
    }

    /// The text without them.
    pub(super) fn masked_text(&self, text: &str) -> String {
        if !self.are_in(text) {
            return text.to_owned();
        }
        // What is cut out of text is text itself.
        String::from_utf8_lossy(&self.masked(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
    }
}

/// Parts of the names of headers that hold secrets.
const SECRET_NAMES: &[&str] =
    &["auth", "cookie", "cred", "jwt", "key", "pass", "pwd", "secret", "session", "sign", "token"];

/// Parts of the names of headers that hold none, whatever their value looks like.
const PLAIN_NAMES: &[&str] = &["accept", "content-", "version"];

/// The shortest value that a header of any other name is taken to hold a secret for.
const SHORTEST_GUESSED: usize = 16;

/// Whether a configured header holds a secret: its name says so, or its value is long, one word, of
/// letters and digits, and neither a URL nor a UUID, which say who or where and not why.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_of = |parts: &[&str]| parts.iter().any(|it| name.contains(it));
    if is_of(SECRET_NAMES) {
        return true;
    }
    let has = |kind: fn(&u8) -> bool| value.as_bytes().iter().any(kind);
    !is_of(PLAIN_NAMES)
        && value.len() >= SHORTEST_GUESSED
        && has(u8::is_ascii_alphabetic)
        && has(u8::is_ascii_digit)
        && !has(u8::is_ascii_whitespace)
        && !value.contains("://")
        && !is_uuid(value)
}

fn is_uuid(text: &str) -> bool {
    let lengths = text.split('-').map(|it| it.bytes().all(|it| it.is_ascii_hexdigit()).then_some(it.len()));
    lengths.eq([8, 4, 4, 4, 12].map(Some))
}

/// A secret as it is, and as it is written where it would mean something else.
fn forms(secret: &str) -> [String; 3] {
    let json = Value::from(secret).to_string();
    let coded = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    [secret.to_owned(), json[1..json.len() - 1].to_owned(), coded]
}

fn replaced(body: &[u8], secret: &[u8]) -> Bytes {
    let mut masked = BytesMut::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = find(rest, secret) {
        masked.extend_from_slice(&rest[..at]);
        masked.extend_from_slice(MASK.as_bytes());
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
                r#"{{ "url": "https://x", "headers": {{ "X-Session": "tenant-4711" }}, "auth": {auth} }}"#
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
            (
                r#"{ "api_key": { "query": "key", "value": "k/y \"1\"+2" } }"#,
                r#"k%2Fy+%221%22%2B2 k/y \"1\"+2 k/y "1"+2"#,
                "*** *** ***",
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

    #[test]
    fn what_is_no_secret_of_the_remote_comes_back_as_it_was() {
        let json = r#"{ "url": "https://api.bank.example",
            "headers": {
                "Accept": "application/json", "Accept-Language": "de-DE", "X-Account": "123456",
                "Content-Language": "en-GB", "X-Tenant": "acme-corporation", "Prefer": "return=minimal",
                "X-Api-Version": "2024-01-15-preview", "X-Home": "https://bank1.example/home",
                "X-Organisation": "0b5e3a52-52f8-4c0a-9d3f-8f4a3f0d6c11"
            },
            "auth": { "oauth2": { "token_url": "https://login", "client_id": "id", "client_secret": "number",
                "extra": { "audience": "https://api.bank.example" } } } }"#;
        let echoes = Echoes::of(&serde_json::from_str(json).expect("settings"));
        let location = "https://api.bank.example/acme-corporation/0b5e3a52-52f8-4c0a-9d3f-8f4a3f0d6c11/7";
        let headers = [("location", location), ("content-type", "application/json")].into();
        let body = Bytes::from(
            r#"{ "number": 1234567, "language": "de-DE", "home": "https://bank1.example/home" }"#,
        );
        let answer = Answer { status: 201, headers, body };
        assert_eq!(echoes.without(answer.clone()), answer);
    }

    #[test]
    fn a_header_that_holds_a_secret_is_told_by_its_name_or_its_value() {
        for (name, value) in [
            ("Authorization", "Token t0k3n-1"),
            ("X-API-KEY", "simple"),
            ("Cookie", "sid=abcdef"),
            ("X-Auth-Version", "accept"),
            ("X-Partner", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
            ("X-Partner", "4eC39HqLyjWDarjtT1zdp7dc/+=="),
            ("Ocp-Apim-Subscription-Key", "0b5e3a52-52f8-4c0a-9d3f-8f4a3f0d6c11"),
        ] {
            assert!(is_secret(name, value), "{name}: {value}");
        }
        let settings = r#"{ "url": "https://x", "headers": { "Authorization": "Token t0k3n-1" } }"#;
        let echoes = Echoes::of(&serde_json::from_str(settings).expect("settings"));
        assert_eq!(echoes.masked(Bytes::from("Token t0k3n-1, t0k3n-1")), "***, ***");
    }

    #[test]
    fn the_token_that_was_sent_is_taken_out_of_body_and_headers() {
        let echoes = Echoes::new(vec!["static-secret".to_owned()]);
        let headers = [("location", "/x?t=t0k3n-1&s=static-secret")].into();
        let answer = Answer { status: 307, headers, body: Bytes::from("t0k3n-1 static-secret") };
        let token = Echoes::new(vec!["t0k3n-1".to_owned()]);
        let kept = echoes.without(token.without(answer));
        assert_eq!(kept.header("location"), Some("/x?t=***&s=***"));
        assert_eq!(kept.body, "*** ***");
    }
}
