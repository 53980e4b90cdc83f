use super::{
    lanes::{Claim, LaneId, Left},
    unchanged,
    work::{Charge, Work},
    write_back,
};
use crate::{
    model::{ChangeId, ContentHash, Link, LinkUpdate, Lsn, Op, Outcome, ParkReason, Parked, ParkedState},
    routing::{OnDead, Route, RouteId},
    state::{Hold, Owes, Owing, Parking, RouteCounts, RouteKey, Settlement},
};
use serde_json::Map;
use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

/// Outcomes that wait for the next settlement.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lanes: HashMap<LaneId, Entry>,
    parkings: Vec<Parking>,
    resolved: Vec<(RouteKey, ChangeId)>,
    /// Keys whose link has come or gone, or whose children's links have gone.
    stirred: Vec<RouteKey>,
    claims: Vec<Claim>,
    counts: HashMap<RouteId, RouteCounts>,
    /// What goes back into the rows, of the newest change of each key.
    write_backs: HashMap<LaneId, Owes>,
    /// Parked changes stay in memory until they are stored.
    charges: Vec<Arc<Charge>>,
    outcomes: usize,
    /// What the changes to be parked cost.
    parked_bytes: usize,
    /// Lanes whose work goes on once its parking is stored.
    kept: Vec<LaneId>,
    /// Lanes whose work goes on although it is parked, with the place of its parking.
    going_on: HashMap<LaneId, usize>,
    /// Changes committed before this may have been sent by an earlier process.
    sent_before: Lsn,
}

/// Changes put aside in one settlement, at most.
const PARKED_AT_ONCE: usize = 8_192;
const PARKED_BYTES: usize = 16 << 20;

#[derive(Debug)]
struct Entry {
    at: RouteKey,
    link: Option<Arc<Link>>,
    outcomes: u32,
    parkings: u32,
}

/// What a settlement under way will make durable, lane by lane.
#[derive(Debug)]
pub(super) struct Batch {
    /// Lane, outcomes, and the parkings among them.
    pub(super) lanes: Vec<(LaneId, RouteKey, u32, u32)>,
    pub(super) claims: Vec<Claim>,
    /// Lanes whose work goes on now.
    pub(super) kept: Vec<LaneId>,
    _charges: Vec<Arc<Charge>>,
}

impl Pending {
    pub(super) fn new(sent_before: Lsn) -> Self {
        Self { sent_before, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outcomes == 0
    }

    /// How many outcomes wait.
    pub(super) fn len(&self) -> usize {
        self.outcomes
    }

    /// What was just parked goes on, and may be parked otherwise before this is stored.
    pub(super) fn may_end_before_it_is_stored(&mut self, lane: LaneId) {
        self.going_on.insert(lane, self.parkings.len() - 1);
    }

    /// The counters of a route since the last settlement.
    pub(super) fn counts(&mut self, route: RouteId) -> &mut RouteCounts {
        self.counts.entry(route).or_default()
    }

    /// Whether a route's counters have to be told.
    pub(super) fn has_counts(&self, route: RouteId) -> bool {
        self.counts.contains_key(&route)
    }

    /// Takes one outcome and says what it leaves in its lane.
    pub(super) fn add(
        &mut self,
        lane: LaneId,
        (id, route): (RouteId, &Route),
        key: &Arc<str>,
        work: &mut Work,
        link: Option<&Arc<Link>>,
        (outcome, mut claimed): (Outcome, Vec<RouteKey>),
    ) -> Left {
        let at = RouteKey { route: Arc::clone(&route.name), key: Arc::clone(key) };
        let changes = 1 + work.absorbed.len() as u64;
        self.outcomes += 1;
        let claim = |(parent, child)| Claim { parent, child, lane };
        self.claims.extend(work.claims.drain(..).map(claim));
        let mut left = Left::default();
        let ended = write_back::Ended::of(&outcome).filter(|_| route.write_back.is_some());
        if !matches!(outcome, Outcome::Applied { .. }) && work.may_have_been_sent(self.sent_before) {
            left.link = unchanged::uncertain(link);
        }
        match outcome {
            Outcome::Applied { update, content, .. } => {
                self.counts(id).applied += changes;
                left.link =
                    Some(Arc::new(updated(link, update, content, work, route.synchronizer.deletes())));
                left.unsettled = !work.absorbed.is_empty();
            }
            Outcome::Unchanged => {
                self.counts(id).skipped += changes;
                let parents = parents(link, work, route.synchronizer.deletes());
                // After a crash the row of a run is read again, as it is then: nothing older is sent by that.
                if work.for_run.is_none() || link.is_none_or(|link| link.parents != parents) {
                    left.link =
                        link.map(|link| Arc::new(Link { change: work.id(), parents, ..Link::clone(link) }));
                    left.unsettled = true;
                }
            }
            Outcome::Skipped { .. } => {
                self.counts(id).skipped += changes;
                if work.would_end_otherwise() && link.is_none_or(|link| link.change < work.id()) {
                    let known = left.link.as_ref().or(link);
                    let known =
                        known.map_or_else(|| Link { gone: true, ..Link::default() }, |it| Link::clone(it));
                    left.link = Some(Arc::new(Link { change: work.id(), ..known }));
                    left.unsettled = true;
                }
            }
            Outcome::Parked(parked) => {
                left.hold = self.park((id, route), (lane, &at), work, (parked, std::mem::take(&mut claimed)));
                left.parking = true;
            }
        }
        if route.write_back.is_some() && work.ends_the_row() && link.is_none_or(|it| it.change < work.id()) {
            let owing = Owing { at: at.clone(), values: Map::new(), transaction: None };
            self.write_backs.insert(lane, Owes { owing, change: work.id(), anew: true });
        } else if let Some(ended) = ended
            && let Some(owing) = self.owing(id, route, &at, work, left.link.as_ref().or(link), &ended)
        {
            match self.write_backs.entry(lane) {
                // What it does not say anew is still to be written.
                Slot::Occupied(mut before) => {
                    let before = before.get_mut();
                    before.owing.values.extend(owing.values);
                    (before.owing.transaction, before.change) = (owing.transaction, work.id());
                }
                Slot::Vacant(slot) => drop(slot.insert(Owes { owing, change: work.id(), anew: false })),
            }
        }
        if let Some(new) = &left.link {
            self.stir(&at, route.waited_for, link.map(|it| &**it), new);
        }
        // The next call of its key waits for that: if it were the same change again, it would be parked anew.
        left.unsettled |= work.kept;
        if work.is_stored() && !left.parking {
            self.stirred.extend(claimed);
            self.stirred.extend(route.waited_for.then(|| at.clone()));
            self.resolved.push((at.clone(), work.id()));
            left.parking = true;
        }
        if left.link.is_some() || left.parking {
            let fresh = || Entry { at, link: None, outcomes: 0, parkings: 0 };
            let entry = self.lanes.entry(lane).or_insert_with(fresh);
            entry.outcomes += 1;
            entry.parkings += u32::from(left.parking);
            if let Some(link) = &left.link {
                entry.link = Some(Arc::clone(link));
            }
        }
        left
    }

    /// Takes what is parked while it is under way.
    pub(super) fn keep(&mut self, lane: LaneId, parking: Parking) {
        self.outcomes += 1;
        self.parked_bytes += parking.change.bytes();
        self.parkings.push(parking);
        self.kept.push(lane);
    }

    /// Remembers whom a new link may let go on: what waits for this key, if it was not linked before
    /// or waits in vain now, and the former parents that wait for their last child to go.
    fn stir(&mut self, at: &RouteKey, waited_for: bool, before: Option<&Link>, new: &Link) {
        let before = before.filter(|link| !link.gone);
        if waited_for && (before.is_none() || new.gone) {
            self.stirred.push(at.clone());
        }
        let former = before.into_iter().flat_map(|link| &link.parents);
        self.stirred.extend(former.filter(|parent| !new.parents.contains(parent)).cloned());
    }

    /// Takes a parking and says what it means for later changes of the key.
    fn park(
        &mut self,
        (id, route): (RouteId, &Route),
        (lane, at): (LaneId, &RouteKey),
        work: &mut Work,
        (parked, parents): (Parked, Vec<RouteKey>),
    ) -> Hold {
        let counts = self.counts(id);
        counts.parked += u64::from(!work.parked);
        if parked.state != ParkedState::Queued && parked.reason != ParkReason::Outage {
            counts.last_error = Some(format!("key {}: {}", at.key, parked.message));
        }
        self.charges.append(&mut work.charges);
        self.parked_bytes += work.change.bytes();
        // Going on without what a half-done sequence saved would create things twice.
        let lets_pass = route.on_dead == OnDead::Continue
            && parked.answers.is_empty()
            && !work.is_whole_truncate(&at.key);
        let given_up = parked.state.is_given_up();
        let going_on = self.going_on.get(&lane).and_then(|place| self.parkings.get_mut(*place));
        if let Some(unstored) = going_on.filter(|it| it.change.id == work.id()) {
            (unstored.parked, unstored.lets_pass) = (parked, lets_pass);
            return if lets_pass && given_up { Hold::Passing } else { Hold::Held };
        }
        self.parkings.push(Parking {
            at: at.clone(),
            change: Arc::clone(&work.change),
            again: work.is_stored(),
            lets_pass,
            // One that names other parents, or deletes what a child needs in between, could wait for what
            // waits for it.
            merges: work.may_still_merge()
                && parked.state == ParkedState::Queued
                && route.parents.is_empty()
                && !(route.waited_for && work.change.op() == Op::Delete),
            born: work.is_born(),
            replayed: work.for_run.and_then(|it| it.replayed).map(|it| it.again),
            parents,
            parked,
        });
        if lets_pass && given_up { Hold::Passing } else { Hold::Held }
    }

    /// Whether more may be parked before the next settlement. What is stored at once is bounded,
    /// since its text is not counted against the byte budget (invariant 5).
    pub(super) fn has_room_to_park(&self) -> bool {
        self.parkings.len() < PARKED_AT_ONCE && self.parked_bytes < PARKED_BYTES
    }

    /// Everything that waits, as one settlement; the checkpoint is the caller's to fill in.
    pub(super) fn take(&mut self, route_name: impl Fn(RouteId) -> Arc<str>) -> (Settlement, Batch) {
        let mut settlement = Settlement {
            parkings: std::mem::take(&mut self.parkings),
            resolved: std::mem::take(&mut self.resolved),
            write_backs: self.write_backs.drain().map(|(_, owes)| owes).collect(),
            stirred: std::mem::take(&mut self.stirred),
            counts: self.counts.drain().map(|(id, counts)| (route_name(id), counts)).collect(),
            ..Settlement::default()
        };
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for (lane, entry) in self.lanes.drain() {
            if let Some(link) = entry.link {
                settlement.links.push((entry.at.clone(), link));
            }
            lanes.push((lane, entry.at, entry.outcomes, entry.parkings));
        }
        self.outcomes = 0;
        self.parked_bytes = 0;
        self.going_on.clear();
        let claims = std::mem::take(&mut self.claims);
        let kept = std::mem::take(&mut self.kept);
        (settlement, Batch { lanes, claims, kept, _charges: std::mem::take(&mut self.charges) })
    }
}

/// What the key depends on now; kept only if it is deleted before that.
fn parents(link: Option<&Arc<Link>>, work: &Work, deletes: bool) -> Vec<RouteKey> {
    match &work.kin {
        Some(kin) if deletes => kin.keys.clone(),
        Some(_) => Vec::new(),
        None => link.filter(|link| !link.gone).map(|link| link.parents.clone()).unwrap_or_default(),
    }
}

fn updated(
    link: Option<&Arc<Link>>,
    update: LinkUpdate,
    content: Option<ContentHash>,
    work: &Work,
    deletes: bool,
) -> Link {
    // What is sent again may be older than what the link knows.
    let change = link.map_or(work.id(), |link| link.change.max(work.id()));
    let brought = work.for_run.and_then(|it| Some(it.replayed?.again.run?.anew(work.id())));
    // What a replay has brought of the key stays so, whatever comes of it in between.
    let replayed = brought.or(link.and_then(|link| link.replayed));
    match update {
        LinkUpdate::Remove => Link { change, gone: true, replayed, ..Link::default() },
        LinkUpdate::Save(new) => {
            let known = link.filter(|link| !link.gone);
            let mut saved = known.map(|link| link.saved.clone()).unwrap_or_default();
            saved.extend(new);
            let parents = parents(link, work, deletes);
            Link { saved, change, gone: false, parents, content, replayed }
        }
    }
}
