mod runs;
mod waiting;

use super::{
    Binding, Checkpoint, Due, Hold, KeyFilter, KeyHash, Known, Leaving, Owed, Owes, Owing, Parking, Place,
    RemoteGauges, Repaid, RouteKey, Run, Saved, Settled, Settlement, StateError, StateStore, Wanted,
    merge::{self, Tail},
};
use crate::model::{
    ChangeId, Image, Link, Lsn, Op, ParkReason, Parked, ParkedState, RunId, RunKind, RunRequest,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A store for tests and dry runs. The conformance suite runs on this one and the real one.
#[derive(Debug)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
    began: Instant,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { kept: Mutex::default(), began: Instant::now() }
    }
}

#[derive(Debug, Default)]
struct Kept {
    checkpoint: Option<Checkpoint>,
    links: BTreeMap<RouteKey, Link>,
    parked: BTreeMap<(RouteKey, ChangeId), Row>,
    remotes: BTreeMap<Arc<str>, RemoteGauges>,
    owed: BTreeMap<RouteKey, Owed>,
    versions: i64,
    runs: BTreeMap<RunId, Run>,
}

#[derive(Debug)]
struct Row {
    parking: Parking,
    next_attempt: Instant,
}

impl Row {
    fn new(parking: Parking) -> Self {
        let next_attempt = Instant::now() + parking.parked.wait;
        Self { parking, next_attempt }
    }

    fn state(&self) -> ParkedState {
        self.parking.parked.state
    }

    fn due_now(&mut self) {
        self.parking.parked.state = ParkedState::Retrying;
        self.next_attempt = Instant::now();
    }

    fn due(&self, began: Instant) -> Due {
        let Parking { at, change, parked, born, replayed, .. } = &self.parking;
        let since = SignedDuration::try_from(self.next_attempt - began).unwrap_or_default();
        let due = Timestamp::UNIX_EPOCH + since;
        Due {
            at: at.clone(),
            change: (**change).clone(),
            answers: parked.answers.clone(),
            called: parked.called,
            attempts: parked.attempts,
            requests: parked.requests,
            doubt: parked.doubt,
            born: *born,
            replayed: *replayed,
            place: Place { due, id: change.id, key: Arc::clone(&at.key) },
        }
    }

    fn holds(&self) -> bool {
        !(self.parking.lets_pass && self.state().is_given_up())
    }

    /// It is that change, or absorbed it.
    fn covers(&self, id: ChangeId) -> bool {
        self.parking.parked.called <= id && id <= self.parking.change.id
    }
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
        kept.parked.iter().map(|((at, id), it)| (at.clone(), *id, it.parking.parked.clone())).collect()
    }

    /// How the remotes stood when that was last told.
    pub fn remotes(&self) -> BTreeMap<Arc<str>, RemoteGauges> {
        self.kept().remotes.clone()
    }

    /// What an operator's `parked retry` does.
    pub fn retry(&self, at: &RouteKey, id: ChangeId) {
        if let Some(row) = self.kept().parked.get_mut(&(at.clone(), id)) {
            row.parking.parked.attempts = 0;
            row.due_now();
        }
    }
}

impl Kept {
    fn of_key<'a>(&'a self, at: &'a RouteKey) -> impl DoubleEndedIterator<Item = (ChangeId, &'a Row)> {
        let last = ChangeId { commit: Lsn::new(u64::MAX), ordinal: u64::MAX };
        let of_key = self.parked.range((at.clone(), ChangeId::default())..=(at.clone(), last));
        of_key.map(|((_, id), row)| (*id, row))
    }

    /// The oldest one that stands in the way of the others.
    fn head(&self, at: &RouteKey) -> Option<ChangeId> {
        self.of_key(at).find(|(_, row)| row.holds()).map(|(id, _)| id)
    }

    fn hold(&self, at: &RouteKey) -> Hold {
        let hold = |(_, row): (_, &Row)| if row.holds() { Hold::Held } else { Hold::Passing };
        self.of_key(at).map(hold).max().unwrap_or_default()
    }

    fn tail(&self, at: &RouteKey) -> Option<Tail> {
        let (_, row) = self.of_key(at).next_back()?;
        merge::may_merge(&row.parking).then(|| Tail::stored(row.parking.clone()))
    }

    fn park(&mut self, parkings: Vec<Parking>) {
        let tails = parkings.iter().filter(|it| merge::may_merge(it));
        let tails = tails.filter_map(|it| Some((it.at.clone(), self.tail(&it.at)?))).collect();
        let merged = merge::merge(parkings, tails);
        for (replaced, parking) in merged.replacing {
            self.parked.remove(&(parking.at.clone(), replaced));
            self.parked.insert((parking.at.clone(), parking.change.id), Row::new(parking));
        }
        for parking in merged.parkings {
            let slot = (parking.at.clone(), parking.change.id);
            let wanted = match parking.again {
                true => self.parked.contains_key(&slot),
                false => {
                    let known = self.parked.contains_key(&slot);
                    !known && !self.of_key(&parking.at).any(|(_, row)| row.covers(slot.1))
                }
            };
            if wanted {
                let known = self.parked.get(&slot).map(|row| row.parking.parents.clone());
                let parents = match parking.parents.is_empty() {
                    true => known.unwrap_or_default(),
                    false => parking.parents,
                };
                self.parked.insert(slot, Row::new(Parking { again: false, parents, ..parking }));
            }
        }
    }

    /// Whether a delete half of a key change, whose insert half this is, has still to be sent.
    fn awaits_delete(&self, parking: &Parking) -> bool {
        let ChangeId { commit, ordinal } = parking.change.id;
        let half = |((at, id), row): (&(RouteKey, ChangeId), &Row)| {
            at.route == parking.at.route
                && *id == ChangeId { commit, ordinal: ordinal - 1 }
                && row.parking.change.op() == Op::Delete
                && matches!(row.state(), ParkedState::Retrying | ParkedState::Queued)
        };
        ordinal % 2 == 1 && parking.change.op() == Op::Insert && self.parked.iter().any(half)
    }

    fn leaving(&self, at: &RouteKey) -> Option<ChangeId> {
        let deletes = |row: &Row| matches!(row.parking.change.op(), Op::Delete | Op::Truncate);
        self.of_key(at).find(|(_, row)| deletes(row) && row.holds()).map(|(id, _)| id)
    }

    fn owe(&mut self, Owes { owing, change, anew }: Owes) {
        if anew {
            let whole = owing.at.key.is_empty();
            self.owed.retain(|at, _| !(at.route == owing.at.route && (whole || at.key == owing.at.key)));
        }
        let whole = RouteKey { key: "".into(), ..owing.at.clone() };
        let deletes = |row: &Row| matches!(row.parking.change.op(), Op::Delete | Op::Truncate);
        let later = |at| self.of_key(at).any(|(id, row)| id > change && deletes(row));
        if owing.values.is_empty() || later(&owing.at) || later(&whole) {
            return;
        }
        self.versions += 1;
        let version = self.versions;
        let mut values = self.owed.remove(&owing.at).map(|it| it.owing.values).unwrap_or_default();
        values.extend(owing.values);
        let owing = Owing { values, ..owing };
        self.owed.insert(owing.at.clone(), Owed { owing, version, attempts: 0 });
    }

    /// Whether it waits for a parent although its row was never sent and is deleted later.
    fn is_doomed(&self, at: &RouteKey, id: ChangeId) -> bool {
        let waits = |row: &Row| {
            let it = &row.parking.parked;
            row.state() == ParkedState::Waiting && it.reason == ParkReason::Parent && !it.doubt
        };
        self.parked.get(&(at.clone(), id)).is_some_and(waits)
            && self.leaving(at).is_some_and(|it| it > id)
            && self.links.get(at).is_none_or(|link| link.gone)
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, StateError> {
        Ok(self.kept().checkpoint.clone())
    }

    async fn bind(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        let mut kept = self.kept();
        let place = |binding: &Binding| (binding.system_id.clone(), binding.timeline);
        let was = kept.checkpoint.replace(checkpoint.clone()).map(|was| place(&was.binding));
        if was.is_some_and(|was| was != place(&checkpoint.binding)) {
            kept.owed.values_mut().for_each(|it| it.owing.transaction = None);
        }
        kept.links.values_mut().for_each(|link| link.content = None);
        Ok(())
    }

    async fn recall(&self, keys: &[RouteKey]) -> Result<Vec<Known>, StateError> {
        let kept = self.kept();
        let known = |at: &RouteKey| Known {
            link: kept.links.get(at).cloned(),
            hold: kept.hold(at),
            leaving: kept.leaving(at),
            oldest: kept.head(at),
        };
        Ok(keys.iter().map(known).collect())
    }

    async fn key_filter(&self) -> Result<Option<KeyFilter>, StateError> {
        let kept = self.kept();
        let mut filter = KeyFilter::with_room(kept.links.len() + kept.parked.len());
        let parked = kept.parked.keys().map(|(at, _)| at);
        kept.links.keys().chain(parked).for_each(|at| filter.add(KeyHash::new(&at.route, &at.key)));
        Ok(Some(filter))
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StateError> {
        let mut kept = self.kept();
        let mut touched = BTreeSet::new();
        kept.remotes.extend(settlement.remotes);
        kept.advance(settlement.runs, self.now());
        kept.links.extend(settlement.links.into_iter().map(|(at, link)| (at, (*link).clone())));
        touched.extend(settlement.parkings.iter().map(|it| it.at.clone()));
        kept.park(settlement.parkings);
        // Behind that: it may have ended since it was parked.
        for (at, id) in settlement.resolved {
            kept.parked.remove(&(at.clone(), id));
            touched.insert(at);
        }
        settlement.write_backs.into_iter().for_each(|owes| kept.owe(owes));
        let waited_for = |row: &Row| row.parking.parked.waits_for.clone();
        let parked_now = touched.iter().filter_map(|at| Some((at.clone(), kept.head(at)?)));
        let parked_now = parked_now.filter_map(|slot| kept.parked.get(&slot).and_then(waited_for));
        let stirred: BTreeSet<RouteKey> = parked_now.chain(settlement.stirred).collect();
        let released = kept.release(|at| stirred.contains(at));
        let (mut held, mut leaving, mut oldest) = (Vec::with_capacity(touched.len()), Vec::new(), Vec::new());
        for at in touched {
            leaving.extend(kept.leaving(&at).map(|id| (at.clone(), id)));
            let head = kept.head(&at);
            oldest.extend(head.map(|id| (at.clone(), id)));
            let doomed = head.is_some_and(|id| kept.is_doomed(&at, id));
            if let Some(row) = head.and_then(|id| kept.parked.get_mut(&(at.clone(), id)))
                && (row.state() == ParkedState::Queued || doomed)
            {
                row.due_now();
            }
            let hold = kept.hold(&at);
            held.push((at, hold));
        }
        let binding = Binding { system_id: String::new(), timeline: 0, slot: String::new() };
        let checkpoint =
            kept.checkpoint.get_or_insert(Checkpoint { binding, lsn: Lsn::ZERO, committed_at: None });
        checkpoint.lsn = checkpoint.lsn.max(settlement.through.unwrap_or_default());
        checkpoint.committed_at = checkpoint.committed_at.max(settlement.committed_at);
        Ok(Settled { saved: Saved(checkpoint.lsn), held, leaving, oldest, released })
    }

    async fn due(&self, wanted: &[Wanted]) -> Result<Vec<Due>, StateError> {
        let kept = self.kept();
        let now = Instant::now();
        let mut all = Vec::new();
        for Wanted { route, after, limit, bytes } in wanted {
            let retrying = kept.parked.iter().filter(|((at, id), row)| {
                at.route == *route
                    && row.state() == ParkedState::Retrying
                    && row.next_attempt <= now
                    && kept.head(at) == Some(*id)
                    && !kept.awaits_delete(&row.parking)
            });
            let mut due: Vec<Due> = retrying.map(|(_, row)| row.due(self.began)).collect();
            due.sort_by(|a, b| a.place.cmp(&b.place));
            let mut used = 0;
            let behind = due.into_iter().filter(|it| after.as_ref().is_none_or(|after| it.place > *after));
            all.extend(
                behind
                    .take(*limit)
                    .enumerate()
                    .take_while(|(at, due)| {
                        used += due.change.bytes();
                        *at == 0 || used <= *bytes
                    })
                    .map(|(_, due)| due),
            );
        }
        Ok(all)
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

    async fn children(
        &self,
        deletes: &[Leaving],
        routes: &[Arc<str>],
    ) -> Result<Vec<Vec<(Arc<str>, u64)>>, StateError> {
        let kept = self.kept();
        let of = |delete: &Leaving| {
            let mut counts: BTreeMap<Arc<str>, u64> = BTreeMap::new();
            for at in kept.children(delete).filter(|at| routes.contains(&at.route)) {
                *counts.entry(Arc::clone(&at.route)).or_default() += 1;
            }
            counts.into_iter().collect()
        };
        Ok(deletes.iter().map(of).collect())
    }

    async fn in_vain(&self, waits: &[(RouteKey, ChangeId, RouteKey)]) -> Result<Vec<bool>, StateError> {
        let kept = self.kept();
        Ok(waits.iter().map(|(at, id, parent)| kept.waits_in_vain(at, *id, parent)).collect())
    }

    async fn sweep(&self) -> Result<u64, StateError> {
        Ok(self.kept().release(|_| true))
    }

    async fn linked(&self, route: &str) -> Result<u64, StateError> {
        let kept = self.kept();
        Ok(kept.links.iter().filter(|(at, link)| &*at.route == route && !link.gone).count() as u64)
    }

    async fn linked_keys(
        &self,
        route: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, StateError> {
        Ok(self.kept().linked_keys(route, after, limit))
    }

    async fn runs(&self) -> Result<Vec<Run>, StateError> {
        Ok(self.kept().runs.values().filter(|it| !it.state.is_over()).cloned().collect())
    }

    async fn ask_run(&self, request: &RunRequest) -> Result<RunId, StateError> {
        Ok(self.kept().ask_run(request.clone(), self.now()))
    }

    async fn was_asked(&self, kind: RunKind, entity: Option<&str>, origin: &str) -> Result<bool, StateError> {
        let is = |it: &Run| it.kind == kind && it.entity.as_deref() == entity && &*it.origin == origin;
        Ok(self.kept().runs.values().any(is))
    }

    async fn begin_run(&self, id: RunId, base: Lsn) -> Result<bool, StateError> {
        let now = self.now();
        Ok(self.kept().runs.get_mut(&id).is_some_and(|it| it.begin(base, now)))
    }

    async fn spread_truncate(&self, route: &str, id: ChangeId) -> Result<u64, StateError> {
        let mut kept = self.kept();
        let of_table =
            |(at, it): &&(RouteKey, ChangeId)| &*at.route == route && at.key.is_empty() && *it == id;
        let whole = kept.parked.keys().find(of_table).cloned();
        let Some(whole) = whole.and_then(|slot| kept.parked.remove(&slot)) else { return Ok(0) };
        debug_assert!(matches!(whole.parking.change.image, Image::Truncate));
        let older = |(at, link): &(&RouteKey, &Link)| &*at.route == route && !link.gone && link.change < id;
        let keys: Vec<RouteKey> = kept.links.iter().filter(older).map(|(at, _)| at.clone()).collect();
        let count = keys.len() as u64;
        for at in keys {
            let parking = whole.parking.clone();
            let state = ParkedState::Retrying;
            let parked = Parked { state, called: id, wait: Duration::ZERO, ..parking.parked };
            kept.parked.insert((at.clone(), id), Row::new(Parking { at, parked, ..parking }));
        }
        Ok(count)
    }
}
