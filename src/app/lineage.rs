//! What became of a change, and where an object at a remote comes from: the log of calls and the links
//! of the state database side by side.

use super::{App, AppError, CallArchive};
use crate::{
    admin::view::{Lineage, LineageObject, LineageOf},
    call_log::{Spot, Trail, lineage},
    postgres,
    state::{
        RouteKey,
        postgres::{LinkLine, ParkedLine, links_of, links_with, parked_of},
    },
};
use std::sync::Arc;

/// Calls of a key, and what is parked of it, at most.
const CALLS: usize = 1_000;
const PARKED: i64 = 1_000;
/// Links, and records of the log that name an id, at most.
const LINKS: i64 = 50;
const RECORDS: usize = 200;

impl App {
    /// From a change to what the remote made of it, or back. Where the log has to be looked through, no more
    /// than `look` records of it.
    pub async fn lineage(
        &self,
        archive: &CallArchive,
        of: LineageOf,
        look: Option<usize>,
    ) -> Result<Lineage, AppError> {
        let mut notes = Vec::new();
        let (mut trails, found_by) = match &of {
            LineageOf::Change(change) => {
                let trails = lineage::of_change(&*archive.store, change, CALLS).await;
                (trails.map_err(AppError::failed)?, "change")
            }
            LineageOf::RemoteId { id, entity, since } => {
                let entity = entity.as_deref();
                let (mut spots, mut found_by) = (self.linked_spots(id, entity, &mut notes).await, "link");
                if spots.is_empty() {
                    let found = lineage::spots_of(&*archive.store, id, entity, *since, RECORDS, look).await;
                    let (found, reached) = found.map_err(AppError::failed)?;
                    (spots, found_by) = (found, "log");
                    notes.extend(reached.map(|at| {
                        format!("the log was looked through back to {at} only: `rowcall calls lineage` looks through all of it")
                    }));
                }
                let mut trails = Vec::with_capacity(spots.len());
                for spot in &spots {
                    trails
                        .push(lineage::of_key(&*archive.store, spot, CALLS).await.map_err(AppError::failed)?);
                }
                (trails, found_by)
            }
        };
        for trail in &mut trails {
            let calls = trail.changes.iter_mut().flat_map(|it| &mut it.calls);
            calls.for_each(|record| archive.open(record));
        }
        let keys: Vec<RouteKey> = trails
            .iter()
            .map(|it| RouteKey { route: Arc::clone(&it.route), key: Arc::clone(&it.key) })
            .collect();
        let (links, parked) = self.known_of(&keys, &mut notes).await;
        let object = |trail: Trail| {
            let is = |route: &str, key: &str| *trail.route == *route && *trail.key == *key;
            let link = links.iter().find(|it| is(&it.route, &it.key)).cloned();
            let parked = parked.iter().filter(|it| is(&it.route, &it.key)).cloned().collect();
            LineageObject { link, parked, found_by, trail }
        };
        let objects = trails.into_iter().map(object).collect();
        Ok(Lineage { of, objects, notes })
    }

    /// The keys whose links know this id.
    async fn linked_spots(&self, id: &str, entity: Option<&str>, notes: &mut Vec<String>) -> Vec<Spot> {
        let mut spots = Vec::new();
        let connections = match self.state_connections().await {
            Ok(connections) => connections,
            Err(error) => {
                notes.push(format!("links are not looked at: {error}"));
                return spots;
            }
        };
        for connection in connections {
            match links_with(&connection.client, id, entity, LINKS).await {
                Ok(links) => {
                    if links.len() as i64 == LINKS {
                        notes.push(format!("more than {LINKS} links know it: name its entity"));
                    }
                    spots.extend(links.into_iter().map(|it| Spot {
                        entity: it.route.split_once('.').map_or(&*it.route, |(entity, _)| entity).into(),
                        route: it.route.as_str().into(),
                        key: it.key.into(),
                    }));
                }
                Err(error) => notes.push(format!("links cannot be read: {}", postgres::explain(&error))),
            }
        }
        spots
    }

    /// Links and parked changes of these keys.
    async fn known_of(&self, keys: &[RouteKey], notes: &mut Vec<String>) -> (Vec<LinkLine>, Vec<ParkedLine>) {
        let (mut links, mut parked) = (Vec::new(), Vec::new());
        if keys.is_empty() {
            return (links, parked);
        }
        let connections = match self.state_connections().await {
            Ok(connections) => connections,
            Err(error) => {
                let note = format!("what became of them at the remote is not known: {error}");
                notes.extend((!notes.iter().any(|it| it.contains("links are not"))).then_some(note));
                return (links, parked);
            }
        };
        for connection in connections {
            let mut note = |error| notes.push(format!("links cannot be read: {}", postgres::explain(&error)));
            match links_of(&connection.client, keys).await {
                Ok(found) => links.extend(found),
                Err(error) => note(error),
            }
            match parked_of(&connection.client, keys, PARKED).await {
                Ok(found) => parked.extend(found),
                Err(error) => note(error),
            }
        }
        (links, parked)
    }
}
