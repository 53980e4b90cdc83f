use super::shared::shared_by;
use memchr::memchr;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt, sync::Arc};

/// Names and values of header fields, as they came. All of them are one piece of memory, which clones share:
/// an answer has several, and is kept whole.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Arc<str>);

impl Headers {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        let mut part = move || {
            let end = memchr(b'\n', rest.as_bytes())?;
            let part = &rest[..end];
            rest = &rest[end + 1..];
            Some(part)
        };
        std::iter::from_fn(move || Some((part()?, part()?)))
    }

    /// The first value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names and values by turns, each with a line break behind it.
    pub fn lines(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts other values in place of those that `other` has one for.
    pub fn replace(&mut self, mut other: impl FnMut(&str, &str) -> Option<String>) {
        let mut others = Vec::new();
        for (at, (name, value)) in self.iter().enumerate() {
            others.extend(other(name, value).map(|it| (at, it)));
        }
        if !others.is_empty() {
            let mut others = others.iter().peekable();
            let new = self.iter().enumerate().map(|(at, (name, value))| {
                let other = others.next_if(|(place, _)| *place == at);
                (name, other.map_or(value, |(_, other)| other.as_str()))
            });
            *self = new.collect();
        }
    }
}

/// A header field has no line break; where a text has one, it becomes a space.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self(shared_by(|text| {
            for (name, value) in fields {
                for part in [name.as_ref(), value.as_ref()] {
                    match memchr(b'\n', part.as_bytes()) {
                        None => text.push_str(part),
                        Some(_) => text.push_str(&part.replace('\n', " ")),
                    }
                    text.push('\n');
                }
            }
        }))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Headers {
    fn from(fields: [(&str, &str); N]) -> Self {
        fields.into_iter().collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<(String, String)>::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<(String, String)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_its_order() {
        let fields = [("etag", "7"), ("x-empty", ""), ("etag", "8"), ("", "nameless")];
        let headers = Headers::from(fields);
        assert_eq!(headers.iter().collect::<Vec<_>>(), fields);
        assert_eq!((headers.get("ETag"), headers.get("none")), (Some("7"), None));
        assert!(
            !headers.is_empty()
                && Headers::default().is_empty()
                && Headers::default().iter().next().is_none()
        );
        assert_eq!(Headers::from([]), Headers::default());
        let broken = Headers::from([("a\nb", "1\n\n2")]);
        assert_eq!(broken.iter().collect::<Vec<_>>(), [("a b", "1  2")]);
    }

    #[test]
    fn they_are_written_as_a_list_of_pairs() {
        let headers = Headers::from([("a", "1"), ("b", "\"2\"")]);
        let json = serde_json::to_string(&headers).expect("JSON");
        assert_eq!(json, r#"[["a","1"],["b","\"2\""]]"#);
        assert_eq!(serde_json::from_str::<Headers>(&json).expect("headers"), headers);
    }

    #[test]
    fn only_some_values_are_replaced() {
        let mut headers = Headers::from([("a", "1"), ("b", "2")]);
        headers.replace(|_, _| None);
        headers.replace(|name, value| (name == "b").then(|| format!("not {value}")));
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "not 2")]);
    }
}
