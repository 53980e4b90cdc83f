use super::{Malformed, write_json};
use crate::model::Type;
use std::borrow::Cow;

const MALFORMED: Malformed = Malformed("an array");
/// As deep as Postgres lets arrays be.
const DIMENSIONS: usize = 6;

/// `{1,2,NULL,"a b"}`, `{{1,2},{3,4}}`, `[0:1]={1,2}` as nested JSON arrays.
pub(super) fn write(element: &Type, delimiter: char, text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = text;
    if rest.starts_with('[') {
        // The bounds say where the array's own indexes begin, which JSON has no word for.
        rest = rest.split_once("]={").map(|(bounds, _)| &rest[bounds.len() + 2..]).ok_or(MALFORMED)?;
    }
    let mut array = Array { element, delimiter, rest };
    array.dimension(DIMENSIONS, out)?;
    if array.rest.is_empty() { Ok(()) } else { Err(MALFORMED) }
}

struct Array<'t> {
    element: &'t Type,
    delimiter: char,
    rest: &'t str,
}

impl<'t> Array<'t> {
    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn dimension(&mut self, deeper: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if deeper == 0 || !self.take('{') {
            return Err(MALFORMED);
        }
        out.push(b'[');
        if !self.take('}') {
            loop {
                match self.rest.chars().next() {
                    Some('{') => self.dimension(deeper - 1, out)?,
                    Some('"') => {
                        let text = self.quoted()?;
                        write_json(self.element, &text, out)?;
                    }
                    _ => match self.bare()? {
                        "NULL" => out.extend_from_slice(b"null"),
                        text => write_json(self.element, text, out)?,
                    },
                }
                if self.take('}') {
                    break;
                }
                if !self.take(self.delimiter) {
                    return Err(MALFORMED);
                }
                out.push(b',');
            }
        }
        out.push(b']');
        Ok(())
    }

    fn bare(&mut self) -> Result<&'t str, Malformed> {
        let end = self.rest.find([self.delimiter, '}', '"', '{']).ok_or(MALFORMED)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        if text.is_empty() { Err(MALFORMED) } else { Ok(text) }
    }

    /// An element in quotes, where a backslash makes the next character plain.
    fn quoted(&mut self) -> Result<Cow<'t, str>, Malformed> {
        let inner = &self.rest[1..];
        let end = inner.find(['"', '\\']).ok_or(MALFORMED)?;
        if inner.as_bytes()[end] == b'"' {
            self.rest = &inner[end + 1..];
            return Ok(Cow::Borrowed(&inner[..end]));
        }
        let mut plain = inner[..end].to_owned();
        let mut characters = inner[end..].char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &inner[end + at + 1..];
                    return Ok(Cow::Owned(plain));
                }
                '\\' => plain.push(characters.next().ok_or(MALFORMED)?.1),
                c => plain.push(c),
            }
        }
        Err(MALFORMED)
    }
}
