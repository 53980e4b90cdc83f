//! Whether what the remote holds is what it should. Pure.

use serde_json::Value;

/// One field in which they differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where it is in the object: `address.city`, `items[2]`; empty for the object as a whole.
    pub field: String,
    /// What it should be.
    pub here: Value,
    /// What it is; null if it is not there.
    pub there: Value,
}

/// Compares what is named `here`; more may be `there`. Null and missing are the same. Numbers are
/// compared as exact decimals, everything else by kind and value.
pub fn compare(here: &Value, there: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", here, there, &mut found);
    found
}

fn walk(field: &str, here: &Value, there: &Value, found: &mut Vec<Difference>) {
    let same = match (here, there) {
        (Value::Object(entries), Value::Object(others)) => {
            for (name, value) in entries {
                let below = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                walk(&below, value, others.get(name).unwrap_or(&Value::Null), found);
            }
            return;
        }
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            for (at, (item, other)) in items.iter().zip(others).enumerate() {
                walk(&format!("{field}[{at}]"), item, other, found);
            }
            return;
        }
        (Value::Number(one), Value::Number(other)) => digits(&one.to_string()) == digits(&other.to_string()),
        (one, other) => one == other,
    };
    if !same {
        let (here, there) = (here.clone(), there.clone());
        found.push(Difference { field: field.to_owned(), here, there });
    }
}

/// A JSON number of any length as its sign, its digits without zeros around them, and the power of
/// ten of the last one.
fn digits(number: &str) -> Option<(bool, String, i64)> {
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - kept.len()).ok()?;
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return Some((false, String::new(), 0));
    }
    let power: i64 = power.parse().ok()?;
    let places = i64::try_from(fraction.len()).ok()?;
    Some((negative, kept.to_owned(), power.checked_sub(places)?.checked_add(dropped)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn fields(here: &str, there: &str) -> Vec<String> {
        compare(&parsed(here), &parsed(there)).into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        for (here, there) in [
            ("1", "1.00"),
            ("100", "1e2"),
            ("0", "-0.0"),
            ("0.1", "1E-1"),
            ("12345678901234567890123456789012345678.50", "12345678901234567890123456789012345678.5"),
        ] {
            assert_eq!(fields(here, there), [""; 0], "{here} {there}");
        }
        for (here, there) in [("1", "1.01"), ("1", "-1"), ("10", "1"), ("0.3", "0.30000000000000004")] {
            assert_eq!(fields(here, there), [""], "{here} {there}");
        }
    }

    #[test]
    fn only_what_is_named_here_is_compared() {
        let there = r#"{"id": 7, "name": "x", "address": {"city": "Rome", "zip": "1"}, "tags": ["a", "b"]}"#;
        assert_eq!(
            fields(r#"{"name": "x", "address": {"city": "Rome"}, "tags": ["a", "b"]}"#, there),
            [""; 0]
        );
        assert_eq!(
            fields(r#"{"address": {"city": "Oslo"}, "tags": ["a", "c"]}"#, there),
            ["address.city", "tags[1]"]
        );
        assert_eq!(fields(r#"{"tags": ["a"], "name": {"first": "x"}}"#, there), ["tags", "name"]);
    }

    #[test]
    fn null_is_missing_and_no_kind_passes_for_another() {
        assert_eq!(fields(r#"{"a": null}"#, "{}"), [""; 0]);
        assert_eq!(
            fields(r#"{"a": "1", "b": true, "c": null}"#, r#"{"a": 1, "b": "true", "c": 0}"#),
            ["a", "b", "c"]
        );
        let found = compare(&json!({"a": "x"}), &json!({}));
        let expected = Difference { field: "a".to_owned(), here: json!("x"), there: Value::Null };
        assert_eq!(found, [expected]);
    }
}
