use super::{
    Binding, Checkpoint, Due, Known, Parking, RouteKey, Saved, Settled, Settlement, StateError, StateStore,
};
use crate::model::{ChangeId, Image, Link, Lsn, Op, ParkReason, Parked, ParkedState};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A store for tests and dry runs. The conformance suite runs on this one and the real one.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    checkpoint: Option<Checkpoint>,
    links: BTreeMap<RouteKey, Link>,
    parked: BTreeMap<(RouteKey, ChangeId), Parking>,
}

impl MemoryStore {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every link, by key.
    pub fn links(&self) -> BTreeMap<RouteKey, Link> {
        self.kept().links.clone()
    }

    /// Every parked change, in order per key.
    pub fn parked(&self) -> Vec<(RouteKey, ChangeId, Parked)> {
        let kept = self.kept();
        kept.parked.iter().map(|((at, id), it)| (at.clone(), *id, it.parked.clone())).collect()
    }

    /// What an operator's `parked retry` does.
    pub fn retry(&self, at: &RouteKey, id: ChangeId) {
        if let Some(parking) = self.kept().parked.get_mut(&(at.clone(), id)) {
            parking.parked.state = ParkedState::Retrying;
        }
    }
}

impl Kept {
    fn head(&self, at: &RouteKey) -> Option<ChangeId> {
        let from = (at.clone(), ChangeId::default());
        let ((key, id), _) = self.parked.range(from..).next()?;
        (key == at).then_some(*id)
    }

    fn leaving(&self, at: &RouteKey) -> Option<ChangeId> {
        let from = (at.clone(), ChangeId::default());
        let of_key = self.parked.range(from..).take_while(|((key, _), _)| key == at);
        of_key.filter(|(_, it)| it.change.op() == Op::Delete).map(|((_, id), _)| *id).next()
    }

    /// Whether it waits for a parent although its row is deleted later.
    fn is_doomed(&self, at: &RouteKey, id: ChangeId) -> bool {
        let waits =
            |it: &Parking| it.parked.state == ParkedState::Waiting && it.parked.reason == ParkReason::Parent;
        self.parked.get(&(at.clone(), id)).is_some_and(waits) && self.leaving(at).is_some_and(|it| it > id)
    }

    /// What depends on this key and is older than the change: linked keys, and parked changes that go
    /// on by themselves.
    fn children(&self, parent: &RouteKey, before: ChangeId) -> impl Iterator<Item = &RouteKey> {
        let is = move |link: &Link| !link.gone && link.change < before && link.parents.contains(parent);
        let linked = self.links.iter().filter(move |(_, link)| is(link)).map(|(at, _)| at);
        let goes_on = move |at: &RouteKey, id: ChangeId| {
            let ahead = self.parked.range((at.clone(), ChangeId::default())..=(at.clone(), id));
            ahead
                .into_iter()
                .all(|(_, it)| !matches!(it.parked.state, ParkedState::Rejected | ParkedState::Dead))
        };
        let parked = self
            .parked
            .iter()
            .filter(move |((at, id), it)| *id < before && it.parents.contains(parent) && goes_on(at, *id));
        linked.chain(parked.map(|((at, _), _)| at))
    }

    fn release(&mut self, looked_at: impl Fn(&RouteKey) -> bool) -> u64 {
        let free = |((_, id), it): (&(RouteKey, ChangeId), &Parking)| {
            let at = it.parked.waits_for.as_ref().filter(|at| looked_at(at))?;
            let linked = |at| self.links.get(at).is_some_and(|link: &Link| !link.gone);
            let free = it.parked.state == ParkedState::Waiting
                && match it.parked.reason {
                    ParkReason::Children => self.children(at, *id).next().is_none(),
                    _ => linked(at) && self.leaving(at).is_none_or(|leaving| leaving >= *id),
                };
            free.then(|| (it.at.clone(), *id))
        };
        let free: Vec<(RouteKey, ChangeId)> = self.parked.iter().filter_map(free).collect();
        for slot in &free {
            if let Some(it) = self.parked.get_mut(slot) {
                it.parked.state = ParkedState::Retrying;
            }
        }
        free.len() as u64
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, StateError> {
        Ok(self.kept().checkpoint.clone())
    }

    async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let mut kept = self.kept();
        kept.checkpoint = Some(checkpoint.clone());
        kept.links.values_mut().for_each(|link| link.content = None);
        Ok(())
    }

    async fn recall(&self, keys: &[RouteKey]) -> Result<Vec<Known>, StateError> {
        let kept = self.kept();
        let known = |at: &RouteKey| Known {
            link: kept.links.get(at).cloned(),
            held: kept.head(at).is_some(),
            leaving: kept.leaving(at),
        };
        Ok(keys.iter().map(known).collect())
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError> {
        let mut kept = self.kept();
        let mut touched = BTreeSet::new();
        kept.links.extend(settlement.links.into_iter().map(|(at, link)| (at, (*link).clone())));
        for (at, id) in settlement.resolved {
            kept.parked.remove(&(at.clone(), id));
            touched.insert(at);
        }
        for parking in settlement.parkings {
            touched.insert(parking.at.clone());
            let slot = (parking.at.clone(), parking.change.id);
            let known = kept.parked.get(&slot).map(|it| it.parents.clone());
            if parking.again == known.is_some() {
                let parents =
                    if parking.parents.is_empty() { known.unwrap_or_default() } else { parking.parents };
                kept.parked.insert(slot, Parking { parents, ..parking });
            }
        }
        let waited_for = |it: &Parking| it.parked.waits_for.clone();
        let parked_now = touched.iter().filter_map(|at| Some((at.clone(), kept.head(at)?)));
        let parked_now = parked_now.filter_map(|slot| kept.parked.get(&slot).and_then(waited_for));
        let stirred: BTreeSet<RouteKey> = parked_now.chain(settlement.stirred).collect();
        let released = kept.release(|at| stirred.contains(at));
        let (mut held, mut leaving) = (Vec::with_capacity(touched.len()), Vec::new());
        for at in touched {
            leaving.extend(kept.leaving(&at).map(|id| (at.clone(), id)));
            let head = kept.head(&at);
            let doomed = head.is_some_and(|id| kept.is_doomed(&at, id));
            if let Some(parking) = head.and_then(|id| kept.parked.get_mut(&(at.clone(), id)))
                && (parking.parked.state == ParkedState::Queued || doomed)
            {
                parking.parked.state = ParkedState::Retrying;
            }
            held.push((at, head.is_some()));
        }
        let binding = Binding { system_id: String::new(), timeline: 0, slot: String::new() };
        let checkpoint =
            kept.checkpoint.get_or_insert(Checkpoint { binding, lsn: Lsn::ZERO, committed_at: None });
        checkpoint.lsn = checkpoint.lsn.max(settlement.through.unwrap_or_default());
        checkpoint.committed_at = checkpoint.committed_at.max(settlement.committed_at);
        Ok(Settled { saved: Saved(checkpoint.lsn), held, leaving, released })
    }

    async fn due(&self, routes: &[Arc<str>], limit: usize) -> Result<Vec<Due>, StateError> {
        let kept = self.kept();
        let retrying = |((at, id), it): &(&(RouteKey, ChangeId), &Parking)| {
            it.parked.state == ParkedState::Retrying
                && kept.head(at) == Some(*id)
                && routes.contains(&at.route)
        };
        let due = |((at, _), it): (&(RouteKey, ChangeId), &Parking)| Due {
            at: at.clone(),
            change: (*it.change).clone(),
            answers: it.parked.answers.clone(),
            called: it.parked.called,
        };
        Ok(kept.parked.iter().filter(retrying).take(limit).map(due).collect())
    }

    async fn children(
        &self,
        keys: &[(RouteKey, ChangeId)],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError> {
        let kept = self.kept();
        let of = |(parent, before): &(RouteKey, ChangeId)| {
            let mut counts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
            for at in kept.children(parent, *before).filter(|at| routes.contains(&at.route)) {
                *counts.entry(Arc::clone(&at.route)).or_default() += 1;
            }
            counts.into_iter().collect()
        };
        Ok(keys.iter().map(of).collect())
    }

    async fn sweep(&self) -> Result<u64, StateError> {
        Ok(self.kept().release(|_| true))
    }

    async fn linked(&self, route: &str) -> Result<u64, StateError> {
        let kept = self.kept();
        Ok(kept.links.iter().filter(|(at, link)| &*at.route == route && !link.gone).count() as u64)
    }

    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError> {
        let mut kept = self.kept();
        let of_table =
            |(at, it): &&(RouteKey, ChangeId)| &*at.route == route && at.key.is_empty() && *it == id;
        let whole = kept.parked.keys().find(of_table).cloned();
        let Some(whole) = whole.and_then(|slot| kept.parked.remove(&slot)) else { return Ok(0) };
        debug_assert!(matches!(whole.change.image, Image::Truncate));
        let older = |(at, link): &(&RouteKey, &Link)| &*at.route == route && !link.gone && link.change < id;
        let keys: Vec<RouteKey> = kept.links.iter().filter(older).map(|(at, _)| at.clone()).collect();
        let count = keys.len() as u64;
        for at in keys {
            let parked = Parked {
                state: ParkedState::Retrying,
                reason: ParkReason::Truncate,
                message: whole.parked.message.clone(),
                answers: Vec::new(),
                attempts: 0,
                called: id,
                waits_for: None,
            };
            let change = Arc::clone(&whole.change);
            kept.parked
                .insert((at.clone(), id), Parking { at, change, parked, again: false, parents: Vec::new() });
        }
        Ok(count)
    }
}
