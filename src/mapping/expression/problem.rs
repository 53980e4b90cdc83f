use crate::mapping::Kind;
use std::ops::Range;

/// What went wrong and which part of the expression it concerns; the place is added further out.
#[derive(Clone, Debug)]
pub(in crate::mapping) struct Problem {
    pub kind: Kind,
    pub message: String,
    /// Bytes of the expression's text.
    pub span: Range<usize>,
}

/// What went wrong in an operator or function, which do not know where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mapping) struct Fault {
    pub kind: Kind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn at(self, span: Range<usize>) -> Problem {
        Problem { kind: self.kind, message: self.message, span }
    }
}

/// The expression is fine but failed on these values.
impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::new(Kind::Evaluation, message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Self::new(Kind::Evaluation, message)
    }
}

/// A value as messages show it: quoted, and short.
pub(in crate::mapping) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}

/// The known name that was probably meant.
pub(in crate::mapping) fn nearest<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
    let best = known.into_iter().map(|other| (distance(other), other)).min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1)).map(|(_, other)| other)
}
