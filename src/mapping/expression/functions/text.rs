use super::{Fault, Val, arguments, want_text};
use crate::mapping::{
    expression::{field::shown_value, shown},
    moment::{parse, pattern},
};

fn of_text<'a>(
    function: &str,
    values: Vec<Val<'a>>,
    make: impl FnOnce(&str) -> String,
) -> Result<Val<'a>, Fault> {
    let [value] = arguments(values)?;
    Ok(make(want_text(function, &value)?).into())
}

pub(super) fn upper<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    of_text("upper", values, str::to_uppercase)
}

pub(super) fn lower<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    of_text("lower", values, str::to_lowercase)
}

pub(super) fn trim<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    of_text("trim", values, |text| text.trim().to_owned())
}

pub(super) fn replace<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, from, to] = arguments(values)?;
    let text = want_text("replace", &value)?;
    Ok(text.replace(want_text("replace", &from)?, want_text("replace", &to)?).into())
}

pub(super) fn split<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, by] = arguments(values)?;
    let (text, by) = (want_text("split", &value)?, want_text("split", &by)?);
    Ok(Val::List(text.split(by).map(|part| part.to_owned().into()).collect()))
}

/// `list.join(', ')`: of texts and whatever has a text.
pub(super) fn join<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let mut values = values.into_iter();
    let (list, by) = (values.next().unwrap_or(Val::Null), values.next());
    let by = by.as_ref().map_or(Ok(""), |by| want_text("join", by))?.to_owned();
    let items = list.into_items().map_err(|it| format!("`join` wants a list, but it is {}", it.kind()))?;
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(&by);
        }
        item.write_text(&mut out).map_err(|fault| format!("item {at} of the list: {}", fault.message))?;
    }
    Ok(out.into())
}

pub(super) fn contains<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, part] = arguments(values)?;
    Ok(want_text("contains", &value)?.contains(want_text("contains", &part)?).into())
}

pub(super) fn starts_with<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, part] = arguments(values)?;
    Ok(want_text("startsWith", &value)?.starts_with(want_text("startsWith", &part)?).into())
}

pub(super) fn ends_with<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, part] = arguments(values)?;
    Ok(want_text("endsWith", &value)?.ends_with(want_text("endsWith", &part)?).into())
}

/// `text.matches(pattern)` with a pattern that is only known now.
pub(super) fn matches<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, pattern] = arguments(values)?;
    let (text, pattern) = (want_text("matches", &value)?, want_text("matches", &pattern)?);
    let regex = regex::Regex::new(pattern).map_err(|error| format!("the pattern of `matches`: {error}"))?;
    Ok(regex.is_match(text).into())
}

/// `x.date('dd.MM.yyyy')`.
pub(super) fn date<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let [value, form] = arguments(values)?;
    let form = want_text("date", &form)?;
    let moment = match &value {
        Val::Time(moment) => Some(*moment),
        Val::Text(text) => parse::guess(text),
        _ => None,
    };
    let moment = moment.ok_or_else(|| {
        Fault::from(format!(
            "`date` wants a date or timestamp, but it is {}; text must look like 2024-05-01 or 2024-05-01T10:00:00Z",
            shown_value(&value)
        ))
    })?;
    Ok(pattern::format(&moment, form)?.into())
}

/// `x.phone()`: `+` and digits, as E.164 has it. `x.phone('+49')` gives numbers that begin with a
/// single 0 that country.
pub(super) fn phone<'a>(values: Vec<Val<'a>>) -> Result<Val<'a>, Fault> {
    let mut values = values.into_iter();
    let (value, country) = (values.next().unwrap_or(Val::Null), values.next());
    let text = match &value {
        Val::Text(text) => text.to_string(),
        Val::Int(int) => int.to_string(),
        other => return Err(format!("`phone` wants text, but it is {}", other.kind()).into()),
    };
    let country = country.as_ref().map(|it| want_text("phone", it)).transpose()?;
    Ok(normalised(&text, country)?.into())
}

fn normalised(text: &str, country: Option<&str>) -> Result<String, Fault> {
    let wrong = |why: &str| Fault::from(format!("{} is no phone number: {why}", shown(text)));
    let trimmed = text.trim();
    // The usual `+49 (0) 30 …`: the 0 is only dialled at home.
    let without_home = trimmed.replace("(0)", "");
    let written = if trimmed.starts_with('+') || trimmed.starts_with("00") { &without_home } else { trimmed };
    let mut digits = String::with_capacity(written.len());
    for (at, c) in written.chars().enumerate() {
        match c {
            '0'..='9' => digits.push(c),
            '+' if at == 0 => {}
            ' ' | '-' | '/' | '.' | '(' | ')' | '\u{a0}' | '\u{2011}' | '\u{2013}' => {}
            other => return Err(wrong(&format!("`{other}` does not belong there"))),
        }
    }
    let international = if written.starts_with('+') {
        Some(digits)
    } else if let Some(rest) = digits.strip_prefix("00") {
        Some(rest.to_owned())
    } else if let (Some(country), Some(rest)) = (country, digits.strip_prefix('0')) {
        let code = country.strip_prefix('+').unwrap_or(country);
        if code.is_empty() || code.len() > 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("`phone` wants a country such as '+49', not {}", shown(country)).into());
        }
        Some(format!("{code}{rest}"))
    } else {
        return match digits.len() {
            3..=15 => Ok(digits),
            _ => Err(wrong("it has too few or too many digits")),
        };
    };
    match international {
        Some(digits) if (6..=15).contains(&digits.len()) && !digits.starts_with('0') => {
            Ok(format!("+{digits}"))
        }
        _ => Err(wrong("it has too few or too many digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_become_digits() {
        for (text, country, expected) in [
            ("+49 30 1234567", None, Some("+49301234567")),
            ("+49 (0)30/1234-567", None, Some("+49301234567")),
            ("0049 30 1234567", None, Some("+49301234567")),
            (" 0049.30.1234567 ", Some("+1"), Some("+49301234567")),
            ("030 1234567", Some("+49"), Some("+49301234567")),
            ("030 1234567", Some("49"), Some("+49301234567")),
            ("(030) 1234567", Some("+49"), Some("+49301234567")),
            ("030 1234567", None, Some("0301234567")),
            ("555-0100", Some("+1"), Some("5550100")),
            ("+1 555 0100 ext 3", None, None),
            ("call me", None, None),
            ("", None, None),
            ("12", None, None),
            ("+12345", None, None),
            ("+1234567890123456", None, None),
            ("1234567890123456", None, None),
            ("+0 30 1234567", None, None),
            ("1+234567", None, None),
            ("030 1234567", Some("DE"), None),
        ] {
            assert_eq!(normalised(text, country).ok().as_deref(), expected, "{text} {country:?}");
        }
    }
}
