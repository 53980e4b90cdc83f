//! Remotes that send our credentials back, in an error page or a debug field: an answer is kept
//! with a parked change and shown in messages, so they are taken out of it (invariant 7).

use super::{
    Auth, Settings,
    auth::{basic_pair, oauth2_secrets},
};
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
    /// Everything a remote is told that is known beforehand. Signing secrets are never sent.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut secrets: Vec<String> = settings.headers.values().cloned().collect();
        match &settings.auth {
            Auth::None | Auth::Hmac { .. } => {}
            Auth::Bearer { token } => secrets.push(token.expose_secret().to_owned()),
            Auth::Basic { username, password } => {
                secrets.push(basic_pair(username, password));
                secrets.push(password.expose_secret().to_owned());
            }
            Auth::ApiKey { value, .. } => secrets.push(value.expose_secret().to_owned()),
            Auth::Oauth2(oauth2) => secrets.extend(oauth2_secrets(oauth2)),
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

    /// The answer without them, and without the token that was sent.
    pub(super) fn without(&self, answer: Answer, token: Option<&str>) -> Answer {
        let Answer { status, mut headers, mut body } = answer;
        if let Some(token) = token {
            let token = Self::new(vec![token.to_owned()]);
            body = token.masked(body);
            headers.iter_mut().for_each(|(_, value)| *value = token.masked_text(value));
        }
        headers.iter_mut().for_each(|(_, value)| *value = self.masked_text(value));
        Answer { status, headers, body: self.masked(body) }
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

    /// The text without them.
    pub(super) fn masked_text(&self, text: &str) -> String {
        let is_in = |secret: &Finder<'_>| secret.find(text.as_bytes()).is_some();
        if !self.0.iter().any(is_in) {
            return text.to_owned();
        }
        // What is cut out of text is text itself.
        String::from_utf8_lossy(&self.masked(Bytes::copy_from_slice(text.as_bytes()))).into_owned()
    }
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
            (
                r#"{ "api_key": { "query": "key", "value": "k/y \"1\"+2" } }"#,
                r#"k%2Fy+%221%22%2B2 k/y \"1\"+2 k/y "1"+2"#,
                "*** *** ***",
            ),
            (
                r#"{ "oauth2": { "token_url": "https://y", "client_id": "id", "client_secret": "a:s3cret", "extra": { "audience": "https://api" } } }"#,
                "aWQ6YSUzQXMzY3JldA== a:s3cret https://api",
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
    fn the_token_that_was_sent_is_taken_out_of_body_and_headers() {
        let echoes = Echoes::new(vec!["static-secret".to_owned()]);
        let headers = vec![("location".to_owned(), "/x?t=t0k3n-1&s=static-secret".to_owned())];
        let answer = Answer { status: 307, headers, body: Bytes::from("t0k3n-1 static-secret") };
        let kept = echoes.without(answer, Some("t0k3n-1"));
        assert_eq!(kept.headers[0].1, "/x?t=***&s=***");
        assert_eq!(kept.body, "*** ***");
    }
}
