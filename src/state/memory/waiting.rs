//! What waits for a parent or for children.

use super::{Kept, Row};
use crate::{
    model::{ChangeId, Link, Op, ParkReason, ParkedState},
    state::{Leaving, RELEASED_AT_ONCE, RouteKey},
};

impl Kept {
    /// Whether it waits for its parent in vain: that is not linked, or an older delete of it is parked,
    /// and nothing is parked that brings it and is older than a change of its own key which stands
    /// behind it, names another parent and says all that it says.
    pub(super) fn waits_in_vain(&self, at: &RouteKey, change: ChangeId, parent: &RouteKey) -> bool {
        let unlinked = self.links.get(parent).is_none_or(|link| link.gone)
            || self.leaving(parent).is_some_and(|delete| delete < change);
        let brings = |row: &Row| !matches!(row.parking.change.op(), Op::Delete | Op::Truncate);
        let oldest = self.of_key(parent).find(|(_, row)| brings(row)).map(|(id, _)| id);
        // What is merged names the same parents; that of a run's row only names the run.
        let went_on =
            |id, row: &Row| Some(row.parking.parked.called).filter(|it| it.run().is_none()).unwrap_or(id);
        let overtakes = |(id, row): (ChangeId, &Row)| {
            id > change
                && row.holds()
                && row.parking.change.says_all()
                && !row.parking.parents.contains(parent)
                && oldest.is_none_or(|oldest| oldest >= went_on(id, row))
        };
        unlinked && self.of_key(at).any(overtakes)
    }

    /// What depends on a deleted key: linked keys, and parked changes that are older and keep the delete
    /// waiting.
    pub(super) fn children<'a>(&'a self, delete: &'a Leaving) -> impl Iterator<Item = &'a RouteKey> {
        let is = |link: &Link| !link.gone && link.parents.contains(&delete.at);
        let linked = self.links.iter().filter(move |(_, link)| is(link)).map(|(at, _)| at);
        let parked = self.parked.iter().filter(|((at, id), row)| {
            *id < delete.change
                && row.parking.parents.contains(&delete.at)
                && self.keeps_parent(at, *id, row, delete.may_be_sent)
        });
        linked.chain(parked.map(|((at, _), _)| at))
    }

    /// Whether a parked change keeps a younger delete of its parent waiting: see [`Leaving`].
    fn keeps_parent(&self, at: &RouteKey, id: ChangeId, row: &Row, delete_may_be_sent: bool) -> bool {
        let half_done = |row: &Row| !row.parking.parked.answers.is_empty();
        let mut older = self.of_key(at).take_while(|(it, _)| *it < id);
        let blocked = older.any(|(_, older)| older.state().is_given_up() && older.holds());
        let goes_on = !row.state().is_given_up() && !blocked;
        let head = self.head(at).and_then(|head| self.parked.get(&(at.clone(), head)));
        let known = || head.into_iter().chain([row]);
        let is_there = self.links.get(at).is_some_and(|link| !link.gone) || known().any(half_done);
        if delete_may_be_sent {
            return goes_on || is_there && (half_done(row) || !row.state().is_given_up());
        }
        goes_on || is_there || known().any(|it| it.parking.parked.doubt)
    }

    pub(super) fn release(&mut self, looked_at: impl Fn(&RouteKey) -> bool) -> u64 {
        let free = |((_, id), row): (&(RouteKey, ChangeId), &Row)| {
            let it = &row.parking;
            let at = it.parked.waits_for.as_ref().filter(|at| looked_at(at))?;
            let linked = |at| self.links.get(at).is_some_and(|link: &Link| !link.gone);
            let free = it.parked.state == ParkedState::Waiting
                && match it.parked.reason {
                    ParkReason::Children => {
                        let (at, may_be_sent) = (at.clone(), it.parked.doubt);
                        self.children(&Leaving { at, change: *id, may_be_sent }).next().is_none()
                    }
                    _ => {
                        linked(at) && self.leaving(at).is_none_or(|leaving| leaving >= *id)
                            || it.parked.reason == ParkReason::Parent && self.waits_in_vain(&it.at, *id, at)
                    }
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
