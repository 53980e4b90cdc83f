//! `${NAME}` and `${NAME:-default}` in a scalar.

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text with its variables replaced; what is put in is not looked at again. `$${` is a literal
/// `${`. The error says what is wrong and gives the byte at which the reference begins.
pub fn interpolate(text: &str, env: Environment<'_>) -> Result<String, (usize, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let start = text.len() - rest.len() + at;
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('}') else {
            return Err((start, "`${` without its `}`; write `$${` for a literal `${`".to_owned()));
        };
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        if !is_name(name) {
            let message = "`${…}` takes the name of an environment variable, such as `${DATABASE_URL}` or \
                           `${PORT:-5432}`; write `$${` for a literal `${`";
            return Err((start, message.to_owned()));
        }
        if default.is_some_and(|it| it.contains("${")) {
            return Err((start, format!("the default of `${{{name}}}` cannot hold another `${{…}}`")));
        }
        match (env(name), default) {
            (Some(value), Some(default)) if value.is_empty() => out.push_str(default),
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                let message = format!(
                    "the environment variable `{name}` is not set; set it, or give a default: `${{{name}:-…}}`"
                );
                return Err((start, message));
            }
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether the text is nothing but one reference without a default, which may be shown.
pub fn is_only_a_reference(text: &str) -> bool {
    text.strip_prefix("${").and_then(|it| it.strip_suffix('}')).is_some_and(is_name)
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(good) && name.starts_with(|c: char| !c.is_ascii_digit() && good(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "ODD" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in() {
        for (text, expected) in [
            ("plain $ text", "plain $ text"),
            ("${HOST}", "db"),
            ("a ${HOST} b ${HOST}", "a db b db"),
            ("${PORT:-5432}", "5432"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("$${HOST}", "${HOST}"),
            ("${HOST}$${HOST}", "db${HOST}"),
            ("${ODD}", "${HOST}"),
        ] {
            assert_eq!(interpolate(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_put_in_is_named_with_its_place() {
        for (text, at, part) in [
            ("ab${NONE}", 2, "`NONE` is not set"),
            ("${HOST", 0, "without its `}`"),
            ("${}", 0, "takes the name"),
            ("${1A}", 0, "takes the name"),
            ("é${HOST:x}", 2, "takes the name"),
            ("${NONE:-${HOST}}", 0, "cannot hold another"),
        ] {
            let (found, message) = interpolate(text, &env).expect_err(text);
            assert_eq!(found, at, "{text}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
