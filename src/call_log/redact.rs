//! What is taken out of a record before it leaves the process (invariant 7).
//!
//! What proves who we are is not in a record to begin with: a remote shows its requests without it.
//! Here goes what only the configuration can know: headers, places in JSON and form bodies, and
//! patterns in any text.

use super::{Content, Record};
use crate::model::{MASK, Redact};
use regex::Regex;
use serde_json::Value;
use std::borrow::Cow;

/// What is wrong with the settings: which list, which entry, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{list}[{at}]: {message}")]
pub struct RedactError {
    /// `headers`, `paths` or `patterns`.
    pub list: &'static str,
    /// The place in it.
    pub at: usize,
    /// What is wrong with it.
    pub message: String,
}

/// The settings, ready for use.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    headers: Vec<String>,
    paths: Vec<Vec<Segment>>,
    patterns: Vec<Regex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    /// Any one name or item.
    Any,
    /// Any number of them, also none.
    Deep,
}

/// Masked whatever is configured.
const ALWAYS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "webhook-signature",
];

/// What stands in place of a body in which the paths cannot be looked for.
const UNREADABLE: &str = "*** (not readable as JSON, so what `redact.paths` names could not be found in it)";

impl Redaction {
    /// Reads the settings of all that applies.
    pub fn new<'a>(settings: impl IntoIterator<Item = &'a Redact>) -> Result<Self, RedactError> {
        let mut all = Self::default();
        for Redact { headers, paths, patterns } in settings {
            all.headers.extend(headers.iter().cloned());
            for (at, path) in paths.iter().enumerate() {
                let path = segments(path).map_err(|message| RedactError { list: "paths", at, message })?;
                all.paths.push(path);
            }
            for (at, pattern) in patterns.iter().enumerate() {
                let wrong = |error: regex::Error| RedactError {
                    list: "patterns",
                    at,
                    message: format!("it is no regular expression: {error}"),
                };
                let regex = Regex::new(pattern).map_err(wrong)?;
                if regex.is_match("") {
                    let message = "it matches nothing at all, and so everything".to_owned();
                    return Err(RedactError { list: "patterns", at, message });
                }
                all.patterns.push(regex);
            }
        }
        Ok(all)
    }

    /// Takes out of a record what it must not hold, and cuts its bodies at so many bytes.
    pub fn apply(&self, record: &mut Record<'_>, limit: usize) {
        self.content(&mut record.request, limit);
        if let Some(response) = &mut record.response {
            self.content(&mut response.content, limit);
        }
        self.mask(&mut record.url);
        if let Some(error) = &mut record.error {
            self.mask(error);
        }
    }

    fn content(&self, content: &mut Content, limit: usize) {
        content.headers.replace(|name, value| {
            let mut masked = ALWAYS.iter().copied().chain(self.headers.iter().map(String::as_str));
            match masked.any(|it| it.eq_ignore_ascii_case(name)) {
                true => Some(MASK.to_owned()),
                false => self.masked(value),
            }
        });
        if !self.paths.is_empty() && !content.base64 {
            let kind = content.header("content-type").unwrap_or_default();
            if kind.contains("form-urlencoded") {
                content.body = self.form(&content.body).into();
            } else if content.body.trim_start().starts_with(['{', '[']) {
                content.body = self.json(&content.body).into();
            }
        }
        if let Some(masked) = self.patterns.first().and_then(|_| self.masked(&content.body)) {
            content.body = masked.into();
        }
        content.body.cut(limit);
    }

    fn json(&self, body: &str) -> String {
        let Ok(mut value) = serde_json::from_str::<Value>(body) else { return UNREADABLE.to_owned() };
        let mut masked = false;
        for path in &self.paths {
            masked |= mask(&mut value, path);
        }
        if masked { value.to_string() } else { body.to_owned() }
    }

    fn form(&self, body: &str) -> String {
        let fields = body.split('&').map(|field| {
            let Some((name, _)) = field.split_once('=') else { return field.to_owned() };
            let plain = form_urlencoded::parse(name.as_bytes()).next().map(|it| it.0.into_owned());
            let is = |path: &Vec<Segment>| match path.as_slice() {
                [Segment::Name(wanted)] | [Segment::Deep, Segment::Name(wanted)] => {
                    plain.as_ref() == Some(wanted)
                }
                _ => false,
            };
            if self.paths.iter().any(is) { format!("{name}={MASK}") } else { field.to_owned() }
        });
        fields.collect::<Vec<_>>().join("&")
    }

    fn mask(&self, text: &mut String) {
        if let Some(masked) = self.masked(text) {
            *text = masked;
        }
    }

    /// The text without what the patterns match; `None` if that is nothing.
    fn masked(&self, text: &str) -> Option<String> {
        self.patterns.iter().fold(None, |masked, pattern| {
            let text = masked.as_deref().unwrap_or(text);
            match pattern.replace_all(text, MASK) {
                Cow::Owned(text) => Some(text),
                Cow::Borrowed(_) => masked,
            }
        })
    }
}

fn segments(path: &str) -> Result<Vec<Segment>, String> {
    let path = path.strip_prefix("$.").unwrap_or(path);
    let segment = |text: &str| match text {
        "" => Err("a part of it is empty: write names with dots between, such as `customer.ssn`".to_owned()),
        "*" => Ok(Segment::Any),
        "**" => Ok(Segment::Deep),
        name => Ok(Segment::Name(name.to_owned())),
    };
    let segments = path.split('.').map(segment).collect::<Result<Vec<_>, _>>()?;
    match segments.last() {
        Some(Segment::Deep) => Err("it ends in `**`, which names nothing".to_owned()),
        _ => Ok(segments),
    }
}

/// Masks what the path leads to; whether that was there.
fn mask(value: &mut Value, path: &[Segment]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        *value = Value::from(MASK);
        return true;
    };
    let each = |value: &mut Value, path: &[Segment]| -> bool {
        let mut masked = false;
        match value {
            Value::Object(entries) => entries.values_mut().for_each(|it| masked |= mask(it, path)),
            Value::Array(items) => items.iter_mut().for_each(|it| masked |= mask(it, path)),
            _ => {}
        }
        masked
    };
    match first {
        Segment::Name(name) => {
            let index = name.parse::<usize>().ok();
            let inner = match value {
                Value::Object(entries) => entries.get_mut(name),
                Value::Array(items) => index.and_then(|at| items.get_mut(at)),
                _ => None,
            };
            inner.is_some_and(|it| mask(it, rest))
        }
        Segment::Any => each(value, rest),
        Segment::Deep => {
            let here = mask(value, rest);
            each(value, path) || here
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn redaction(headers: &[&str], paths: &[&str], patterns: &[&str]) -> Result<Redaction, RedactError> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Redaction::new([&Redact { headers: owned(headers), paths: owned(paths), patterns: owned(patterns) }])
    }

    fn body(redaction: &Redaction, kind: &str, body: &str) -> String {
        let mut content =
            Content::new([("content-type", kind)].into(), &Bytes::copy_from_slice(body.as_bytes()));
        redaction.content(&mut content, 1_000);
        content.body.to_string()
    }

    #[test]
    fn places_in_bodies_are_masked_and_nothing_else_is() {
        let it =
            redaction(&[], &["customer.ssn", "$.items.*.iban", "**.password", "list.1"], &[]).expect("fine");
        let json = r#"{"customer":{"ssn":"1","name":"n"},"items":[{"iban":1.50},{"x":1}],"a":{"b":[{"password":{"x":1}}]},"list":[1,2]}"#;
        assert_eq!(
            body(&it, "application/json", json),
            r#"{"customer":{"ssn":"***","name":"n"},"items":[{"iban":"***"},{"x":1}],"a":{"b":[{"password":"***"}]},"list":[1,"***"]}"#
        );
        assert_eq!(body(&it, "application/json", r#"{ "n": 1.10 }"#), r#"{ "n": 1.10 }"#, "as it was");
        assert_eq!(body(&it, "application/json", r#"{"customer":{"ssn":"1""#), UNREADABLE);
        let form = "application/x-www-form-urlencoded";
        assert_eq!(body(&it, form, "password=a%20b&x=1&customer.ssn=2"), "password=***&x=1&customer.ssn=2");
        assert_eq!(body(&it, "text/plain", "password"), "password");
    }

    #[test]
    fn headers_and_patterns_are_masked_wherever_they_stand() {
        let it = redaction(&["X-Tenant"], &[], &["sk_[a-z0-9]+"]).expect("fine");
        let headers = [("x-tenant", "t"), ("Cookie", "c"), ("x", "a sk_12 b"), ("y", "z")];
        let mut content = Content::new(headers.into(), &Bytes::from_static(b"{\"key\":\"sk_abc\"}"));
        it.content(&mut content, 1_000);
        let values: Vec<&str> = content.headers.iter().map(|(_, value)| value).collect();
        assert_eq!(
            (values, content.body.as_str()),
            (vec!["***", "***", "a *** b", "z"], "{\"key\":\"***\"}")
        );
    }

    #[test]
    fn a_body_is_cut_behind_a_whole_character_once_it_is_masked() {
        let it = redaction(&[], &["a"], &[]).expect("fine");
        let mut content =
            Content::new([].into(), &Bytes::from_static("{\"b\":\"ääää\",\"a\":\"secret\"}".as_bytes()));
        it.content(&mut content, 8);
        assert_eq!((content.body.as_str(), content.size, content.is_cut()), ("{\"b\":\"ä", 29, true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (paths, patterns, wrong) in [
            (&["a..b"][..], &[][..], "paths[0]: a part of it is empty"),
            (&["a", "a.**"][..], &[], "paths[1]: it ends in `**`"),
            (&[], &["("][..], "patterns[0]: it is no regular expression"),
            (&[], &["x*"][..], "patterns[0]: it matches nothing at all"),
        ] {
            let error = redaction(&[], paths, patterns).expect_err(wrong);
            assert!(error.to_string().starts_with(wrong), "{error}");
        }
    }

    proptest! {
        /// Wherever a secret stands below a name that is masked at any depth, it does not come through.
        #[test]
        fn no_depth_hides_a_secret(path in prop::collection::vec("[a-z]{1,3}", 0..6), array in any::<bool>()) {
            let it = redaction(&[], &["**.pin"], &[]).expect("fine");
            let mut value = serde_json::json!({ "pin": "s3cret" });
            for name in path {
                value = if array { serde_json::json!([1, { name: value }]) } else { serde_json::json!({ name: value }) };
            }
            prop_assert!(!body(&it, "application/json", &value.to_string()).contains("s3cret"));
        }
    }
}
