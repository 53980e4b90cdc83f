//! A record as JSON, the same text that its [`serde::Serialize`] makes. A record is written for every request,
//! so it is written by hand, straight to where it stays.

use super::{Content, Record};
use crate::model::Headers;
use bytes::{BufMut, BytesMut};
use jiff::{
    Timestamp,
    fmt::{StdFmtWrite, temporal::DateTimePrinter},
};
use std::ops::Range;

/// What of a record it is found by, and where in its JSON the texts of that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) at: Timestamp,
    pub(super) run: Option<i64>,
    pub(super) status: Option<u16>,
    /// With its quotes, like the class; keys and changes are lists of such texts.
    pub(super) entity: Part,
    pub(super) keys: Part,
    pub(super) changes: Part,
    pub(super) class: Option<Part>,
}

/// A part of a record's JSON. Many of them wait, so it is no wider than it needs to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// What of the JSON it is. It is empty where the JSON is longer than any store takes.
    pub(super) fn of(self, json: &[u8]) -> &[u8] {
        json.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Writes it behind what is there, and says by what it is found.
pub(super) fn write(to: &mut BytesMut, record: &Record<'_>) -> Head {
    let start = to.len();
    let Record {
        v,
        id,
        at,
        took_us,
        route,
        entity,
        keys,
        changes,
        run,
        step,
        attempt,
        call_key,
        remote,
        method,
        url,
        request,
        response,
        class,
        error,
        outcome,
        trace,
        span,
    } = record;
    number(to, "{\"v\":", *v);
    text(to, ",\"id\":\"", &id.0);
    moment(to, ",\"at\":\"", *at);
    number(to, ",\"took_us\":", *took_us);
    text(to, ",\"route\":\"", route);
    let entity = text(to, ",\"entity\":\"", entity);
    let keys = texts(to, ",\"keys\":[", keys.iter());
    let changes = texts(to, ",\"changes\":[", changes.iter());
    if let Some(run) = run {
        number(to, ",\"run\":", *run);
    }
    text(to, ",\"step\":\"", step);
    number(to, ",\"attempt\":", *attempt);
    text(to, ",\"call_key\":\"", call_key);
    text(to, ",\"remote\":\"", remote);
    text(to, ",\"method\":\"", method);
    text(to, ",\"url\":\"", url);
    to.extend_from_slice(b",\"request\":{\"headers\":[");
    content(to, request);
    if let Some(response) = response {
        number(to, ",\"response\":{\"status\":", response.status);
        to.extend_from_slice(b",\"headers\":[");
        content(to, &response.content);
    }
    let class = class.as_ref().map(|it| text(to, ",\"class\":\"", it));
    if let Some(error) = error {
        text(to, ",\"error\":\"", error);
    }
    text(to, ",\"outcome\":\"", outcome);
    to.extend_from_slice(b",\"trace\":\"");
    to.extend_from_slice(&trace.digits());
    to.extend_from_slice(b"\",\"span\":\"");
    to.extend_from_slice(&span.digits());
    to.extend_from_slice(b"\"}");
    let place = |it: usize| u32::try_from(it - start).unwrap_or(u32::MAX);
    let in_json = |it: Range<usize>| Part { start: place(it.start), end: place(it.end) };
    Head {
        at: *at,
        run: *run,
        status: response.as_ref().map(|it| it.status),
        entity: in_json(entity),
        keys: in_json(keys),
        changes: in_json(changes),
        class: class.map(in_json),
    }
}

/// From the first header to the brace that ends it.
fn content(to: &mut BytesMut, Content { headers, body, size, base64 }: &Content) {
    fields(to, headers);
    to.put_u8(b']');
    if !body.is_empty() {
        to.extend_from_slice(b",\"body\":\"");
        escaped(to, body.as_bytes());
        to.put_u8(b'"');
    }
    number(to, ",\"size\":", *size);
    to.extend_from_slice(if *base64 { b",\"base64\":true}" } else { b"}" });
}

/// Looked through only once: what ends a name or a value is as special as what is written otherwise.
fn fields(to: &mut BytesMut, headers: &Headers) {
    if headers.is_empty() {
        return;
    }
    to.extend_from_slice(b"[\"");
    let mut is_name = true;
    escape(to, headers.lines().as_bytes(), |to, rest| {
        to.extend_from_slice(match (is_name, rest) {
            (true, _) => b"\",\"",
            (false, []) => b"\"]",
            (false, _) => b"\"],[\"",
        });
        is_name = !is_name;
    });
}

/// The opening, which ends in a quote, the text and another quote. Says where it lies with its quotes.
fn text(to: &mut BytesMut, opening: &str, text: &str) -> Range<usize> {
    to.extend_from_slice(opening.as_bytes());
    let start = to.len() - 1;
    escaped(to, text.as_bytes());
    to.put_u8(b'"');
    start..to.len()
}

/// The same for a list, with its brackets.
fn texts<'a>(
    to: &mut BytesMut,
    opening: &str,
    all: impl Iterator<Item = &'a std::sync::Arc<str>>,
) -> Range<usize> {
    to.extend_from_slice(opening.as_bytes());
    let start = to.len() - 1;
    for (at, it) in all.enumerate() {
        text(to, if at > 0 { ",\"" } else { "\"" }, it);
    }
    to.put_u8(b']');
    start..to.len()
}

fn number(to: &mut BytesMut, opening: &str, number: impl itoa::Integer) {
    to.extend_from_slice(opening.as_bytes());
    to.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn moment(to: &mut BytesMut, opening: &str, at: Timestamp) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new();
    to.extend_from_slice(opening.as_bytes());
    // Memory takes whatever is written to it.
    let written = PRINTER.print_timestamp(&at, StdFmtWrite(&mut *to));
    debug_assert!(written.is_ok(), "{written:?}");
    to.put_u8(b'"');
}

fn escaped(to: &mut BytesMut, text: &[u8]) {
    escape(to, text, |to, _| to.extend_from_slice(b"\\n"));
}

/// Writes something of its own for a line break, before the rest.
fn escape(to: &mut BytesMut, mut text: &[u8], mut line_break: impl FnMut(&mut BytesMut, &[u8])) {
    while let Some(at) = first_special(text) {
        let (plain, rest) = text.split_at(at);
        to.extend_from_slice(plain);
        let special = rest[0];
        match special {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => line_break(to, &rest[1..]),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            0x08 => to.extend_from_slice(b"\\b"),
            0x0c => to.extend_from_slice(b"\\f"),
            _ => {
                let hex = |it: u8| b"0123456789abcdef"[usize::from(it & 15)];
                to.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(special >> 4), hex(special)]);
            }
        }
        text = &rest[1..];
    }
    to.extend_from_slice(text);
}

/// Where the first byte is that JSON does not take as it is. Eight are looked at in one go.
fn first_special(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    // The lowest byte that is marked is one; those above it may be marked wrongly.
    const fn below(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
    }
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * b'"' as u64), 1);
        let backslash = below(word ^ (ONES * b'\\' as u64), 1);
        let marked = quote | backslash | below(word, 0x20);
        if marked != 0 {
            return Some(at * 8 + marked.trailing_zeros() as usize / 8);
        }
    }
    let is_special = |it: &u8| *it < 0x20 || *it == b'"' || *it == b'\\';
    rest.iter().position(is_special).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_log::{CallRecord, tests::record};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn as_serde_has_it(record: &CallRecord) {
        let expected = serde_json::to_string(record).expect("a record serialises");
        let mut text = BytesMut::from("before");
        write(&mut text, record);
        assert_eq!(std::str::from_utf8(&text[6..]), Ok(&*expected));
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let whole = record("a#1");
        as_serde_has_it(&whole);
        let bare = CallRecord { run: None, class: None, error: None, response: None, ..whole.bare() };
        as_serde_has_it(&bare);
        as_serde_has_it(&CallRecord { keys: [].into(), changes: [].into(), ..bare });
        as_serde_has_it(&CallRecord {
            request: Content::new([].into(), &Bytes::from_static(b"\xff")),
            ..whole
        });
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_record_it_is_the_same_text(
            text in ".{0,40}",
            bytes in proptest::collection::vec(0u8..0x80, 0..40),
            number in any::<u32>(),
            at in -1_000_000_000_000i64..10_000_000_000_000_000,
            keys in proptest::collection::vec("\\PC{0,9}", 0..4),
        ) {
            let ascii = String::from_utf8(bytes).expect("ASCII");
            let record = CallRecord {
                at: Timestamp::from_microsecond(at).expect("a time"),
                took_us: number.into(),
                keys: keys.iter().map(|it| it.as_str().into()).collect(),
                changes: keys.iter().map(|it| it.as_str().into()).collect(),
                run: Some(i64::from(number) - 7),
                attempt: number,
                url: ascii.clone(),
                error: Some(text.clone()),
                request: Content::new([(&*text, &*ascii), ("a", "b")].into(), &Bytes::from(ascii.clone())),
                ..record(&text)
            };
            as_serde_has_it(&record);
        }
    }
}
