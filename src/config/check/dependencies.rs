//! `depends_on`: what an entity waits for must exist, be reachable, and not wait for it in turn.

use super::{Check, did_you_mean, quoted};
use crate::routing::EntitySettings;
use std::collections::BTreeMap;

type Entities = BTreeMap<String, EntitySettings>;

impl Check<'_> {
    pub(super) fn dependencies(&mut self, entities: &Entities) {
        let known: Vec<String> = self.tree.names(&["entities"]).into_iter().map(str::to_owned).collect();
        for (name, entity) in entities {
            for parent in entity.depends_on.keys() {
                let path = ["entities", name, "depends_on", parent];
                if !known.contains(parent) {
                    let known = known.iter().map(String::as_str);
                    let hint = match did_you_mean(parent, known.clone()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("known are {}", quoted(known)),
                    };
                    self.say(&path, format!("there is no entity `{parent}`; {hint}"));
                } else if let Some(it) = entities.get(parent) {
                    self.reachable(&path, (name, entity), (parent, it));
                }
            }
            if let Some(cycle) = cycle(name, entities) {
                let message = format!(
                    "the entities wait for each other: {}; take one of these out of its `depends_on`",
                    cycle.join(" → ")
                );
                self.say(&["entities", name, "depends_on", cycle[1]], message);
            }
        }
    }

    fn reachable(
        &mut self,
        path: &[&str],
        (name, entity): (&str, &EntitySettings),
        (parent, it): (&str, &EntitySettings),
    ) {
        if let (Some(ours), Some(theirs)) = (&entity.source, &it.source)
            && ours != theirs
        {
            let message = format!(
                "`{parent}` is in source `{theirs}` and `{name}` in `{ours}`: only an entity of the same source can \
                 be waited for"
            );
            return self.say(path, message);
        }
        for remote in entity.remotes.iter().filter(|remote| !it.remotes.contains(remote)) {
            let message = format!(
                "`{name}` is kept at remote `{remote}` and `{parent}` is not, so it would be waited for in vain: add \
                 `{remote}` to `entities.{parent}.remotes`, or take the dependency out"
            );
            self.say(path, message);
        }
    }
}

/// The way from an entity back to itself over others. Each cycle is found from its first name only.
/// That an entity depends on rows of its own is none.
fn cycle<'e>(start: &'e str, entities: &'e Entities) -> Option<Vec<&'e str>> {
    fn walk<'e>(
        start: &str,
        way: &mut Vec<&'e str>,
        seen: &mut Vec<&'e str>,
        entities: &'e Entities,
    ) -> bool {
        let Some(last) = way.last().and_then(|it| entities.get(*it)) else { return false };
        for next in last.depends_on.keys().map(String::as_str) {
            if next == start && way.len() > 1 {
                way.push(next);
                return true;
            }
            if next > start && !seen.contains(&next) {
                seen.push(next);
                way.push(next);
                if walk(start, way, seen, entities) {
                    return true;
                }
                way.pop();
            }
        }
        false
    }
    let mut way = vec![start];
    walk(start, &mut way, &mut Vec::new(), entities).then_some(way)
}
