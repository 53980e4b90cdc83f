use super::{At, expression::Problem};
use std::fmt;

/// What went wrong with an expression or template: one message for a person.
#[derive(Clone, Debug)]
pub struct MappingError(Box<Told>);

#[derive(Clone, Debug)]
struct Told {
    kind: Kind,
    message: String,
    path: String,
    place: Option<String>,
    snippet: Option<Snippet>,
}

/// The line of the expression that is at fault, and the part of it.
#[derive(Clone, Debug)]
struct Snippet {
    line: String,
    /// In characters, from 0.
    start: usize,
    width: usize,
}

/// What sort of trouble a [`MappingError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The expression cannot be read.
    Syntax,
    /// A name, column, function or step that does not exist here.
    UnknownName,
    /// The expression is fine but failed on this row or answer.
    Evaluation,
    /// It needs a large value that the update did not touch, so Postgres did not send it.
    Unchanged,
    /// An answer's body was used as JSON and is none.
    NotJson,
}

impl MappingError {
    /// An error about a place of the configuration as a whole.
    pub fn new(kind: Kind, message: impl Into<String>, at: &At) -> Self {
        Self(Box::new(Told {
            kind,
            message: message.into(),
            path: at.path.clone(),
            place: at.place.as_ref().map(ToString::to_string),
            snippet: None,
        }))
    }

    /// An error about a part of a text that stands at a place of the configuration.
    pub(super) fn within(problem: Problem, source: &str, at: &At) -> Self {
        let Problem { kind, message, span } = problem;
        let mut error = Self::new(kind, message, at);
        error.0.snippet = Some(Snippet::of(source, span.start, span.end));
        error
    }

    /// What sort of trouble it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message on one line, without the caret.
    pub fn short(&self) -> String {
        let Told { path, place, message, .. } = &*self.0;
        let message = message.replace(['\n', '\r'], " ");
        match (path.is_empty(), place) {
            (true, None) => message,
            (true, Some(place)) => format!("{place}: {message}"),
            (false, None) => format!("{path}: {message}"),
            (false, Some(place)) => format!("{path} ({place}): {message}"),
        }
    }
}

impl Snippet {
    /// `start` and `end` are byte offsets; whatever they are, this does not panic.
    fn of(source: &str, start: usize, end: usize) -> Self {
        let start = floor(source, start);
        let end = floor(source, end).max(start);
        let from = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let to = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let line = source[from..to].trim_end();
        let indent = line.len() - line.trim_start().len();
        let shown = &line[indent..];
        let before = source[from..start].chars().count();
        let indent = line[..indent].chars().count();
        let width = source[start..end.min(to).max(start)].chars().count().max(1);
        Self { line: shown.to_owned(), start: before.saturating_sub(indent), width }
    }
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())?;
        if let Some(Snippet { line, start, width }) = &self.0.snippet {
            write!(f, "\n  | {line}\n  | {:start$}{:^<width$}", "", "")?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_part_that_is_wrong() {
        let problem = |start, end| Problem { kind: Kind::Syntax, message: "no".to_owned(), span: start..end };
        let at = crate::mapping::Locator::default().at("a.b");
        let told = |text: &str, start, end| MappingError::within(problem(start, end), text, &at).to_string();
        assert_eq!(told("row.amout", 4, 9), "a.b: no\n  | row.amout\n  |     ^^^^^");
        assert_eq!(told("'é' + x", 7, 8), "a.b: no\n  | 'é' + x\n  |       ^");
        assert_eq!(told("a +\n   bb", 7, 9), "a.b: no\n  | bb\n  | ^^");
        for start in 0..12 {
            for end in 0..12 {
                told("é\n\n ü x", start, end);
            }
        }
    }
}
