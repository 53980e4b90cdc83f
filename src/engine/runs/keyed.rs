//! Prunes that concern some keys only.

use crate::{
    capture::ChunkOf,
    routing::join_key,
    state::{Known, RouteKey, StateError, StateStore},
};
use std::sync::Arc;

/// Those of the wanted keys that are linked, in the order of their bytes.
pub(super) async fn linked_of(
    store: &dyn StateStore,
    of: &ChunkOf,
    route: &Arc<str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Arc<str>>, StateError> {
    let wanted = of.keys.iter().flatten().map(|it| join_key(it.iter().map(String::as_str)));
    let mut wanted: Vec<Arc<str>> =
        wanted.filter(|it: &Arc<str>| after.is_none_or(|after| **it > *after)).collect();
    wanted.sort();
    wanted.dedup();
    let at = |key: &Arc<str>| RouteKey { route: Arc::clone(route), key: Arc::clone(key) };
    let mut found = Vec::new();
    for keys in wanted.chunks(limit) {
        let keys_at: Vec<_> = keys.iter().map(at).collect();
        let known = store.recall(&keys_at).await?;
        let linked = |(key, known): (&Arc<str>, &Known)| {
            known.link.as_ref().is_some_and(|it| !it.gone).then(|| Arc::clone(key))
        };
        found.extend(keys.iter().zip(&known).filter_map(linked));
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}
