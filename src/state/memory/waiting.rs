//! What waits for a parent or for children.

use super::{Kept, Row};
use crate::{
    model::{ChangeId, Link, ParkReason, ParkedState},
    state::{RELEASED_AT_ONCE, RouteKey},
};

impl Kept {
    /// What depends on this key and is older than the change: linked keys, and parked changes that go
    /// on by themselves.
    pub(super) fn children(&self, parent: &RouteKey, before: ChangeId) -> impl Iterator<Item = &RouteKey> {
        let is = move |link: &Link| !link.gone && link.change < before && link.parents.contains(parent);
        let linked = self.links.iter().filter(move |(_, link)| is(link)).map(|(at, _)| at);
        let given_up = |row: &Row| matches!(row.state(), ParkedState::Rejected | ParkedState::Dead);
        let goes_on = move |at: &RouteKey, id: ChangeId| {
            self.of_key(at)
                .take_while(|(it, _)| *it <= id)
                .all(|(it, row)| !given_up(row) || (it < id && !row.holds()))
        };
        let parked = self.parked.iter().filter(move |((at, id), row)| {
            *id < before && row.parking.parents.contains(parent) && goes_on(at, *id)
        });
        linked.chain(parked.map(|((at, _), _)| at))
    }

    pub(super) fn release(&mut self, looked_at: impl Fn(&RouteKey) -> bool) -> u64 {
        let free = |((_, id), row): (&(RouteKey, ChangeId), &Row)| {
            let it = &row.parking;
            let at = it.parked.waits_for.as_ref().filter(|at| looked_at(at))?;
            let linked = |at| self.links.get(at).is_some_and(|link: &Link| !link.gone);
            let free = it.parked.state == ParkedState::Waiting
                && match it.parked.reason {
                    ParkReason::Children => self.children(at, *id).next().is_none(),
                    _ => linked(at) && self.leaving(at).is_none_or(|leaving| leaving >= *id),
                };
            free.then(|| (it.at.clone(), *id))
        };
        let free: Vec<(RouteKey, ChangeId)> =
            self.parked.iter().filter_map(free).take(RELEASED_AT_ONCE as usize).collect();
        for slot in &free {
            if let Some(row) = self.parked.get_mut(slot) {
                row.due_now();
            }
        }
        free.len() as u64
    }
}
