use super::{Fault, present, secret_value};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

const PATH: &[&str] = &["auth", "basic", "username"];

/// `Authorization: Basic …` (RFC 7617).
pub(super) fn header(username: &str, password: &SecretString) -> Result<(HeaderName, HeaderValue), Fault> {
    let username = present(PATH, username)?;
    if username.contains(':') {
        let message = "a user's name cannot hold a `:` here: the password begins behind the first one";
        return Err(Fault::new(PATH, message));
    }
    let value = secret_value(&AUTHORIZATION, &format!("Basic {}", pair(username, password)));
    Ok((AUTHORIZATION, value.map_err(|error| Fault::new(PATH, error.to_string()))?))
}

/// Name and password as the header carries them.
pub(in crate::remote) fn pair(username: &str, password: &SecretString) -> String {
    BASE64_STANDARD.encode(format!("{username}:{}", password.expose_secret()))
}
