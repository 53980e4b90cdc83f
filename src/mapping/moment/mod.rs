//! Dates and times as Postgres has them: four thousand years before us and beyond 9999, with
//! infinities. They are read from Postgres' own text and from ISO 8601, and printed as ISO 8601.

mod civil;
pub(super) mod parse;
pub(super) mod pattern;

use std::{cmp::Ordering, fmt};

/// Which of the types it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Date,
    Time,
    /// A time with its offset from UTC, in seconds.
    TimeTz(i32),
    Timestamp,
    /// In UTC.
    TimestampTz,
}

/// A point of time, or a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub form: Form,
    pub at: Reading,
}

/// What the calendar and the clock say. The derived order is the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reading {
    /// `-infinity`.
    Before,
    Finite {
        /// Astronomical: 1 BC is 0.
        year: i32,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
        micro: u32,
    },
    /// `infinity`.
    After,
}

impl Moment {
    /// What messages call it.
    pub fn kind(&self) -> &'static str {
        match self.form {
            Form::Date => "a date",
            Form::Time | Form::TimeTz(_) => "a time of day",
            Form::Timestamp => "a timestamp without time zone",
            Form::TimestampTz => "a timestamp",
        }
    }

    /// How two moments are ordered; `None` if one has a time zone and the other has not, or one is
    /// a time of day.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        let comparable = match (self.form, other.form) {
            (Form::TimeTz(a), Form::TimeTz(b)) => return Some(self.in_utc(a).cmp(&other.in_utc(b))),
            (Form::Date | Form::Timestamp, Form::Date | Form::Timestamp) => true,
            (a, b) => a == b,
        };
        comparable.then(|| self.at.cmp(&other.at))
    }

    fn in_utc(&self, offset: i32) -> i64 {
        match self.at {
            Reading::Before => i64::MIN,
            Reading::After => i64::MAX,
            Reading::Finite { hour, minute, second, micro, .. } => {
                let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
                (seconds - i64::from(offset)) * 1_000_000 + i64::from(micro)
            }
        }
    }
}

impl From<jiff::Timestamp> for Moment {
    fn from(timestamp: jiff::Timestamp) -> Self {
        let utc = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
        let at = Reading::Finite {
            year: utc.year().into(),
            month: utc.month().unsigned_abs(),
            day: utc.day().unsigned_abs(),
            hour: utc.hour().unsigned_abs(),
            minute: utc.minute().unsigned_abs(),
            second: utc.second().unsigned_abs(),
            micro: u32::from(utc.millisecond().unsigned_abs()) * 1000
                + u32::from(utc.microsecond().unsigned_abs()),
        };
        Self { form: Form::TimestampTz, at }
    }
}

/// ISO 8601, and RFC 3339 where that can say it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reading::Finite { year, month, day, hour, minute, second, micro } = self.at else {
            return f.write_str(if self.at == Reading::After { "infinity" } else { "-infinity" });
        };
        if matches!(self.form, Form::Date | Form::Timestamp | Form::TimestampTz) {
            match year {
                ..0 => write!(f, "-{:04}", -year)?,
                0..=9999 => write!(f, "{year:04}")?,
                10_000.. => write!(f, "+{year}")?,
            }
            write!(f, "-{month:02}-{day:02}")?;
        }
        match self.form {
            Form::Date => return Ok(()),
            Form::Timestamp | Form::TimestampTz => f.write_str("T")?,
            Form::Time | Form::TimeTz(_) => {}
        }
        write!(f, "{hour:02}:{minute:02}:{second:02}")?;
        if micro > 0 {
            let digits = format!("{micro:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        match self.form {
            Form::TimestampTz | Form::TimeTz(0) => f.write_str("Z"),
            Form::TimeTz(offset) => write_offset(f, offset),
            _ => Ok(()),
        }
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: i32) -> fmt::Result {
    let seconds = offset.unsigned_abs();
    let sign = if offset < 0 { '-' } else { '+' };
    write!(f, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
    match seconds % 60 {
        0 => Ok(()),
        seconds => write!(f, ":{seconds:02}"),
    }
}

#[cfg(test)]
mod tests;
