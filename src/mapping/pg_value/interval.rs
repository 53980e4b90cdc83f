use std::fmt::Write;

/// An interval as Postgres prints it in `postgres` style (`1 year -2 mons +03:04:05.6`) as the ISO
/// 8601 duration that it prints itself in `iso_8601` style, each part with its own sign. A text
/// that is one already stays.
pub(super) fn iso(text: &str) -> Option<String> {
    if matches!(text, "infinity" | "-infinity") || is_iso(text) {
        return Some(text.to_owned());
    }
    let (mut date, mut time) = (String::new(), String::new());
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            clock(word, &mut time)?;
            // The time is the last part.
            return words.next().is_none().then(|| join(&date, &time));
        }
        let amount: i64 = word.strip_prefix('+').unwrap_or(word).parse().ok()?;
        let unit = match words.next()? {
            "year" | "years" => 'Y',
            "mon" | "mons" => 'M',
            "day" | "days" => 'D',
            _ => return None,
        };
        // Writing to a string cannot fail.
        let _ = write!(date, "{amount}{unit}");
    }
    (!date.is_empty()).then(|| join(&date, ""))
}

fn join(date: &str, time: &str) -> String {
    match (date, time) {
        ("", "") => "PT0S".to_owned(),
        (date, "") => format!("P{date}"),
        (date, time) => format!("P{date}T{time}"),
    }
}

/// `-04:05:06.789`: the sign is that of all three parts.
fn clock(text: &str, out: &mut String) -> Option<()> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    for digits in [hours, minutes, seconds, fraction] {
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
    }
    let (hours, minutes, seconds): (u64, u64, u64) =
        (hours.parse().ok()?, minutes.parse().ok()?, seconds.parse().ok()?);
    let fraction = fraction.trim_end_matches('0');
    // Writing to a string cannot fail.
    if hours > 0 {
        let _ = write!(out, "{sign}{hours}H");
    }
    if minutes > 0 {
        let _ = write!(out, "{sign}{minutes}M");
    }
    if !fraction.is_empty() {
        let _ = write!(out, "{sign}{seconds}.{fraction}S");
    } else if seconds > 0 {
        let _ = write!(out, "{sign}{seconds}S");
    }
    Some(())
}

fn is_iso(text: &str) -> bool {
    let digits = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.');
    text.strip_prefix('P')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| digits(b) || b"YMWDTHS".contains(&b)))
}
