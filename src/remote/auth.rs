//! How a request proves who we are: the header that each scheme comes down to.

use super::Auth;
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

/// A header that cannot be sent. It never shows the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadHeader {
    /// Not a header name.
    #[error("`{0}` is not a header name: letters, digits and `-`")]
    Name(String),
    /// Not a header value.
    #[error("the value of header `{0}` holds a line break or another character that a header cannot carry")]
    Value(String),
    /// One that Rowcall or the protocol sets.
    #[error("the header `{0}` is set by rowcall itself: leave it out")]
    Ours(String),
    /// The credentials' own header.
    #[error("the header `{0}` is what `auth` sends: write it in one of the two places")]
    Twice(String),
    /// Nothing to prove anything with.
    #[error("the {0} is empty: is the environment variable or file behind it set?")]
    Empty(&'static str),
}

impl Auth {
    /// The header to send, marked so that nothing prints it (invariant 7).
    pub(super) fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, BadHeader> {
        let (name, value) = match self {
            Self::None => return Ok(None),
            Self::Bearer { token } => {
                let token = present("token", token.expose_secret())?;
                (AUTHORIZATION, format!("Bearer {token}"))
            }
            Self::Basic { username, password } => {
                let username = present("username", username)?;
                let pair = format!("{username}:{}", password.expose_secret());
                (AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(pair)))
            }
            Self::ApiKey { header, value } => {
                (header_name(header)?, present("value", value.expose_secret())?.to_owned())
            }
        };
        let mut value = header_value(&name, &value)?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

/// What the protocol or the client decides: saying otherwise would break the call.
const OURS: &[&str] = &[
    "idempotency-key",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "user-agent",
    "te",
    "upgrade",
];

/// The name of a header that may be set by configuration.
pub(super) fn header_name(name: &str) -> Result<HeaderName, BadHeader> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadHeader::Name(name.to_owned()))?;
    if OURS.contains(&parsed.as_str()) {
        return Err(BadHeader::Ours(name.to_owned()));
    }
    Ok(parsed)
}

pub(super) fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, BadHeader> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| BadHeader::Value(name.to_string()))
}

fn present<'a>(what: &'static str, value: &'a str) -> Result<&'a str, BadHeader> {
    if value.trim().is_empty() { Err(BadHeader::Empty(what)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(auth: Auth) -> Result<Option<(String, String, bool)>, BadHeader> {
        let header = auth.header()?;
        Ok(header.map(|(name, value)| {
            let text = value.to_str().expect("text").to_owned();
            (name.to_string(), text, value.is_sensitive())
        }))
    }

    #[test]
    fn every_scheme_comes_down_to_one_sensitive_header() {
        let expected = |name: &str, value: &str| Ok(Some((name.to_owned(), value.to_owned(), true)));
        assert_eq!(header(Auth::None), Ok(None));
        assert_eq!(header(Auth::Bearer { token: "t1".into() }), expected("authorization", "Bearer t1"));
        let basic = Auth::Basic { username: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(header(basic), expected("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        let key = Auth::ApiKey { header: "X-Api-Key".into(), value: "k".into() };
        assert_eq!(header(key), expected("x-api-key", "k"));
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_and_its_value_is_not_shown() {
        let error = header(Auth::Bearer { token: "secret\nline".into() }).expect_err("a line break");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(header(Auth::ApiKey { header: "x y".into(), value: "k".into() }).is_err());
        assert!(header(Auth::ApiKey { header: "Host".into(), value: "k".into() }).is_err());
        assert_eq!(header(Auth::Bearer { token: " ".into() }), Err(BadHeader::Empty("token")));
    }
}
