//! What is wrong with a configuration, and how it is shown: all of it at once, each with its line.

use super::tree::{Area, Spot};
use std::fmt;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub spot: Spot,
    pub message: String,
    /// Found before there is a tree: nothing is known of what the line holds.
    pub blind: bool,
}

impl Problem {
    pub fn new(area: Area, message: impl Into<String>) -> Self {
        Self { spot: area.start, message: message.into(), blind: false }
    }

    pub fn blind(spot: Spot, message: impl Into<String>) -> Self {
        Self { spot, message: message.into(), blind: true }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read at all.
    #[error("cannot read the configuration {file}: {cause}; `--config` names another file")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Everything that is wrong in the file, in line order.
    #[error("{0}")]
    Wrong(Problems),
}

/// The problems of a file, ready to be read by a person. Holds no secret (invariant 7).
#[derive(Debug)]
pub struct Problems {
    file: String,
    shown: Vec<Shown>,
}

#[derive(Debug)]
struct Shown {
    spot: Spot,
    message: String,
    line: String,
    caret: usize,
}

impl Problems {
    /// Sorts, and keeps of each source line what may be seen: `visible` are the areas of values
    /// known to hold no secret, `hidden` those of all others.
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>, hidden: &[Area]) -> Self {
        problems.sort_by_key(|it| it.spot);
        problems.dedup();
        let lines: Vec<&str> = text.lines().collect();
        let shown = problems.into_iter().map(|problem| {
            let line = problem.spot.line.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or("");
            let cut = if problem.blind { guess_cut(line) } else { known_cut(problem.spot.line, hidden) };
            let (line, caret) = cut_line(line, cut, problem.spot.column);
            Shown { spot: problem.spot, message: problem.message, line, caret }
        });
        Self { file: file.to_owned(), shown: shown.collect() }
    }

    /// The messages with their places, without the source lines.
    pub fn messages(&self) -> impl Iterator<Item = (Spot, &str)> {
        self.shown.iter().map(|it| (it.spot, &*it.message))
    }
}

/// How many characters of the line come before the first hidden value.
fn known_cut(line: usize, hidden: &[Area]) -> Option<usize> {
    let on_line = hidden.iter().filter(|it| it.start.line <= line && line <= it.end.line);
    on_line.map(|it| if it.start.line == line { it.start.column - 1 } else { 0 }).min()
}

/// The same for a line that could not be read as YAML: only lines with a key whose name sounds
/// harmless are shown whole.
fn guess_cut(line: &str) -> Option<usize> {
    const SUSPICIOUS: &[&str] =
        &["url", "token", "pass", "secret", "value", "key", "auth", "bearer", "basic", "cookie", "://"];
    let lower = line.to_lowercase();
    match line.find(':') {
        Some(_) if !SUSPICIOUS.iter().any(|it| lower.contains(it)) => None,
        Some(colon) => Some(line[..colon].chars().count() + 1),
        None => Some(0),
    }
}

/// The line up to the cut, and how far in the caret stands.
fn cut_line(line: &str, cut: Option<usize>, column: usize) -> (String, usize) {
    let wanted = column.saturating_sub(1);
    let Some(cut) = cut.filter(|cut| *cut < line.chars().count()) else {
        return (line.trim_end().to_owned(), wanted.min(line.chars().count()));
    };
    let mut kept: String = line.chars().take(cut).collect();
    if !kept.is_empty() && !kept.ends_with(' ') {
        kept.push(' ');
    }
    let caret = wanted.min(kept.chars().count());
    (kept + crate::model::MASK, caret)
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Shown { spot, message, line, caret } in &self.shown {
            writeln!(f, "{}:{}:{}: {message}", self.file, spot.line, spot.column)?;
            if !line.trim().is_empty() && !line.starts_with('#') {
                // Tabs stay tabs, so that the caret stands where the eye expects it.
                let indent: String =
                    line.chars().take(*caret).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                writeln!(f, "    {line}\n    {indent}^")?;
            }
        }
        match self.shown.len() {
            1 => write!(f, "1 error in {}", self.file),
            many => write!(f, "{many} errors in {}", self.file),
        }
    }
}
