use std::{collections::HashMap, fmt, sync::Arc};

/// A position in a configuration file: of a scalar's first character, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where each path of the configuration stands in its file. Empty where there is no file.
#[derive(Clone, Debug, Default)]
pub struct Locator(Arc<HashMap<String, Place>>);

impl Locator {
    /// The place of a path, with the way to find the places below it.
    pub fn at(&self, path: impl Into<String>) -> At {
        let path = path.into();
        At { place: self.0.get(&path).cloned(), path, locator: self.clone() }
    }
}

impl FromIterator<(String, Place)> for Locator {
    fn from_iter<I: IntoIterator<Item = (String, Place)>>(places: I) -> Self {
        Self(Arc::new(places.into_iter().collect()))
    }
}

/// Where a template stands in the configuration: for messages.
#[derive(Clone, Debug, Default)]
pub struct At {
    /// `entities.loan.upsert[0].body.amount`.
    pub path: String,
    /// The same place in the file, where there is one.
    pub place: Option<Place>,
    locator: Locator,
}

impl At {
    /// The entry of an object that stands here.
    pub fn child(&self, key: &str) -> At {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.locator.at(path)
    }

    /// The entry of a list that stands here.
    pub fn index(&self, index: usize) -> At {
        self.locator.at(format!("{}[{index}]", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_find_their_own_place_in_the_file() {
        let place = |line| Place { file: "rowcall.yaml".into(), line, column: 5 };
        let locator: Locator =
            [("a".to_owned(), place(1)), ("a.b[1]".to_owned(), place(3))].into_iter().collect();
        let a = locator.at("a");
        assert_eq!(a.place, Some(place(1)));
        let deep = a.child("b").index(1);
        assert_eq!((deep.path.as_str(), deep.place), ("a.b[1]", Some(place(3))));
        assert_eq!(a.child("c").place, None);
        assert_eq!(At::default().child("x").path, "x");
    }
}
