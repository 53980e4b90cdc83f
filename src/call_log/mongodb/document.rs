//! A record as a document, and back.
//!
//! Two things differ from the record: numbers beyond those of MongoDB are the largest it has, and of a
//! record that would be larger than a document may be, the bodies are left out; their size is kept.

use crate::call_log::{CallRecord, Content, RecordId, Text};
use ::mongodb::{
    bson::{self, Bson, DateTime, Document, RawDocumentBuf, doc},
    error::Error,
};
use jiff::{SignedDuration, Timestamp};

/// A document has 16 MiB at most. What the texts of a record need is told by their bytes.
const LARGEST_BODIES: usize = 12 << 20;
const LARGEST: usize = 16 << 20;

/// A time as it is stored: milliseconds since the epoch, and the nanoseconds below, never negative.
pub(super) fn time(at: Timestamp) -> (DateTime, i32) {
    let nanos = at.as_nanosecond();
    let (millis, below) = (nanos.div_euclid(1_000_000), nanos.rem_euclid(1_000_000));
    (DateTime::from_millis(millis as i64), below as i32)
}

fn write(record: &CallRecord) -> Result<Document, Error> {
    let mut record = record.clone();
    let largest = i64::MAX.unsigned_abs();
    record.took_us = record.took_us.min(largest);
    let bodies = record.response.iter_mut().map(|it| &mut it.content).chain([&mut record.request]);
    let mut bodies: Vec<&mut Content> = bodies.collect();
    for content in &mut bodies {
        content.size = content.size.min(largest);
    }
    bodies.sort_by_key(|it| std::cmp::Reverse(it.body.len()));
    let mut whole: usize = bodies.iter().map(|it| it.body.len()).sum();
    for content in bodies {
        if whole > LARGEST_BODIES {
            whole -= content.body.len();
            leave_out(content);
        }
    }
    let (at, at_ns) = time(record.at);
    let mut document = doc! { "_id": &*record.id.0, "at": at, "at_ns": at_ns };
    for (name, value) in bson::to_document(&record)? {
        if name != "id" && name != "at" {
            document.insert(name, value);
        }
    }
    Ok(document)
}

/// As it is sent, or why no server would take it.
pub(super) fn raw(record: &CallRecord) -> Result<RawDocumentBuf, String> {
    let whole = made(record)?;
    if whole.as_bytes().len() <= LARGEST {
        return Ok(whole);
    }
    let mut bare = record.clone();
    let bodies = bare.response.iter_mut().map(|it| &mut it.content).chain([&mut bare.request]);
    bodies.for_each(leave_out);
    let bare = made(&bare)?;
    match bare.as_bytes().len() {
        bytes if bytes > LARGEST => Err(format!(
            "without its bodies it has {bytes} bytes, and a document of MongoDB {LARGEST} at most"
        )),
        _ => Ok(bare),
    }
}

fn made(record: &CallRecord) -> Result<RawDocumentBuf, String> {
    let document = write(record).map_err(|error| error.to_string())?;
    RawDocumentBuf::from_document(&document).map_err(|error| error.to_string())
}

fn leave_out(content: &mut Content) {
    content.body = Text::default();
    // So that it counts as cut.
    content.base64 = false;
}

/// When it began, and its name.
pub(super) fn place(document: Document) -> Result<(Timestamp, RecordId), Error> {
    let id = document.get_str("_id").map_err(Error::custom)?;
    Ok((begun(&document)?, RecordId(id.into())))
}

fn begun(document: &Document) -> Result<Timestamp, Error> {
    let millis = document.get_datetime("at").map_err(Error::custom)?.timestamp_millis();
    let below = document.get("at_ns").and_then(Bson::as_i32).unwrap_or(0);
    Timestamp::from_millisecond(millis)
        .and_then(|at| at.checked_add(SignedDuration::from_nanos(below.into())))
        .map_err(Error::custom)
}

pub(super) fn read(mut document: Document) -> Result<CallRecord, Error> {
    let at = begun(&document)?;
    document.remove("at_ns");
    document.insert("at", at.to_string());
    if let Some(id) = document.remove("_id") {
        document.insert("id", id);
    }
    Ok(bson::from_document(document)?)
}
