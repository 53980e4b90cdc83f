//! The parser's complaints in plain words.

use crate::mapping::Kind;
use crate::mapping::expression::{Problem, shown};
use cel::ParseErrors;

/// The first complaint, which the others follow from.
pub(in crate::mapping::expression) fn problem(errors: ParseErrors, text: &str) -> Problem {
    let first = errors.errors.into_iter().next();
    let (message, (line, column)) = first.map_or_else(Default::default, |it| (it.msg, it.pos));
    let start = offset(text, line, column);
    let width = text[start..].chars().next().map_or(1, char::len_utf8);
    Problem { kind: Kind::Syntax, message: plain(&message, text, start), span: start..start + width }
}

fn plain(message: &str, text: &str, at: usize) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let rest = &text[at..];
    let next = rest.chars().next();
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if message.contains("'<EOF>'") || next.is_none() {
        return match message.strip_prefix("missing '").and_then(|it| it.split('\'').next()) {
            Some(wanted) => format!("the expression ends too early: `{wanted}` is missing"),
            None => "the expression ends too early".to_owned(),
        };
    }
    if message.starts_with("token recognition error") {
        return match next {
            Some('\'' | '"') => "this text has no closing quote, or an escape in it means nothing".to_owned(),
            Some('=') => "`=` is no operator; equality is `==`".to_owned(),
            Some('&') => "`&` is no operator; both of two is `&&`".to_owned(),
            Some('|') => "`|` is no operator; one of two is `||`".to_owned(),
            Some(c) if c.is_alphabetic() => {
                format!("`{c}` cannot stand in a name here; a column with such a name is `row['…']`")
            }
            Some(c) => format!("`{c}` does not belong here"),
            None => "the expression ends too early".to_owned(),
        };
    }
    match &*word {
        "and" => return "`and` is written `&&`".to_owned(),
        "or" => return "`or` is written `||`".to_owned(),
        "not" => return "`not` is written `!`".to_owned(),
        _ => {}
    }
    if let Some(name) = message.strip_prefix("reserved identifier: ") {
        return format!("`{name}` is a reserved word and no name");
    }
    if let Some(wanted) = message.strip_prefix("missing '").and_then(|it| it.split('\'').next()) {
        return format!("`{wanted}` is missing here");
    }
    if message.starts_with("Incomplete") {
        return "a part is missing: a condition is written `condition ? yes : no`".to_owned();
    }
    let unexpected = ["extraneous input", "mismatched input", "no viable alternative"];
    if unexpected.iter().any(|it| message.starts_with(it)) {
        let what = if word.is_empty() { next.map(String::from).unwrap_or_default() } else { word };
        return format!("{} does not belong here", shown(&what));
    }
    format!("it cannot be read: {message}")
}

/// The byte at a line, from 1, and a column as the parser counts it.
fn offset(text: &str, line: isize, column: isize) -> usize {
    let count = |n: isize| usize::try_from(n - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(count(line)).map(str::len).sum();
    let line = &text[before..];
    before + line.char_indices().nth(count(column)).map_or(line.len(), |(at, _)| at)
}
