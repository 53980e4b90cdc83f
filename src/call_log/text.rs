use bytes::Bytes;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, fmt, ops::Deref};

/// A text that shares its memory with what was sent or received: a body is not copied only to be written down.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// These bytes, if they are one.
    pub fn of(bytes: &Bytes) -> Option<Self> {
        std::str::from_utf8(bytes).is_ok().then(|| Self(bytes.clone()))
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// It has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text. Its bytes are looked through for it, so what does without is quicker.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Leaves out what stands behind so many bytes, and the rest of a character that is cut through.
    pub(super) fn cut(&mut self, limit: usize) {
        if self.len() > limit {
            self.0.truncate(self.as_str().floor_char_boundary(limit));
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_text_becomes_one_and_it_ends_behind_a_whole_character() {
        assert_eq!(Text::of(&Bytes::from_static(b"\xff")), None);
        let mut text = Text::of(&Bytes::from_static("aää".as_bytes())).expect("a text");
        text.cut(5);
        assert_eq!(text.as_str(), "aää");
        text.cut(4);
        assert_eq!((text.as_str(), text.len()), ("aä", 3));
        text.cut(0);
        assert!(text.is_empty());
    }

    #[test]
    fn it_is_written_and_read_as_a_text() {
        let text = Text::from("a \"b\"");
        let json = serde_json::to_string(&text).expect("JSON");
        assert_eq!(json, r#""a \"b\"""#);
        assert_eq!(serde_json::from_str::<Text>(&json).expect("a text"), text);
    }
}
