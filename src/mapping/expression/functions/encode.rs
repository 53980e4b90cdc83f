use super::{Fault, Val, arguments};
use crate::mapping::escape;
use ::base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// `x.hash()`: SHA-256 of the text, in hex.
pub(super) fn hash<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let digest = Sha256::digest(value.text()?.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex.into())
}

/// `x.base64()`: of the text's UTF-8.
pub(super) fn base64<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    Ok(BASE64_STANDARD.encode(value.text()?.as_bytes()).into())
}

/// `x.url_encode()`: for a path segment or a query value.
pub(super) fn url_encode<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let mut out = String::new();
    escape::path(&value.text()?, &mut out);
    Ok(out.into())
}

/// `x.to_json()`: the JSON text.
pub(super) fn to_json<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    let mut out = Vec::new();
    value.write_json(&mut out)?;
    String::from_utf8(out).map(Val::from).map_err(|_| "it is no text".into())
}
