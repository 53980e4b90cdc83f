//! Numbers with their units, and moments by how far they are. Pure.

use jiff::Timestamp;
use maud::{Markup, html};

/// `1,234,567`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `1 change`, `2 changes`.
pub(super) fn of(number: i64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

/// `3.2 MB`.
pub(super) fn bytes(amount: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (amount.max(0) as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `3.2 s`, `4 min`, `2.5 h`, `3 d`.
pub(super) fn seconds(amount: f64) -> String {
    match amount.max(0.0) {
        s if s < 0.05 => "0 s".to_owned(),
        s if s < 9.95 && s.fract() > 0.0 => format!("{s:.1} s"),
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3_570.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// `12.5 /s`.
pub(super) fn rate(amount: f64) -> String {
    match amount {
        few if few < 9.95 => format!("{few:.1} /s"),
        many => format!("{} /s", count(many.round() as i64)),
    }
}

/// `2026-01-31 12:00:05 UTC`.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `5 min ago`, `in 12 s`, `now`.
pub(super) fn distance(at: Timestamp, now: Timestamp) -> String {
    let ahead = at.duration_since(now).as_secs_f64();
    match ahead {
        near if near.abs() < 1.0 => "now".to_owned(),
        past if past < 0.0 => format!("{} ago", seconds(whole(-past))),
        ahead => format!("in {}", seconds(whole(ahead))),
    }
}

/// How far it is, with the exact time to be had.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(exact(at)) { (distance(at, now)) } }
}

/// `for 5 min`, with the exact time to be had.
pub(super) fn lasting(since: Timestamp, now: Timestamp) -> Markup {
    let lasts = seconds(whole(now.duration_since(since).as_secs_f64().max(0.0)));
    html! { "for " time datetime=(since) title=(format!("since {}", exact(since))) { (lasts) } }
}

/// The same, or a dash.
pub(super) fn perhaps(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { @match at { Some(at) => (when(at, now)), None => "–" } }
}

/// Tenths of what is far away say nothing.
fn whole(seconds: f64) -> f64 {
    seconds.round()
}

/// The first line, and of it no more than a cell holds.
pub(super) fn line(text: &str) -> String {
    crate::model::one_line(text.lines().next().unwrap_or_default(), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_moments_are_told_by_how_far_they_are() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!([of(1, "row", "rows"), of(2, "row", "rows")], ["1 row", "2 rows"]);
        assert_eq!([0, 1_023, 1_536, 3 << 30].map(bytes), ["0 B", "1023 B", "1.5 KB", "3.0 GB"]);
        assert_eq!(
            [0.0, 3.24, 42.0, 240.0, 9_000.0, 259_200.0].map(seconds),
            ["0 s", "3.2 s", "42 s", "4 min", "2.5 h", "3 d"]
        );
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        assert_eq!(distance(at(0), at(300)), "5 min ago");
        assert_eq!(distance(at(12), at(0)), "in 12 s");
        assert_eq!(
            when(at(0), at(300)).into_string(),
            "<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01 00:00:00 UTC\">5 min ago</time>"
        );
    }
}
