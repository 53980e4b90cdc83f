//! What plain YAML text means, by the core schema of YAML 1.2; numbers stay exact.

use serde_json::{Number, Value};

/// The value of plain text; or why it has none that can be kept exactly.
pub fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(number) = in_base(text, "0x", 16).or_else(|| in_base(text, "0o", 8)) {
        return number;
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is a number that JSON cannot carry; put it in quotes"));
    }
    let Some((whole, fraction, exponent)) = decimal(digits) else {
        return Ok(Value::String(text.to_owned()));
    };
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(format!(
            "`{text}` may be text or a number: put it in quotes to keep its leading zeros, or leave them out"
        ));
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut json = format!("{sign}{whole}");
    match fraction {
        Some("") => json.push_str(".0"),
        Some(fraction) => json.push_str(&format!(".{fraction}")),
        None => {}
    }
    if let Some(exponent) = exponent {
        json.push_str(&format!("e{exponent}"));
    }
    match serde_json::from_str::<Number>(&json) {
        Ok(number) => Ok(Value::Number(number)),
        Err(_) => Err(format!("`{text}` is a number that JSON cannot carry; put it in quotes")),
    }
}

fn in_base(text: &str, prefix: &str, base: u32) -> Option<Result<Value, String>> {
    let digits =
        text.strip_prefix(prefix).filter(|it| !it.is_empty() && it.chars().all(|c| c.is_digit(base)))?;
    Some(match u64::from_str_radix(digits, base) {
        Ok(number) => Ok(number.into()),
        Err(_) => Err(format!("`{text}` is too large a number; put it in quotes")),
    })
}

/// The parts of `12`, `12.5`, `.5`, `12.`, `1.5e-3`; `None` for anything else.
fn decimal(text: &str) -> Option<(&str, Option<&str>, Option<&str>)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |it: &str| it.bytes().all(|b| b.is_ascii_digit());
    let some = !whole.is_empty() || fraction.is_some_and(|it| !it.is_empty());
    let power = exponent.is_none_or(|it| {
        let it = it.strip_prefix(['+', '-']).unwrap_or(it);
        !it.is_empty() && digits(it)
    });
    (some && digits(whole) && fraction.is_none_or(digits) && power).then_some((whole, fraction, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_means_what_the_core_schema_says() {
        for (text, json) in [
            ("", "null"),
            ("~", "null"),
            ("null", "null"),
            ("true", "true"),
            ("yes", "\"yes\""),
            ("5432", "5432"),
            ("-0", "-0"),
            ("+7", "7"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("12.50", "12.50"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("-.5e+3", "-0.5e+3"),
            ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
            ("1e3", "1e+3"),
            ("1.2.3", "\"1.2.3\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("10s", "\"10s\""),
            ("0x", "\"0x\""),
            (".", "\".\""),
            ("-", "\"-\""),
            ("e3", "\"e3\""),
            ("1e", "\"1e\""),
        ] {
            assert_eq!(resolve(text).expect(text).to_string(), json, "{text}");
        }
    }

    #[test]
    fn what_would_lose_something_is_refused() {
        for text in ["007", "-01", ".inf", "-.inf", ".nan", "0xFFFFFFFFFFFFFFFFF"] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
