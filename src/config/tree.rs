//! A YAML document as it was written: every key and value with its place.

/// A position in the file, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The first line is 1.
    pub line: usize,
    /// The first character is 1.
    pub column: usize,
}

/// From the first character to just behind the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    pub start: Spot,
    pub end: Spot,
}

/// A value.
#[derive(Clone, Debug)]
pub struct Node {
    pub area: Area,
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Text, as YAML read it: before interpolation and before it is taken for a number or the like.
#[derive(Clone, Debug)]
pub struct Scalar {
    pub text: String,
    pub style: Style,
}

/// How the text was written: only plain text may mean a number, a boolean or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    Block,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub area: Area,
    pub value: Node,
}

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Key(String),
    Item(usize),
}

impl Node {
    /// The entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|it| it.key == key),
            _ => None,
        }
    }

    /// Whether nothing is written here: `key:` or `key: {}`.
    pub fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Scalar(_) => self.area.start == self.area.end,
            Kind::List(items) => items.is_empty(),
            Kind::Map(entries) => entries.is_empty(),
        }
    }

    /// The value behind keys.
    pub fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| Some(&node.entry(key)?.value))
    }

    /// The keys of the mapping behind `path`.
    pub fn names(&self, path: &[&str]) -> Vec<&str> {
        match self.get(path).map(|it| &it.kind) {
            Some(Kind::Map(entries)) => entries.iter().map(|it| &*it.key).collect(),
            _ => Vec::new(),
        }
    }

    /// The area of the last value on the way that exists, and of the key that leads to it.
    pub fn nearest(&self, path: &[Segment]) -> (Area, Area) {
        let (mut node, mut key) = (self, self.area);
        for segment in path {
            let next = match (segment, &node.kind) {
                (Segment::Key(name), _) => node.entry(name).map(|it| (&it.value, it.area)),
                (Segment::Item(at), Kind::List(items)) => items.get(*at).map(|it| (it, it.area)),
                _ => None,
            };
            let Some(found) = next else { break };
            (node, key) = found;
        }
        (node.area, key)
    }

    /// Every value with its path, such as `entities.loan.upsert[0].body`, and the place of its
    /// first character.
    pub fn places(&self) -> Vec<(String, Spot)> {
        let mut found = Vec::new();
        collect(self, &mut String::new(), &mut found);
        found
    }
}

fn collect(node: &Node, path: &mut String, found: &mut Vec<(String, Spot)>) {
    let length = path.len();
    match &node.kind {
        Kind::Scalar(scalar) => {
            let mut spot = node.area.start;
            if scalar.style == Style::Quoted {
                spot.column += 1;
            }
            found.push((path.clone(), spot));
        }
        Kind::List(items) => {
            found.push((path.clone(), node.area.start));
            for (at, item) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                collect(item, path, found);
                path.truncate(length);
            }
        }
        Kind::Map(entries) => {
            found.push((path.clone(), node.area.start));
            for entry in entries {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&entry.key);
                collect(&entry.value, path, found);
                path.truncate(length);
            }
        }
    }
}

/// A path as people write it: `entities.loan.upsert[0].body`.
pub fn display(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(key),
            Segment::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Segment::Item(at) => text.push_str(&format!("[{at}]")),
        }
    }
    text
}
