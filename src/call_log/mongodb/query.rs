//! A search as the server understands it. It finds what [`CallQuery::matches`] says, no more and no less.

use super::document::time;
use crate::call_log::{CallQuery, RecordId};
use ::mongodb::bson::{Bson, Document, doc};
use jiff::Timestamp;
use std::fmt::Write;

/// The order of results, and what every index ends in.
pub(super) fn newest_first() -> Document {
    doc! { "at": -1, "at_ns": -1, "_id": -1 }
}

pub(super) fn filter(query: &CallQuery) -> Document {
    let mut all: Vec<Document> = Vec::new();
    let texts = [
        ("entity", &query.entity),
        ("route", &query.route),
        ("keys", &query.key),
        ("changes", &query.change),
        ("class", &query.class),
    ];
    all.extend(texts.into_iter().filter_map(|(name, value)| Some(doc! { name: value.as_ref()? })));
    all.extend(query.run.map(|run| doc! { "run": run }));
    all.extend(query.status.map(|(first, last)| {
        doc! { "response.status": { "$gte": i32::from(first), "$lte": i32::from(last) } }
    }));
    all.extend(query.since.map(begun_since));
    all.extend(query.until.map(begun_before));
    all.extend(query.text.as_deref().map(|text| {
        let holds = ["url", "request.body", "response.body", "error"]
            .map(|name| Bson::from(doc! { name: { "$regex": pattern(text) } }));
        doc! { "$or": holds.to_vec() }
    }));
    all.extend(query.before.as_ref().map(|(at, id)| {
        let (at, at_ns) = time(*at);
        let earlier = [
            doc! { "at": { "$lt": at } },
            doc! { "at_ns": { "$lt": at_ns } },
            doc! { "at_ns": at_ns, "_id": { "$lt": &*id.0 } },
        ];
        // The first part is what an index can use.
        doc! { "at": { "$lte": at }, "$or": earlier.to_vec() }
    }));
    match all.is_empty() {
        true => Document::new(),
        false => doc! { "$and": all },
    }
}

/// This record, and what comes before it in the list.
pub(super) fn down_to((at, id): &(Timestamp, RecordId)) -> Document {
    let (at, at_ns) = time(*at);
    let newer = [
        doc! { "at": { "$gt": at } },
        doc! { "at_ns": { "$gt": at_ns } },
        doc! { "at_ns": at_ns, "_id": { "$gte": &*id.0 } },
    ];
    doc! { "at": { "$gte": at }, "$or": newer.to_vec() }
}

fn begun_since(since: Timestamp) -> Document {
    let (at, at_ns) = time(since);
    doc! { "at": { "$gte": at }, "$or": [{ "at": { "$gt": at } }, { "at_ns": { "$gte": at_ns } }] }
}

pub(super) fn begun_before(until: Timestamp) -> Document {
    let (at, at_ns) = time(until);
    doc! { "at": { "$lte": at }, "$or": [{ "at": { "$lt": at } }, { "at_ns": { "$lt": at_ns } }] }
}

/// A regular expression for this text as it is, but for the case of ASCII letters. The server's own
/// way of ignoring case knows more letters.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() * 4);
    for c in text.chars() {
        // Writing to a text cannot fail.
        let _ = match c {
            'a'..='z' | 'A'..='Z' => {
                write!(pattern, "[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase())
            }
            // Also NUL, which a pattern must not have in it.
            '\0'..='\x7f' if !c.is_ascii_alphanumeric() => write!(pattern, "\\x{{{:x}}}", u32::from(c)),
            _ => write!(pattern, "{c}"),
        };
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_as_it_is() {
        assert_eq!(pattern("aZ7é"), "[aA][zZ]7é");
        assert_eq!(pattern("$.\0["), r"\x{24}\x{2e}\x{0}\x{5b}");
    }
}
