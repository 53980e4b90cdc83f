//! What is read of an answer.

use bytes::{Bytes, BytesMut};
use reqwest::{Response, header::HeaderMap};

/// Why a body is not there.
#[derive(Debug)]
pub(in crate::remote) enum Unread {
    /// It is longer than the limit.
    TooLong,
    /// The connection broke or was too slow.
    Broken(reqwest::Error),
}

/// The body, as far as the limit allows.
pub(in crate::remote) async fn read(response: &mut Response, limit: usize) -> Result<Bytes, Unread> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(Unread::TooLong);
    }
    let Some(first) = response.chunk().await.map_err(Unread::Broken)? else { return Ok(Bytes::new()) };
    let Some(second) = response.chunk().await.map_err(Unread::Broken)? else {
        return if first.len() > limit { Err(Unread::TooLong) } else { Ok(first) };
    };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(part) = next {
        if body.len() + part.len() > limit {
            return Err(Unread::TooLong);
        }
        body.extend_from_slice(&part);
        next = response.chunk().await.map_err(Unread::Broken)?;
    }
    Ok(body.freeze())
}

/// The header fields that something may come to need: answers are stored with parked changes, so
/// cookies and the like are not kept.
pub(in crate::remote) fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let wanted = |name: &str| {
        matches!(name, "content-type" | "location" | "etag" | "retry-after" | "date" | "x-request-id")
            || name.starts_with("ratelimit")
            || name.starts_with("x-ratelimit")
            || name.starts_with("x-rate-limit")
    };
    let wanted = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    // Postgres cannot store NUL; a header cannot carry it.
    wanted
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}
