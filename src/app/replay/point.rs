//! How a person names a point of the log. Pure.

use crate::model::{Lsn, Span};
use jiff::{SignedDuration, Timestamp};
use std::{fmt, str::FromStr};

/// A point of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// A named checkpoint.
    Checkpoint(String),
    /// A position.
    Lsn(Lsn),
    /// A time of commit.
    Time(Timestamp),
    /// So long ago.
    Ago(Span),
}

impl Point {
    /// The same at any later time.
    pub(super) fn fixed(self, now: Timestamp) -> Self {
        match self {
            Self::Ago(span) => {
                let since = SignedDuration::try_from(span.0).ok();
                let then = since.and_then(|since| now.checked_sub(since).ok());
                Self::Time(then.unwrap_or(Timestamp::MIN))
            }
            other => other,
        }
    }
}

/// A text that names no point.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no point of the log: expected a checkpoint's name (a–z, 0–9 and `_`), a position such as `16/B374D848`, a \
     time such as `2026-01-31T12:00:00Z`, or a length of time before now such as `30m`"
)]
pub struct BadPoint(String);

impl FromStr for Point {
    type Err = BadPoint;

    fn from_str(text: &str) -> Result<Self, BadPoint> {
        let named = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
        if text.contains('/') {
            return text.parse().map(Self::Lsn).map_err(|_| BadPoint(text.to_owned()));
        }
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        if !text.is_empty() && text.bytes().all(named) {
            return Ok(Self::Checkpoint(text.to_owned()));
        }
        text.parse().map(Self::Time).map_err(|_| BadPoint(text.to_owned()))
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(name) => name.fmt(f),
            Self::Lsn(lsn) => lsn.fmt(f),
            Self::Time(at) => at.fmt(f),
            Self::Ago(span) => span.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_name_a_position_a_time_or_a_while_ago() {
        let time = "2026-01-31T12:00:00Z".parse().expect("a time");
        let cases = [
            ("before_import", Point::Checkpoint("before_import".to_owned())),
            ("2026_01_31", Point::Checkpoint("2026_01_31".to_owned())),
            ("0/16B3748", Point::Lsn(Lsn::new(0x16B_3748))),
            ("2026-01-31T12:00:00Z", Point::Time(time)),
            ("2026-01-31T13:00:00+01:00", Point::Time(time)),
            ("30m", Point::Ago("30m".parse().expect("a span"))),
        ];
        for (text, point) in cases {
            assert_eq!(text.parse::<Point>().expect(text), point);
            assert_eq!(point.to_string().parse::<Point>().expect(text), point, "as it is stored");
        }
        for bad in ["", "Before", "16/", "0/XY", "2026-01-31", "a b", "-30m"] {
            let said = bad.parse::<Point>().expect_err(bad).to_string();
            assert!(said.contains(&format!("`{bad}` is no point of the log")), "{said}");
        }
    }

    #[test]
    fn a_while_ago_is_counted_from_when_it_was_asked_for() {
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        let ago = |text: &str| text.parse::<Point>().expect(text).fixed(now).to_string();
        assert_eq!(ago("30m"), "2026-01-31T11:30:00Z");
        assert_eq!(ago("name"), "name");
        assert_eq!(ago("99999999d"), Timestamp::MIN.to_string(), "before everything");
    }
}
