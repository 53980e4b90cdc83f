use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

/// A length of time as configuration writes it: `500ms`, `10s`, `5m`, `1h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// An amount of memory or disk as configuration writes it: `64MiB`, `1GiB`, `2GB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SPANS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct BadUnit {
    text: String,
    what: &'static str,
}

/// A whole number and its unit, in the table's smallest unit.
fn parse(text: &str, units: &[(&str, u64)], unitless: Option<u64>) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let factor = match text[split..].trim() {
        "" => unitless?,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.checked_mul(factor)
}

impl ByteSize {
    /// Rounded down to what a person reads.
    #[must_use]
    pub fn rounded(self) -> Self {
        let unit = [30, 20, 10].into_iter().find(|shift| self.0 >> shift >= 10).unwrap_or(0);
        Self(self.0 >> unit << unit)
    }
}

impl FromStr for Span {
    type Err = BadUnit;
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let what = "a length of time such as `500ms`, `10s`, `5m`, `1h` or `30d`";
        let millis = parse(text, SPANS, None).ok_or_else(|| BadUnit { text: text.to_owned(), what })?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl FromStr for ByteSize {
    type Err = BadUnit;
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let what = "an amount of bytes such as `64MiB`, `1GiB`, `2GB` or `4096`";
        parse(text, SIZES, Some(1)).map(Self).ok_or_else(|| BadUnit { text: text.to_owned(), what })
    }
}

/// The largest unit that divides the amount.
fn print(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().filter(|(_, factor)| amount.is_multiple_of(*factor) && amount >= *factor);
    let (unit, factor) = fits.max_by_key(|(_, factor)| *factor).unwrap_or(&units[0]);
    format!("{}{unit}", amount / factor)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self.0.as_millis() as u64, SPANS))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self.0, SIZES))
    }
}

macro_rules! as_text {
    ($ty:ident, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Written {
                    Number(u64),
                    Text(String),
                }
                match Written::deserialize(deserializer)? {
                    Written::Number(number) => number.to_string().parse(),
                    Written::Text(text) => text.parse(),
                }
                .map_err(D::Error::custom)
            }
        }

        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $ty {
            fn schema_name() -> Cow<'static, str> {
                stringify!($ty).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                json_schema!({ "type": ["string", "integer"], "minimum": 0, "pattern": $pattern })
            }
        }
    };
}

as_text!(Span, "^[0-9]+ *(ms|s|m|h|d)$");
as_text!(ByteSize, "^[0-9]+ *(B|kB|MB|GB|KiB|MiB|GiB)?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_printed() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("30d", 2_592_000_000)] {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.0.as_millis(), span.to_string().as_str()), (millis, text));
        }
        for (text, bytes) in [("64MiB", 64 << 20), ("2GB", 2_000_000_000), ("4095B", 4095)] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, text));
        }
        assert_eq!("4096".parse::<ByteSize>().expect("bytes").0, 4096);
        for wrong in ["10", "", "s", "-1s", "1 week", "99999999999999999999s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
