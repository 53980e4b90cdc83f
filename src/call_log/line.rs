use super::{
    Record,
    json::{self, Head, Part},
};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use std::{borrow::Cow, cell::RefCell, fmt, ops::Range, str};

/// So many bytes are asked for at once. They are kept until the last record in them is sent.
const BLOCK: usize = 64 << 10;
/// Most records are shorter. One that is longer than what is left may move to a block of its own.
const USUAL: usize = 4 << 10;

thread_local! {
    static REST: RefCell<BytesMut> = RefCell::default();
}

/// A record as it leaves the process. All of it lies in one piece of a block of memory: what one thread asks for
/// piece by piece and another gives back much later costs more than to write it.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The id, the route and the JSON, one behind the other.
    text: Bytes,
    /// Where the id ends.
    id: usize,
    /// Where the route ends.
    route: usize,
    /// Where in the JSON is what it is found by, if that is at hand.
    head: Option<Head>,
}

/// What a record is found by, beside its id and its route.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) at: Timestamp,
    pub(super) entity: Cow<'a, str>,
    pub(super) keys: Vec<Cow<'a, str>>,
    pub(super) changes: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub(super) run: Option<i64>,
    #[serde(default)]
    pub(super) class: Option<Cow<'a, str>>,
    #[serde(default, rename = "response", deserialize_with = "status")]
    pub(super) status: Option<u16>,
}

fn status<'de, D: serde::Deserializer<'de>>(response: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    struct Answer {
        status: u16,
    }
    Ok(Option::<Answer>::deserialize(response)?.map(|it| it.status))
}

impl Line {
    /// A record with this id and route; the JSON is taken as it is.
    pub fn new(id: &str, route: &str, json: impl AsRef<[u8]>) -> Self {
        let text = [id.as_bytes(), route.as_bytes(), json.as_ref()].concat().into();
        Self { text, id: id.len(), route: id.len() + route.len(), head: None }
    }

    /// The same where one stands behind the other already, and so long are the id and the route.
    pub(super) fn within(text: Bytes, id: usize, route: usize) -> Option<Self> {
        let route = id.checked_add(route)?;
        let is_text = |range: Range<usize>| text.get(range).is_some_and(|it| str::from_utf8(it).is_ok());
        (is_text(0..id) && is_text(id..route)).then_some(Self { text, id, route, head: None })
    }

    /// [`Record::id`].
    pub fn id(&self) -> &str {
        str::from_utf8(&self.text[..self.id]).unwrap_or_default()
    }

    /// [`Record::route`], by which others may bind.
    pub fn route(&self) -> &str {
        str::from_utf8(&self.text[self.id..self.route]).unwrap_or_default()
    }

    /// The record, redacted, as JSON.
    pub fn json(&self) -> &[u8] {
        &self.text[self.route..]
    }

    /// The id, the route and the JSON, one behind the other.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// When its request began.
    pub(super) fn at(&self) -> serde_json::Result<Timestamp> {
        #[derive(Deserialize)]
        struct Begun {
            at: Timestamp,
        }
        match &self.head {
            Some(head) => Ok(head.at),
            None => serde_json::from_slice::<Begun>(self.json()).map(|it| it.at),
        }
    }

    /// What it is found by.
    pub(super) fn named(&self) -> serde_json::Result<Named<'_>> {
        let Some(Head { at, run, status, entity, keys, changes, class }) = &self.head else {
            return serde_json::from_slice(self.json());
        };
        let json = |it: &Part| it.of(self.json());
        Ok(Named {
            at: *at,
            run: *run,
            status: *status,
            entity: text(json(entity))?,
            keys: texts(json(keys))?,
            changes: texts(json(changes))?,
            class: class.as_ref().map(|it| text(json(it))).transpose()?,
        })
    }
}

/// What stands in between, if it is one text that is the same in JSON.
fn plain<'a>(json: &'a [u8], open: &[u8], close: &[u8]) -> Option<Cow<'a, str>> {
    let text = json.strip_prefix(open)?.strip_suffix(close)?;
    let is_plain = !text.iter().any(|it| matches!(it, b'"' | b'\\'));
    str::from_utf8(text).ok().filter(|_| is_plain).map(Cow::Borrowed)
}

fn text(json: &[u8]) -> serde_json::Result<Cow<'_, str>> {
    plain(json, b"\"", b"\"").map_or_else(|| serde_json::from_slice(json).map(Cow::Owned), Ok)
}

fn texts(json: &[u8]) -> serde_json::Result<Vec<Cow<'_, str>>> {
    plain(json, b"[\"", b"\"]").map_or_else(|| serde_json::from_slice(json), |one| Ok(vec![one]))
}

impl From<Record<'_>> for Line {
    fn from(record: Record<'_>) -> Self {
        REST.with_borrow_mut(|rest| {
            if rest.capacity() < USUAL {
                *rest = BytesMut::with_capacity(BLOCK);
            }
            for name in [&*record.id.0, &*record.route] {
                rest.extend_from_slice(name.as_bytes());
            }
            let head = json::write(rest, &record);
            let text = rest.split().freeze();
            // What is rarely that long is not kept for ever.
            if text.len() > BLOCK {
                *rest = BytesMut::new();
            }
            let id = record.id.0.len();
            Self { text, id, route: id + record.route.len(), head: Some(head) }
        })
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, .. } = self;
        let json = String::from_utf8_lossy(self.json());
        let mut line = f.debug_struct("Line");
        line.field("id", &self.id())
            .field("route", &self.route())
            .field("json", &json)
            .field("head", head)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_log::{CallRecord, Exchange, tests::record};
    use proptest::prelude::*;

    #[test]
    fn a_record_that_is_longer_than_a_block_has_one_of_its_own() {
        let long = CallRecord { url: "x".repeat(BLOCK + 1), ..record("a#1") };
        for _ in 0..3 {
            for record in [&long, &record("a#2")] {
                let line = Line::from(record.clone());
                assert_eq!(serde_json::from_slice::<CallRecord>(line.json()).as_ref().ok(), Some(record));
                assert_eq!((line.id(), line.route()), (&*record.id.0, &*record.route));
            }
        }
    }

    #[test]
    fn what_is_no_text_names_nothing() {
        let text = Bytes::from_static("ä#1loans{}".as_bytes());
        let whole = Line::within(text.clone(), 4, 5);
        assert_eq!(whole, Some(Line::new("ä#1", "loans", "{}")));
        for (id, route) in [(1, 5), (4, 99), (usize::MAX, 1), (99, 0)] {
            assert_eq!(Line::within(text.clone(), id, route), None, "{id} {route}");
        }
    }

    proptest! {
        /// What the head says is what is read where there is none.
        #[test]
        fn it_is_found_by_the_same_wherever_it_comes_from(
            names in proptest::collection::vec("[a\"\\\\,ä\n]{0,3}", 0..4),
            entity in "[a\"\\\\ä]{0,3}",
            numbers in proptest::option::of((any::<i64>(), any::<u16>())),
        ) {
            let names = || names.iter().map(|it| it.as_str().into());
            let with = record("a#1");
            let record = CallRecord {
                entity: entity.clone().into(),
                keys: names().collect(),
                changes: names().rev().collect(),
                class: numbers.map(|_| entity.clone().into()),
                run: numbers.map(|it| it.0),
                response: with.response.clone().zip(numbers).map(|(it, (_, status))| Exchange { status, ..it }),
                ..with
            };
            let line = Line::from(record.clone());
            let named = line.named().expect("a head");
            prop_assert_eq!(&named.entity, &*record.entity);
            prop_assert!(named.keys.iter().eq(record.keys.iter().map(|it| &**it)));
            let read = Line::new(line.id(), line.route(), line.json());
            prop_assert_eq!(read.named().expect("the JSON"), named);
            prop_assert_eq!((read.at().expect("a time"), line.at().expect("a time")), (record.at, record.at));
        }
    }
}
