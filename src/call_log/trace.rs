//! How a request is named where it is followed across systems, as W3C Trace Context has it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, fmt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// The trace that all calls of one change share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace(u128);

impl Trace {
    /// The trace of a change; `change` tells it apart from those of all other databases.
    pub fn of(change: &str) -> Self {
        Self(xxh3_128(change.as_bytes()).max(1))
    }

    /// The header that tells the remote.
    pub fn parent(self, span: SpanId) -> String {
        let (trace, span) = (self.digits(), span.digits());
        ["00-", text(&trace), "-", text(&span), "-01"].concat()
    }

    pub(super) fn digits(self) -> [u8; 32] {
        digits(self.0)
    }
}

/// What the remote is told of one request, so that both sides speak of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(u64);

impl SpanId {
    /// Of the request with this name.
    pub fn of(id: &str) -> Self {
        // Zero would mean none.
        Self(xxh3_64(id.as_bytes()).max(1))
    }

    pub(super) fn digits(self) -> [u8; 16] {
        digits(self.0.into())
    }
}

/// So many hexadecimal digits, without what formatting costs: each request has several.
fn digits<const N: usize>(number: u128) -> [u8; N] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (4 * (N - 1 - at))) as usize & 15])
}

fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

fn number<const N: usize>(text: &str) -> Option<u128> {
    let is_whole = text.len() == N && text.bytes().all(|it| it.is_ascii_hexdigit());
    is_whole.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

macro_rules! hexadecimal {
    ($name:ident, $digits:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(text(&self.digits()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(text(&self.digits()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                let number = number::<$digits>(&text).and_then(|it| it.try_into().ok()).map(Self);
                number.ok_or_else(|| {
                    D::Error::custom(concat!("expected ", $digits, " hexadecimal digits"))
                })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": concat!("^[0-9a-f]{", $digits, "}$") })
            }

            fn inline_schema() -> bool {
                true
            }
        }
    };
}

hexadecimal!(Trace, 32);
hexadecimal!(SpanId, 16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_header_has_the_form_of_trace_context() {
        let header = Trace::of("main-0/12-0").parent(SpanId(0xab));
        let parts: Vec<&str> = header.split('-').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2], parts[3]), ("00", 32, "00000000000000ab", "01"));
        assert_eq!(parts[1], Trace::of("main-0/12-0").to_string());
    }

    #[test]
    fn what_is_not_so_many_digits_is_refused_in_words() {
        for wrong in
            [json!("ab"), json!("+0000000000000ab"), json!("00000000000000ag"), json!("é00000000000000")]
        {
            let error = serde_json::from_value::<SpanId>(wrong).expect_err("no span");
            assert_eq!(error.to_string(), "expected 16 hexadecimal digits");
        }
    }

    proptest! {
        #[test]
        fn they_are_written_as_digits_and_read_back(trace in any::<u128>(), span in any::<u64>()) {
            prop_assert_eq!(Trace(trace).to_string(), format!("{trace:032x}"));
            prop_assert_eq!(SpanId(span).to_string(), format!("{span:016x}"));
            let written = json!([Trace(trace), SpanId(span)]);
            prop_assert_eq!(&written, &json!([format!("{trace:032x}"), format!("{span:016x}")]));
            prop_assert_eq!(serde_json::from_value(written).ok(), Some((Trace(trace), SpanId(span))));
        }
    }
}
