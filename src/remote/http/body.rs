//! What is read of an answer.

use super::client::Lost;
use crate::model::Headers;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// The body, as far as the limit allows. One that comes in one piece is not copied.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Lost> {
    if body.size_hint().exact().is_some_and(|length| length > limit as u64) {
        return Err(Lost::TooLong);
    }
    let Some(first) = next_piece(&mut body).await? else { return Ok(Bytes::new()) };
    let Some(second) = next_piece(&mut body).await? else {
        return if first.len() > limit { Err(Lost::TooLong) } else { Ok(first) };
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if whole.len() + piece.len() > limit {
            return Err(Lost::TooLong);
        }
        whole.extend_from_slice(&piece);
        next = next_piece(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece; what stands behind the body is left alone.
async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    while let Some(frame) = body.frame().await.transpose()? {
        if let Ok(part) = frame.into_data() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// The header fields that something may come to need: answers are stored with parked changes, so
/// cookies and the like are not kept.
pub(in crate::remote) fn kept(headers: &HeaderMap) -> Headers {
    let wanted = |name: &str| {
        matches!(name, "content-type" | "location" | "etag" | "retry-after" | "date" | "x-request-id")
            || name.starts_with("ratelimit")
            || name.starts_with("x-ratelimit")
            || name.starts_with("x-rate-limit")
    };
    let wanted = headers.iter().filter(|(name, _)| wanted(name.as_str()));
    // Postgres cannot store NUL; a header cannot carry it.
    wanted.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect()
}
