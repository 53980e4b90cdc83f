use super::{Form, Moment, Reading};
use std::{borrow::Cow, fmt::Write};

/// What a pattern may say, and what for.
pub(in crate::mapping) const KNOWN: &str = "`yyyy`, `yy`, `MM`, `dd`, `HH`, `mm`, `ss`, `SSS` (milliseconds), `SSSSSS` (microseconds) and 'quoted text'";

/// Prints a moment by a pattern such as `dd.MM.yyyy HH:mm`.
pub(in crate::mapping) fn format(moment: &Moment, pattern: &str) -> Result<String, String> {
    let Reading::Finite { year, month, day, hour, minute, second, micro } = moment.at else {
        return Err(format!("`{moment}` has no date to print"));
    };
    let mut out = String::with_capacity(pattern.len() + 8);
    for part in parts(pattern) {
        let part = part?;
        let dated = matches!(part, Part::Letters("yyyy" | "yy" | "MM" | "dd"));
        if dated && matches!(moment.form, Form::Time | Form::TimeTz(_)) {
            return Err("a time of day has no date".to_owned());
        }
        // Writing to a string cannot fail.
        let _ = match part {
            Part::Text(text) => out.write_str(&text),
            Part::Letters("yyyy") if year < 0 => write!(out, "-{:04}", -year),
            Part::Letters("yyyy") => write!(out, "{year:04}"),
            Part::Letters("yy") => write!(out, "{:02}", year.rem_euclid(100)),
            Part::Letters("MM") => write!(out, "{month:02}"),
            Part::Letters("dd") => write!(out, "{day:02}"),
            Part::Letters("HH") => write!(out, "{hour:02}"),
            Part::Letters("mm") => write!(out, "{minute:02}"),
            Part::Letters("ss") => write!(out, "{second:02}"),
            Part::Letters("SSS") => write!(out, "{:03}", micro / 1000),
            Part::Letters("SSSSSS") => write!(out, "{micro:06}"),
            Part::Letters(unknown) => return Err(unknown_letters(unknown)),
        };
    }
    Ok(out)
}

/// Whether the pattern can be used at all: for patterns known when the configuration is read.
pub(in crate::mapping) fn check(pattern: &str) -> Result<(), String> {
    const LETTERS: &[&str] = &["yyyy", "yy", "MM", "dd", "HH", "mm", "ss", "SSS", "SSSSSS"];
    for part in parts(pattern) {
        match part? {
            Part::Letters(letters) if !LETTERS.contains(&letters) => return Err(unknown_letters(letters)),
            _ => {}
        }
    }
    Ok(())
}

fn unknown_letters(letters: &str) -> String {
    format!("`{letters}` means nothing in a date pattern; there are {KNOWN}")
}

enum Part<'p> {
    Letters(&'p str),
    Text(Cow<'p, str>),
}

/// Runs of one letter, quoted text (`''` is a quote), and what lies between.
fn parts(pattern: &str) -> impl Iterator<Item = Result<Part<'_>, String>> {
    let mut rest = pattern;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (part, length) = if first == '\'' {
            let Some((text, length)) = quoted(rest) else {
                rest = "";
                return Some(Err("the quoted text in the date pattern has no closing quote".to_owned()));
            };
            (Part::Text(text), length)
        } else if first.is_ascii_alphabetic() {
            let length = rest.chars().take_while(|c| *c == first).count();
            (Part::Letters(&rest[..length]), length)
        } else {
            let length = rest.find(|c: char| c.is_ascii_alphabetic() || c == '\'').unwrap_or(rest.len());
            (Part::Text(Cow::Borrowed(&rest[..length])), length)
        };
        rest = &rest[length..];
        Some(Ok(part))
    })
}

/// The text that stands in quotes at the start, and how long it is with them.
fn quoted(pattern: &str) -> Option<(Cow<'_, str>, usize)> {
    if pattern.starts_with("''") {
        return Some((Cow::Borrowed("'"), 2));
    }
    let mut end = 1;
    loop {
        end += pattern.get(end..)?.find('\'')?;
        if !pattern[end..].starts_with("''") {
            break;
        }
        end += 2;
    }
    let text = &pattern[1..end];
    let text = if text.contains('\'') { Cow::Owned(text.replace("''", "'")) } else { Cow::Borrowed(text) };
    Some((text, end + 1))
}
