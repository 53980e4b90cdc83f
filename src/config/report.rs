//! Gathers what is wrong while a file is read, so that a person sees all of it at once.

use super::{
    problem::Problem,
    tree::{Area, Kind, Node, Segment, Spot, display},
};
use std::collections::{HashMap, HashSet};

/// The problems so far, and what may be shown of the file.
#[derive(Default)]
pub struct Report {
    problems: Vec<Problem>,
    /// Values that are not in the tree.
    dropped: Vec<Area>,
    /// Scalars that are known to hold no secret.
    visible: HashSet<Spot>,
    /// Scalars whose text came from the environment: what it became, and how it is written.
    interpolated: HashMap<Spot, (String, String)>,
}

impl Report {
    pub fn say(&mut self, area: Area, message: impl Into<String>) {
        let mut problem = Problem::new(area, message);
        // Somebody may have put the variable of a secret where none belongs (invariant 7).
        if let Some((text, written)) = self.interpolated.get(&area.start)
            && !text.is_empty()
        {
            let (text, written) = (format!("`{text}`"), format!("`{written}`"));
            problem.message = problem.message.replace(&text, &written);
        }
        self.problems.push(problem);
    }

    /// At the value behind the path, or the nearest one above it.
    pub fn say_at(&mut self, tree: &Node, path: &[Segment], message: impl Into<String>) {
        let (value, key) = tree.nearest(path);
        let is_scalar = tree_scalar(tree, path);
        self.say(if is_scalar { value } else { key }, message);
    }

    pub fn drop_value(&mut self, area: Area) {
        self.dropped.push(area);
    }

    pub fn show(&mut self, area: Area) {
        self.visible.insert(area.start);
    }

    pub fn came_from(&mut self, area: Area, text: &str, written: &str) {
        self.interpolated.insert(area.start, (text.to_owned(), written.to_owned()));
    }

    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The blocks, and the names in them, within which something is wrong.
    pub fn faulty(&self, tree: &Node) -> Faulty {
        let mut faulty = Vec::new();
        let Kind::Map(blocks) = &tree.kind else { return Faulty(faulty) };
        for block in blocks {
            let Kind::Map(parts) = &block.value.kind else { continue };
            for part in parts {
                let area = Area { start: part.area.start, end: part.value.area.end };
                if self.problems.iter().any(|it| area.start <= it.spot && it.spot <= area.end) {
                    faulty.push((block.key.clone(), part.key.clone()));
                }
            }
        }
        Faulty(faulty)
    }

    /// The problems, and the areas of all values that must not be shown.
    pub fn finish(self, tree: &Node) -> (Vec<Problem>, Vec<Area>) {
        let mut hidden = self.dropped;
        hide(tree, &self.visible, &mut hidden);
        (self.problems, hidden)
    }
}

/// The parts within which something is wrong: what they lack may have been taken out.
pub struct Faulty(Vec<(String, String)>);

impl Faulty {
    pub fn has(&self, block: &str, name: &str) -> bool {
        self.0.iter().any(|(b, n)| b == block && n == name)
    }
}

fn tree_scalar(tree: &Node, path: &[Segment]) -> bool {
    let node = path.iter().try_fold(tree, |node, segment| match (segment, &node.kind) {
        (Segment::Key(key), _) => node.entry(key).map(|it| &it.value),
        (Segment::Item(at), Kind::List(items)) => items.get(*at),
        _ => None,
    });
    node.is_some_and(|it| matches!(it.kind, Kind::Scalar(_)) && !it.is_empty())
}

fn hide(node: &Node, visible: &HashSet<Spot>, hidden: &mut Vec<Area>) {
    match &node.kind {
        Kind::Scalar(_) if node.is_empty() || visible.contains(&node.area.start) => {}
        Kind::Scalar(_) => hidden.push(node.area),
        Kind::List(items) => items.iter().for_each(|it| hide(it, visible, hidden)),
        Kind::Map(entries) => entries.iter().for_each(|it| hide(&it.value, visible, hidden)),
    }
}

/// `; did you mean `x`?` for the known name nearest to a wrong one, else nothing.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (wrong.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|it| (strsim::damerau_levenshtein(wrong, it), it));
    scored.filter(|(distance, _)| *distance <= allowed).min().map(|(_, it)| it)
}

/// Names in backticks: `` `a`, `b` ``.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

/// ` in remotes.bank`; nothing at the top.
pub fn within(path: &[Segment]) -> String {
    if path.is_empty() { String::new() } else { format!(" in {}", display(path)) }
}
