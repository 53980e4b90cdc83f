use super::Answer;

/// How many characters of a body a message shows.
const SHOWN: usize = 300;

impl Answer {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The first characters of the body on one line, for a message; empty for an empty body.
    pub fn excerpt(&self) -> String {
        match std::str::from_utf8(&self.body) {
            Ok(text) => one_line(text.trim(), SHOWN),
            Err(_) => format!("({} bytes that are not text)", self.body.len()),
        }
    }
}

/// At most `limit` characters, with every run of white space and control characters as one space.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    let mut left = limit;
    let mut blank = false;
    for c in text.chars() {
        let is_blank = c.is_whitespace() || c.is_control();
        if is_blank && blank {
            continue;
        }
        if left == 0 {
            line.push('…');
            break;
        }
        line.push(if is_blank { ' ' } else { c });
        blank = is_blank;
        left -= 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn an_excerpt_is_one_short_line() {
        let excerpt = |body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            Answer { body, ..Answer::default() }.excerpt()
        };
        assert_eq!(excerpt(b"{\n  \"error\":\t\"amount\"\n}\n"), "{ \"error\": \"amount\" }");
        assert_eq!(excerpt("é".repeat(1_000).as_bytes()), format!("{}…", "é".repeat(300)));
        assert_eq!(excerpt(&[0xff, 0, 1]), "(3 bytes that are not text)");
        assert_eq!(excerpt(b""), "");
    }
}
