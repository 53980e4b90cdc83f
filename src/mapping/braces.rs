use std::ops::Range;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Text as it is.
    Literal(&'t str),
    /// What stands between `{{` and `}}`.
    Expression(&'t str),
}

/// The `{{` that has no `}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unclosed(pub Range<usize>);

/// Splits a template into its parts.
///
/// The closing braces are found by balancing braces outside quotes, since CEL has map literals.
pub(super) fn split(text: &str) -> Result<Vec<Part<'_>>, Unclosed> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|open| at + open) {
        if open > at {
            parts.push(Part::Literal(&text[at..open]));
        }
        let length = closing(&text[open + 2..]).ok_or(Unclosed(open..open + 2))?;
        parts.push(Part::Expression(&text[open + 2..open + 2 + length]));
        at = open + 2 + length + 2;
    }
    if at < text.len() {
        parts.push(Part::Literal(&text[at..]));
    }
    Ok(parts)
}

/// The expression, if the whole text is exactly one.
pub(super) fn only<'t>(parts: &[Part<'t>]) -> Option<&'t str> {
    match parts {
        [Part::Expression(inner)] => Some(inner),
        _ => None,
    }
}

/// How long the expression is that `text` starts with, up to its `}}`.
fn closing(text: &str) -> Option<usize> {
    // All that matters here is ASCII, so bytes do; cuts are made at braces only.
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            b'"' | b'\'' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = text[at..].find('\n').map_or(bytes.len(), |end| at + end);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind the closing quote of the string literal that opens at `open`.
pub(super) fn string_end(bytes: &[u8], open: usize) -> Option<usize> {
    let quote = bytes[open];
    let triple = bytes.get(open..open + 3) == Some(&[quote; 3][..]);
    let fence = if triple { 3 } else { 1 };
    let raw = is_raw(bytes, open);
    let mut at = open + fence;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if !raw => at += 2,
            b if b == quote && (!triple || bytes.get(at..at + 3) == Some(&[quote; 3][..])) => {
                return Some(at + fence);
            }
            _ => at += 1,
        }
    }
    None
}

/// Whether the literal has the prefix `r`: backslashes mean themselves.
fn is_raw(bytes: &[u8], open: usize) -> bool {
    let word = bytes[..open].iter().rev().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    matches!(&bytes[open - word..open], b"r" | b"R" | [b'b' | b'B', b'r' | b'R'] | [b'r' | b'R', b'b' | b'B'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_closing_braces_are_found_behind_maps_and_strings() {
        for inner in [
            " a ",
            "{'a': {'b': 1}}['a']",
            " {'x': 1} ",
            "{'x': 1}",
            " '}}' ",
            r#" "\"}}" "#,
            r"'\\'",
            " '''it's }} fine''' ",
            r#" """a "b" }}""" "#,
            r" r'\' + '}}' ",
            " a // it's a comment\n + b ",
            "",
            " 'é}}' ",
        ] {
            let text = format!("x{{{{{inner}}}}}y}}}}");
            let expected = vec![Part::Literal("x"), Part::Expression(inner), Part::Literal("y}}")];
            assert_eq!(split(&text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn several_expressions_follow_one_another() {
        use Part::{Expression, Literal};
        assert_eq!(split("{{a}}{{b}} c"), Ok(vec![Expression("a"), Expression("b"), Literal(" c")]));
        assert_eq!(split(""), Ok(vec![]));
        assert_eq!(split("{ a }"), Ok(vec![Literal("{ a }")]));
    }

    #[test]
    fn an_expression_that_never_ends_is_pointed_at() {
        for text in ["ab{{ c", "ab{{ c }", "ab{{ '}}", "ab{{ {}}", "ab{{ // }}"] {
            assert_eq!(split(text), Err(Unclosed(2..4)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_split_without_loss(text in r#"([{}'"\\r/a\né]|\{\{|\}\})*"#) {
            if let Ok(parts) = split(&text) {
                let again: String = parts.iter().map(|part| match part {
                    Part::Literal(literal) => (*literal).to_owned(),
                    Part::Expression(inner) => format!("{{{{{inner}}}}}"),
                }).collect();
                prop_assert_eq!(again, text);
            }
        }
    }
}
