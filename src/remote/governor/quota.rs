//! What an answer's headers say of the remote's quota. Three families are understood: the IETF
//! draft's `RateLimit` in its present and its earlier form, its older separate `RateLimit-*`, and
//! the `X-RateLimit-*` that many APIs have of their own.

use crate::{model::Answer, remote::retry};
use jiff::{Timestamp, fmt::rfc2822};
use std::{cmp::Reverse, time::Duration};

/// What was said, of the tightest quota where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Said {
    /// How many calls the quota has in all.
    pub(super) limit: Option<u64>,
    /// How many of them are left.
    pub(super) left: Option<u64>,
    /// When there will be more.
    pub(super) reset: Option<Duration>,
}

/// Reads the headers; most answers have none of these.
pub(super) fn read(answer: &Answer) -> Option<Said> {
    let (mut draft, mut separate, mut own) = (None::<Said>, Said::default(), Said::default());
    let mut policy = None;
    for (name, value) in answer.headers.iter() {
        let Some(rest) = name.strip_prefix("x-ratelimit").or_else(|| name.strip_prefix("x-rate-limit"))
        else {
            match name {
                "ratelimit" => draft = draft.into_iter().chain(tightest(value)).min_by_key(tightness),
                "ratelimit-policy" => policy = parameter(value, "q"),
                "ratelimit-limit" => separate.limit = number(value),
                "ratelimit-remaining" => separate.left = number(value),
                "ratelimit-reset" => separate.reset = seconds(value),
                _ => {}
            }
            continue;
        };
        match rest {
            "-limit" => own.limit = number(value),
            "-remaining" => own.left = number(value),
            "-reset" => own.reset = moment(value, answer),
            _ => {}
        }
    }
    if let Some(draft) = &mut draft {
        draft.limit = draft.limit.or(policy);
    }
    let said = draft.into_iter().chain([separate, own]).filter(|it| *it != Said::default());
    said.min_by_key(|it| it.left.unwrap_or(u64::MAX))
}

/// Whether this is what a remote says to everyone who calls too often. Some say it with 403.
pub(in crate::remote) fn is_throttled(answer: &Answer) -> bool {
    match answer.status {
        429 => true,
        403 => asked(answer).is_some() || read(answer).is_some_and(|it| it.left == Some(0)),
        _ => false,
    }
}

/// What the remote asks for before the next call.
pub(super) fn asked(answer: &Answer) -> Option<Duration> {
    retry::retry_after(&answer.headers).filter(|it| !it.is_zero())
}

/// `"burst";r=3;t=1, "day";r=900;t=3600`, or as it was before: `limit=100, remaining=3, reset=30`.
fn tightest(value: &str) -> Option<Said> {
    let dated = Said {
        limit: parameter(value, "limit"),
        left: parameter(value, "remaining"),
        reset: parameter(value, "reset").map(Duration::from_secs),
    };
    if dated.left.is_some() {
        return Some(dated);
    }
    let items = value.split(',').filter_map(|item| {
        let left = Some(parameter(item, "r")?);
        Some(Said { limit: None, left, reset: parameter(item, "t").map(Duration::from_secs) })
    });
    items.min_by_key(tightness)
}

/// The fewer are left, and the longer, the tighter.
fn tightness(said: &Said) -> (Option<u64>, Reverse<Option<Duration>>) {
    (said.left, Reverse(said.reset))
}

/// The number that the parameter of this name has first.
fn parameter(value: &str, name: &str) -> Option<u64> {
    let mut parts = value.split([';', ',']).filter_map(|part| part.split_once('='));
    parts.find(|(key, _)| key.trim() == name).and_then(|(_, value)| number(value))
}

/// A whole number, whatever may stand behind it: `100, 100;w=60`.
fn number(value: &str) -> Option<u64> {
    let value = value.trim();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok()
}

fn seconds(value: &str) -> Option<Duration> {
    value.trim().parse().ok().and_then(|it: f64| Duration::try_from_secs_f64(it).ok())
}

/// Seconds from now, a moment in seconds or milliseconds since 1970, or a date. A moment is
/// measured against the remote's own `Date`: only the difference matters, and its clock need not
/// be ours.
fn moment(value: &str, answer: &Answer) -> Option<Duration> {
    /// No quota lasts thirty years.
    const YEARS: u64 = 1_000_000_000;
    let now = || Some(rfc2822::parse(answer.header("date")?).ok()?.timestamp());
    let until = |at: Timestamp| Some(Duration::try_from(at.duration_since(now()?)).unwrap_or_default());
    match seconds(value) {
        Some(span) if span.as_secs() < YEARS => Some(span),
        Some(since) => {
            let millis =
                if since.as_secs() < YEARS * 1_000 { since.as_millis() } else { since.as_secs().into() };
            until(Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()?)
        }
        None => until(rfc2822::parse(value.trim()).ok()?.timestamp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&str, &str)]) -> Option<(Option<u64>, Option<u64>, Option<u64>)> {
        let headers = headers.iter().copied().collect();
        let said = read(&Answer { status: 200, headers, ..Answer::default() })?;
        Some((said.limit, said.left, said.reset.map(|it| it.as_secs())))
    }

    const DATE: (&str, &str) = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");

    #[test]
    fn every_family_of_headers_is_understood() {
        let all = Some((Some(100), Some(7), Some(30)));
        for headers in [
            &[("ratelimit", r#""default";r=7;t=30"#), ("ratelimit-policy", r#""default";q=100;w=60"#)][..],
            &[("ratelimit", "limit=100, remaining=7, reset=30")],
            &[("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "7"), ("ratelimit-reset", "30")],
            &[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "30")],
            &[("x-rate-limit-limit", "100"), ("x-rate-limit-remaining", "7"), ("x-rate-limit-reset", "30.5")],
            &[
                DATE,
                ("x-ratelimit-limit", "100"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "1700000030"),
            ],
            &[
                DATE,
                ("x-ratelimit-limit", "100"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "1700000030000"),
            ],
            &[
                DATE,
                ("x-ratelimit-limit", "100"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "Tue, 14 Nov 2023 22:13:50 GMT"),
            ],
        ] {
            assert_eq!(said(headers), all, "{headers:?}");
        }
        assert_eq!(said(&[DATE, ("content-type", "text/plain")]), None);
    }

    #[test]
    fn the_tightest_of_several_quotas_counts() {
        let several = r#""second";r=3;t=1, "hour";r=0;t=1200, "minute";r=0;t=40"#;
        assert_eq!(said(&[("ratelimit", several)]), Some((None, Some(0), Some(1200))));
        let mut lines = [("ratelimit", r#""hour";r=1;t=1200"#), ("ratelimit", r#""second";r=3;t=1"#)];
        for _ in 0..2 {
            assert_eq!(said(&lines), Some((None, Some(1), Some(1200))), "{lines:?}");
            lines.reverse();
        }
        let both = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9"), ("ratelimit-remaining", "5")];
        assert_eq!(said(&both), Some((None, Some(0), Some(9))));
    }

    #[test]
    fn what_cannot_be_measured_or_read_is_left_out() {
        let unread = |value| said(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", value)]);
        for value in ["1700000030", "soon", "-5", "", "inf", "NaN"] {
            assert_eq!(unread(value), Some((None, Some(0), None)), "{value}");
        }
        assert_eq!(said(&[DATE, ("x-ratelimit-reset", "1600000000")]), Some((None, None, Some(0))));
        assert_eq!(said(&[("ratelimit", "r"), ("x-ratelimit-limit", "many")]), None);
    }
}
