use super::{
    Binding, Checkpoint, Due, Known, Owed, Owing, Parking, Repaid, RouteKey, Saved, Settled, Settlement,
    StateError, StateStore,
};
use crate::model::{ChangeId, Image, Link, Lsn, ParkReason, Parked, ParkedState};
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
    owed: BTreeMap<RouteKey, Owed>,
    versions: i64,
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
        let known =
            |at: &RouteKey| Known { link: kept.links.get(at).cloned(), held: kept.head(at).is_some() };
        Ok(keys.iter().map(known).collect())
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError> {
        let mut kept = self.kept();
        let mut touched = BTreeSet::new();
        kept.links.extend(settlement.links.into_iter().map(|(at, link)| (at, (*link).clone())));
        for owing in settlement.write_backs {
            kept.versions += 1;
            let version = kept.versions;
            let before = kept.owed.remove(&owing.at).map(|it| it.owing.values);
            let mut values = before.unwrap_or_default();
            values.extend(owing.values);
            let owing = Owing { values, ..owing };
            kept.owed.insert(owing.at.clone(), Owed { owing, version, attempts: 0 });
        }
        for (at, id) in settlement.resolved {
            kept.parked.remove(&(at.clone(), id));
            touched.insert(at);
        }
        for parking in settlement.parkings {
            touched.insert(parking.at.clone());
            let slot = (parking.at.clone(), parking.change.id);
            if parking.again == kept.parked.contains_key(&slot) {
                kept.parked.insert(slot, parking);
            }
        }
        let mut held = Vec::with_capacity(touched.len());
        for at in touched {
            let head = kept.head(&at);
            if let Some(parking) = head.and_then(|id| kept.parked.get_mut(&(at.clone(), id)))
                && parking.parked.state == ParkedState::Queued
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
        Ok(Settled { saved: Saved(checkpoint.lsn), held })
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

    async fn owed(&self, limit: usize) -> Result<Vec<Owed>, StateError> {
        Ok(self.kept().owed.values().filter(|it| it.attempts == 0).take(limit).cloned().collect())
    }

    /// Time stands still here: what has failed is not due again.
    async fn repaid(&self, ended: &[(Owed, Repaid)]) -> Result<(), StateError> {
        let mut kept = self.kept();
        for (owed, repaid) in ended {
            let at = &owed.owing.at;
            if kept.owed.get(at).is_none_or(|it| it.version != owed.version) {
                continue;
            }
            match repaid {
                Repaid::Done => drop(kept.owed.remove(at)),
                Repaid::Failed { .. } => kept.owed.get_mut(at).into_iter().for_each(|it| it.attempts += 1),
            }
        }
        Ok(())
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
            };
            let change = Arc::clone(&whole.change);
            kept.parked.insert((at.clone(), id), Parking { at, change, parked, again: false });
        }
        Ok(count)
    }
}
