//! A record as JSON, the same text that its [`serde::Serialize`] makes. A record is written for every request,
//! so it is written straight into one piece of memory, which the next records share.

use super::{CallRecord, Content};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::{
    Timestamp,
    fmt::{StdFmtWrite, temporal::DateTimePrinter},
};
use std::cell::RefCell;

/// So many bytes are asked for at once. They are kept until the last record in them is sent.
const BLOCK: usize = 64 << 10;
/// Most records are shorter. One that is longer than what is left may move to a block of its own.
const USUAL: usize = 4 << 10;

thread_local! {
    static REST: RefCell<BytesMut> = RefCell::default();
}

/// The record's text.
pub(super) fn of(record: &CallRecord) -> Bytes {
    REST.with_borrow_mut(|rest| {
        if rest.capacity() < USUAL {
            *rest = BytesMut::with_capacity(BLOCK);
        }
        whole(rest, record);
        let text = rest.split().freeze();
        // What is rarely that long is not kept for ever.
        if text.len() > BLOCK {
            *rest = BytesMut::new();
        }
        text
    })
}

fn whole(to: &mut BytesMut, record: &CallRecord) {
    let CallRecord {
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
    text(to, ",\"entity\":\"", entity);
    texts(to, ",\"keys\":[", keys.iter());
    texts(to, ",\"changes\":[", changes.iter());
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
    for (key, value) in [(",\"class\":\"", class.as_deref()), (",\"error\":\"", error.as_deref())] {
        if let Some(value) = value {
            text(to, key, value);
        }
    }
    text(to, ",\"outcome\":\"", outcome);
    to.extend_from_slice(b",\"trace\":\"");
    to.extend_from_slice(&trace.digits());
    to.extend_from_slice(b"\",\"span\":\"");
    to.extend_from_slice(&span.digits());
    to.extend_from_slice(b"\"}");
}

/// From the first header to the brace that ends it.
fn content(to: &mut BytesMut, Content { headers, body, size, base64 }: &Content) {
    for (at, (name, value)) in headers.iter().enumerate() {
        text(to, if at > 0 { ",[\"" } else { "[\"" }, name);
        text(to, ",\"", value);
        to.put_u8(b']');
    }
    to.put_u8(b']');
    if !body.is_empty() {
        to.extend_from_slice(b",\"body\":\"");
        escaped(to, body.as_bytes());
        to.put_u8(b'"');
    }
    number(to, ",\"size\":", *size);
    to.extend_from_slice(if *base64 { b",\"base64\":true}" } else { b"}" });
}

/// The opening, which ends in a quote, the text and another quote.
fn text(to: &mut BytesMut, opening: &str, text: &str) {
    to.extend_from_slice(opening.as_bytes());
    escaped(to, text.as_bytes());
    to.put_u8(b'"');
}

fn texts<'a>(to: &mut BytesMut, opening: &str, all: impl Iterator<Item = &'a std::sync::Arc<str>>) {
    to.extend_from_slice(opening.as_bytes());
    for (at, it) in all.enumerate() {
        text(to, if at > 0 { ",\"" } else { "\"" }, it);
    }
    to.put_u8(b']');
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

fn escaped(to: &mut BytesMut, mut text: &[u8]) {
    while let Some(at) = first_special(text) {
        let (plain, rest) = text.split_at(at);
        to.extend_from_slice(plain);
        let special = rest[0];
        match special {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
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
    use crate::call_log::tests::record;
    use proptest::prelude::*;

    fn as_serde_has_it(record: &CallRecord) {
        let expected = serde_json::to_string(record).expect("a record serialises");
        assert_eq!(std::str::from_utf8(&of(record)), Ok(&*expected));
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

    #[test]
    fn a_record_that_is_longer_than_a_block_has_one_of_its_own() {
        let long = CallRecord { url: "x".repeat(BLOCK + 1), ..record("a#1") };
        for _ in 0..3 {
            as_serde_has_it(&long);
            as_serde_has_it(&record("a#2"));
        }
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
