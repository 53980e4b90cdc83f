//! Parkings that merge, in one settlement or with what is parked already. Pure.

use super::{Parking, RouteKey};
use crate::model::{ChangeId, ParkedState};
use std::{collections::HashMap, sync::Arc};

/// The newest parked change of a key.
#[derive(Debug)]
pub(super) struct Tail(Option<Open>);

/// A newer one may merge with it.
#[derive(Debug)]
struct Open {
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
        Self(Some(Open { stored: Some(parking.change.id), parking }))
    }

    /// It is there, and nothing merges with it now.
    pub(super) fn closed() -> Self {
        Self(None)
    }

    fn new(parking: Parking) -> Self {
        Self(Some(Open { stored: None, parking }))
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
        let tail = match tails.remove(&parking.at) {
            Some(Tail(Some(tail))) => tail,
            // What is behind it is not put together either: some of it may be in there.
            Some(closed) => {
                tails.insert(parking.at.clone(), closed);
                merged.parkings.push(parking);
                continue;
            }
            None => {
                if may_merge(&parking) {
                    tails.insert(parking.at.clone(), Tail::new(parking));
                } else {
                    merged.parkings.push(parking);
                }
                continue;
            }
        };
        let older = &tail.parking;
        if parking.change.id <= older.change.id {
            merged.parkings.push(parking);
            tails.insert(tail.parking.at.clone(), Tail(Some(tail)));
        } else if may_merge(&parking) && parking.change.may_absorb(&older.change) {
            parking.change = Arc::new(parking.change.absorbing(&older.change));
            parking.parked.called = older.parked.called;
            parking.born |= older.born;
            tails.insert(parking.at.clone(), Tail(Some(Open { stored: tail.stored, parking })));
        } else {
            merged.keep(tail);
            if may_merge(&parking) {
                tails.insert(parking.at.clone(), Tail::new(parking));
            } else {
                merged.parkings.push(parking);
            }
        }
    }
    tails.into_values().filter_map(|tail| tail.0).for_each(|tail| merged.keep(tail));
    merged.parkings.sort_by_key(|it| it.change.id);
    merged
}

impl Merged {
    fn keep(&mut self, Open { stored, parking }: Open) {
        match stored {
            None => self.parkings.push(parking),
            Some(id) if id != parking.change.id => self.replacing.push((id, parking)),
            Some(_) => {}
        }
    }
}
