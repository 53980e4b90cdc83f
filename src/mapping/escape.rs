//! How values stand in URLs.

/// Which encoding a value gets where it stands in a text. The literal parts stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    #[default]
    None,
    /// Percent-encoded as one path segment: `/` too.
    Path,
    /// Form-encoded, as for a query or a form body.
    Query,
}

impl Escape {
    pub(super) fn write(self, text: &str, out: &mut String) {
        match self {
            Self::None => out.push_str(text),
            Self::Path => path(text, out),
            Self::Query => query(text, out),
        }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn path(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => percent(byte, out),
        }
    }
}

/// `application/x-www-form-urlencoded`.
pub(super) fn query(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => percent(byte, out),
        }
    }
}

fn percent(byte: u8, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(HEX[usize::from(byte >> 4)].into());
    out.push(HEX[usize::from(byte & 15)].into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_segment_or_parameter() {
        let written = |escape: Escape, text| {
            let mut out = String::new();
            escape.write(text, &mut out);
            out
        };
        assert_eq!(written(Escape::Path, "a/b ?é~"), "a%2Fb%20%3F%C3%A9~");
        assert_eq!(written(Escape::Query, "a b&c=d+~"), "a+b%26c%3Dd%2B%7E");
        assert_eq!(written(Escape::None, "a/b"), "a/b");
    }
}
