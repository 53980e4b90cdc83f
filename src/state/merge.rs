//! Parkings that merge, in one settlement or with what is parked already. Pure.

use super::{Parking, RouteKey};
use crate::model::{ChangeId, ParkedState};
use std::{collections::HashMap, sync::Arc};

/// The newest parked change of a key, if a newer one may merge with it.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where it is stored; `None` while it is not.
    stored: Option<ChangeId>,
    parking: Parking,
}

/// What is left of a settlement's parkings.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// To be stored, the oldest first.
    pub(super) parkings: Vec<Parking>,
    /// To be stored in place of the parked change of that id.
    pub(super) replacing: Vec<(ChangeId, Parking)>,
}

impl Tail {
    pub(super) fn stored(parking: Parking) -> Self {
        Self { stored: Some(parking.change.id), parking }
    }
}

/// Whether the parking may take in what is queued before it, or be taken in.
pub(super) fn may_merge(parking: &Parking) -> bool {
    parking.merges && !parking.again && parking.parked.state == ParkedState::Queued
}

/// Merges what may merge. `tails` knows the newest parked change of each key that has one, if that
/// one may merge; a change that is not newer than it was redelivered and stays as it is.
pub(super) fn merge(parkings: Vec<Parking>, mut tails: HashMap<RouteKey, Tail>) -> Merged {
    let mut merged = Merged::default();
    for mut parking in parkings {
        let Some(tail) = tails.remove(&parking.at) else {
            if may_merge(&parking) {
                tails.insert(parking.at.clone(), Tail { stored: None, parking });
            } else {
                merged.parkings.push(parking);
            }
            continue;
        };
        let older = &tail.parking;
        if parking.change.id <= older.change.id {
            merged.parkings.push(parking);
            tails.insert(tail.parking.at.clone(), tail);
        } else if may_merge(&parking) && parking.change.may_absorb(&older.change) {
            parking.change = Arc::new(parking.change.absorbing(&older.change));
            parking.parked.called = older.parked.called;
            parking.born |= older.born;
            tails.insert(parking.at.clone(), Tail { stored: tail.stored, parking });
        } else {
            merged.keep(tail);
            if may_merge(&parking) {
                tails.insert(parking.at.clone(), Tail { stored: None, parking });
            } else {
                merged.parkings.push(parking);
            }
        }
    }
    tails.into_values().for_each(|tail| merged.keep(tail));
    merged.parkings.sort_by_key(|it| it.change.id);
    merged
}

impl Merged {
    fn keep(&mut self, Tail { stored, parking }: Tail) {
        match stored {
            None => self.parkings.push(parking),
            Some(id) if id != parking.change.id => self.replacing.push((id, parking)),
            Some(_) => {}
        }
    }
}
