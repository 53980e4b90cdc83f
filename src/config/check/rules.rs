//! Data rules: names that must be told apart and entities that must exist.

use super::{Check, MAX_NAME};
use crate::{
    config::{
        report::{did_you_mean, quoted},
        tree::Segment,
    },
    model::DataRules,
};

impl Check<'_> {
    /// `path` is where they stand; `entity` says that it is within one.
    pub(super) fn rules(&mut self, path: &[&str], rules: &DataRules, entity: bool) {
        let known = self.tree.names(&["entities"]);
        let mut seen: Vec<&str> = Vec::new();
        for (index, rule) in rules.validate.iter().enumerate() {
            let name = &rule.name;
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
            let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
            if !starts || !name.chars().all(good) || name.len() > MAX_NAME {
                let message = format!(
                    "`{name}` cannot be the name of a rule: use at most {MAX_NAME} of a–z, 0–9, `_` and `-`, \
                     beginning with a letter"
                );
                self.say_of(path, index, "name", message);
            } else if seen.contains(&name.as_str()) {
                self.say_of(path, index, "name", format!("there are two rules `{name}` here"));
            }
            seen.push(name);
            let Some(entities) = &rule.entities else { continue };
            if entity {
                let message = "a rule within an entity is about that one: take `entities` out";
                self.say_of(path, index, "entities", message.to_owned());
                continue;
            }
            for entity in entities.iter().filter(|it| !known.contains(&it.as_str())) {
                let message = match did_you_mean(entity, known.iter().copied()) {
                    Some(meant) => format!("there is no entity `{entity}`; did you mean `{meant}`?"),
                    None => {
                        format!("there is no entity `{entity}`; known are {}", quoted(known.iter().copied()))
                    }
                };
                self.say_of(path, index, "entities", message);
            }
        }
    }

    fn say_of(&mut self, path: &[&str], index: usize, key: &str, message: String) {
        let key_of = |it: &str| Segment::Key(it.to_owned());
        let mut full: Vec<Segment> = path.iter().map(|it| key_of(it)).collect();
        full.extend([key_of("validate"), Segment::Item(index), key_of(key)]);
        self.report.say_at(self.tree, &full, message);
    }
}
