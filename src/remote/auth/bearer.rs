use super::{Fault, present, secret_value};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

const PATH: &[&str] = &["auth", "bearer", "token"];

/// `Authorization: Bearer <token>`.
pub(super) fn header(token: &SecretString) -> Result<(HeaderName, HeaderValue), Fault> {
    let token = present(PATH, token.expose_secret())?;
    let value = secret_value(&AUTHORIZATION, &format!("Bearer {token}"));
    Ok((AUTHORIZATION, value.map_err(|error| Fault::new(PATH, error.to_string()))?))
}
