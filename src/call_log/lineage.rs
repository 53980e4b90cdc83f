//! From a change to its calls, and from what a remote calls something back to its key.

use super::{CallLogError, CallLogStore, CallQuery, CallRecord};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};

/// What was called for one key of a route.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Trail {
    /// The route.
    pub route: Arc<str>,
    /// The entity.
    pub entity: Arc<str>,
    /// The key.
    pub key: Arc<str>,
    /// Change by change, in the order of their first calls.
    pub changes: Vec<Passage>,
    /// Older ones were left out.
    pub more: bool,
}

/// What was called for one change of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Passage {
    /// The change.
    pub change: Arc<str>,
    /// Its attempts, in order.
    pub calls: Vec<CallRecord>,
}

/// One key, by which its trail is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The entity.
    pub entity: Arc<str>,
    /// The route.
    pub route: Arc<str>,
    /// The key.
    pub key: Arc<str>,
}

/// What a change caused, key by key: several where several routes, or halves of it, were concerned.
pub async fn of_change(
    store: &dyn CallLogStore,
    change: &str,
    limit: usize,
) -> Result<Vec<Trail>, CallLogError> {
    let query = CallQuery { change: Some(change.to_owned()), limit, ..CallQuery::default() };
    let mut found = store.find(&query).await?;
    let more = found.len() == limit;
    found.reverse();
    let mut trails: Vec<Trail> = Vec::new();
    for record in found {
        let pairs: Vec<Arc<str>> =
            pairs(&record).filter(|(_, it)| &***it == change).map(|(key, _)| Arc::clone(key)).collect();
        for key in pairs {
            let is = |it: &&mut Trail| *it.route == record.route && it.key == key;
            let trail = match trails.iter_mut().find(is) {
                Some(trail) => trail,
                None => {
                    let (route, entity) = (Arc::from(&*record.route), Arc::from(&*record.entity));
                    trails.push(Trail { route, entity, key, changes: Vec::new(), more });
                    let Some(trail) = trails.last_mut() else { continue };
                    trail
                }
            };
            add(trail, change.into(), &record);
        }
    }
    Ok(trails)
}

/// All that was called for a key, up to so many calls of the newest.
pub async fn of_key(store: &dyn CallLogStore, spot: &Spot, limit: usize) -> Result<Trail, CallLogError> {
    let Spot { entity, route, key } = spot;
    let (entity, route) = (Arc::clone(entity), Arc::clone(route));
    let query = CallQuery {
        entity: Some(entity.to_string()),
        route: Some(route.to_string()),
        key: Some(key.to_string()),
        limit,
        ..CallQuery::default()
    };
    let mut found = store.find(&query).await?;
    let more = found.len() == limit;
    found.reverse();
    let mut trail = Trail { route, entity, key: Arc::clone(key), changes: Vec::new(), more };
    for record in &found {
        let changes: BTreeSet<Arc<str>> =
            pairs(record).filter(|(it, _)| *it == key).map(|(_, change)| Arc::clone(change)).collect();
        for change in changes {
            add(&mut trail, change, record);
        }
    }
    Ok(trail)
}

/// The keys whose calls named this in their URL, or were answered with it: the way back where no link
/// knows it. What a batch was answered with cannot be told apart, and is not looked at. Among `limit`
/// records, the newest that hold the text at all and began since then; and how far back it was looked, where
/// `look` ended it before that.
pub async fn spots_of(
    store: &dyn CallLogStore,
    remote_id: &str,
    entity: Option<&str>,
    since: Timestamp,
    limit: usize,
    look: Option<usize>,
) -> Result<(Vec<Spot>, Option<Timestamp>), CallLogError> {
    let query = CallQuery {
        entity: entity.map(str::to_owned),
        text: Some(remote_id.to_owned()),
        since: Some(since),
        limit,
        look,
        ..CallQuery::default()
    };
    let found = store.search(&query).await?;
    let reached = found.looked.and(found.more.map(|(at, _)| at));
    let names = |record: &CallRecord| {
        let answer = record.response.iter().map(|it| it.content.body.as_str());
        std::iter::once(record.url.as_str()).chain(answer).any(|text| has_word(text, remote_id))
    };
    let spots: BTreeSet<Spot> = found
        .calls
        .iter()
        .filter(|record| names(record))
        .filter_map(|record| match &*record.keys {
            [key] => Some(Spot {
                entity: Arc::from(&*record.entity),
                route: Arc::from(&*record.route),
                key: Arc::clone(key),
            }),
            _ => None,
        })
        .collect();
    Ok((spots.into_iter().collect(), reached))
}

fn pairs(record: &CallRecord) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
    record.keys.iter().zip(record.changes.iter())
}

fn add(trail: &mut Trail, change: Arc<str>, record: &CallRecord) {
    let record = record.clone();
    match trail.changes.iter_mut().find(|it| it.change == change) {
        Some(passage) if passage.calls.last().is_some_and(|it| it.id == record.id) => {}
        Some(passage) => passage.calls.push(record),
        None => trail.changes.push(Passage { change, calls: vec![record] }),
    }
}

/// Whether the text holds this word as a whole: `L16` is not in `/loans/L169`.
fn has_word(text: &str, word: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            !before.chars().next_back().is_some_and(continues) && !after.chars().next().is_some_and(continues)
        })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn an_id_is_found_as_a_whole_word() {
        for text in
            ["/loans/L169", "/loans/L169/schedule", "/loans?id=L169&x", r#"{"id":"L169"}"#, "L1690 L169"]
        {
            assert!(has_word(text, "L169"), "{text}");
        }
        for text in ["/loans/L1690", "XL169", "L169-a", "l169", ""] {
            assert!(!has_word(text, "L169"), "{text}");
        }
        assert!(has_word(r#"{"id":169}"#, "169") && !has_word("é169", "169") && !has_word("x", ""));
    }
}
