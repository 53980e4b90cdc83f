//! From a message to records. Pure.

use crate::call_log::{CallRecord, RECORD_VERSION};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What is in a message and is no record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad<'a> {
    /// Why, for a person.
    pub reason: String,
    /// The message, or the part of it.
    pub body: &'a [u8],
}

/// A record, and what it was read from.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub record: CallRecord,
    pub body: &'a [u8],
}

/// A message is a record, or an array of records. What is wrong with one of an array is that one's.
pub(super) fn read(body: &[u8]) -> Vec<Result<Part<'_>, Bad<'_>>> {
    let is_array = body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'[');
    if !is_array {
        return vec![record(body)];
    }
    match serde_json::from_slice::<Vec<&RawValue>>(body) {
        Ok(parts) => parts.iter().map(|part| record(part.get().as_bytes())).collect(),
        Err(error) => vec![Err(Bad { reason: format!("not JSON: {error}"), body })],
    }
}

fn record(body: &[u8]) -> Result<Part<'_>, Bad<'_>> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let bad = |reason| Bad { reason, body };
    let Versioned { v } = serde_json::from_slice(body).map_err(|error| {
        bad(match error.is_data() {
            true => format!("no record of a call: {error}"),
            false => format!("not JSON: {error}"),
        })
    })?;
    if v != RECORD_VERSION {
        return Err(bad(format!("version {v} of the schema is not known here, only {RECORD_VERSION}")));
    }
    let record = serde_json::from_slice(body);
    let record = record.map_err(|error| bad(format!("no record of a call: {error}")))?;
    Ok(Part { record, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"v":1,"id":"a#1","at":"2024-01-02T03:04:05.678901234Z","took_us":1,"route":"r",
        "entity":"e","keys":["k"],"changes":["c"],"step":"s","attempt":1,"call_key":"a","remote":"m",
        "method":"POST","url":"u","request":{"headers":[],"size":0},"outcome":"answered",
        "trace":"0123456789abcdef0123456789abcdef","span":"0123456789abcdef"}"#;

    fn said(body: &str) -> Vec<String> {
        let say = |part: Result<Part<'_>, Bad<'_>>| match part {
            Ok(part) => part.record.id.to_string(),
            Err(bad) => format!(
                "{} | {}",
                bad.reason.split_inclusive(':').next().unwrap_or(""),
                String::from_utf8_lossy(bad.body)
            ),
        };
        read(body.as_bytes()).into_iter().map(say).collect()
    }

    #[test]
    fn a_message_is_a_record_or_several() {
        assert_eq!(said(GOOD), ["a#1"]);
        assert_eq!(said(&format!(" [{GOOD}, {}]", GOOD.replace("a#1", "a#2"))), ["a#1", "a#2"]);
        assert!(said("[]").is_empty());
    }

    #[test]
    fn what_is_no_record_says_why_and_takes_no_other_with_it() {
        assert_eq!(said("hello"), ["not JSON: | hello"]);
        assert_eq!(said(""), ["not JSON: | "]);
        assert_eq!(said("[1, "), ["not JSON: | [1, "]);
        assert_eq!(said("{}"), ["no record of a call: | {}"]);
        assert_eq!(said(r#"{"v":1,"id":"a"}"#), [r#"no record of a call: | {"v":1,"id":"a"}"#]);
        assert_eq!(said(r#"{"v":2}"#), [r#"version 2 of the schema is not known here, only 1 | {"v":2}"#]);
        assert_eq!(
            said(&format!("[7, {GOOD}, null]")),
            ["no record of a call: | 7", "a#1", "no record of a call: | null"]
        );
    }
}
