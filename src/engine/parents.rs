//! Parents before children, children deleted before parents.
//!
//! A change asks for what its row depends on ([`Verdict::Needs`]). Where the parent's link is known
//! it goes on at once. Where work for the parent is in memory it waits for that, without a slot and
//! not for ever. Else it is left out, if its key goes on without it, or parked as `waiting`, and the
//! settlement that writes the parent's link lets it go on.
//!
//! A delete waits for the older changes of its children that are under way, and is parked while
//! children are linked; the settlement that takes the last of those links away lets it go on.
//!
//! Nobody waits for ever in memory ([`care`]): work that waits in a circle is parked, so that the
//! stream moves on (invariant 4).

mod care;

use super::{
    Engine, Event, RECALL_AT_ONCE,
    carry::{Pass, Verdict},
    lanes::{LaneId, LaneKey, Rank, Sight, saved_bytes},
    parked,
    reading::Prepared,
    work::{Charge, Work},
};
use crate::{
    model::{Image, Link, Op, Outcome, ParkReason, ParkedState},
    routing::{Route, RouteId},
    state::{Leaving, RouteKey},
    synchronize,
};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// What a claim may cost: the parent's lane is made for it.
const CLAIM_BYTES: usize = 768;

/// What one row depends on, of one entity.
#[derive(Debug)]
pub(super) struct Need {
    entity: Arc<str>,
    route: RouteId,
    keys: Vec<Arc<str>>,
    /// Theirs, once they are looked at.
    lanes: Vec<LaneId>,
    /// Expressions see a list.
    is_list: bool,
}

/// What a change depends on, all of it at the remote.
#[derive(Debug, Default)]
pub(super) struct Kin {
    /// What is saved of it, by entity.
    pub(super) saved: Map<String, Value>,
    pub(super) keys: Vec<RouteKey>,
}

/// Work that waits for other keys.
#[derive(Debug, Default)]
pub(super) struct Family {
    waiting: HashMap<LaneId, Pause>,
    /// Deletes whose linked children are to be counted.
    uncounted: Vec<LaneId>,
    counting: bool,
    /// What the store is to be asked about missing parents.
    questions: Vec<Question>,
    asking: bool,
    numbers: u64,
    swept: Option<Instant>,
    sweeping: bool,
}

impl Family {
    /// Whether that is still what work waits for.
    fn is_open(&self, Question { number, lane, .. }: &Question) -> bool {
        let pause = self.waiting.get(lane);
        pause.is_some_and(
            |it| matches!(it.wants, Wants::Parents { question: Some(asked), .. } if asked == *number),
        )
    }
}

#[derive(Debug)]
struct Pause {
    work: Box<Work>,
    wants: Wants,
    /// Whose work it waits for, if it does.
    awaits: Option<LaneId>,
    /// It could not go on at once.
    waited: bool,
}

/// Whether parked work would wait for this parent in vain.
#[derive(Debug)]
pub(super) struct Question {
    number: u64,
    lane: LaneId,
    parent: RouteKey,
}

#[derive(Debug)]
enum Wants {
    Parents {
        needs: Vec<Need>,
        /// What is cached of a missing parent was held against the store.
        asked: bool,
        /// The question of which the answer decides, if nothing happens before.
        question: Option<u64>,
    },
    /// That older changes of children end, and then that none is linked.
    NoChildren,
}

impl Pass {
    /// What has to be at the remote before this change, if that is not known yet.
    pub(super) fn ask_for_parents(&mut self, route: &Route, prepared: &Prepared) -> Option<Verdict> {
        let brings = matches!(prepared.change.op(), Op::Insert | Op::Update | Op::Read);
        if route.parents.is_empty() || !brings || self.work.kin.is_some() {
            return None;
        }
        let work = self.shown(prepared);
        if self.work.answers.is_empty() && route.synchronizer.before_parents(&work).is_some() {
            return None;
        }
        let mut needs = Vec::new();
        for parent in &route.parents {
            let columns = &self.ground.routes[usize::from(parent.route.0)].key;
            match parent.keys(&work, columns) {
                Ok(mut found) => {
                    // A row that is its own parent waits for nobody.
                    found.keys.retain(|key| (parent.route, key) != (self.route, &self.key));
                    let (entity, route, is_list) = (Arc::clone(&parent.entity), parent.route, found.is_list);
                    if is_list || !found.keys.is_empty() {
                        needs.push(Need { entity, route, keys: found.keys, lanes: Vec::new(), is_list });
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    return Some(self.parked(ParkedState::Rejected, ParkReason::Template, message));
                }
            }
        }
        if needs.is_empty() {
            self.work.kin = Some(Arc::default());
            return None;
        }
        Some(Verdict::Needs(needs))
    }
}

impl Engine {
    /// Whether the change deletes what others may depend on, so that they have to go first.
    pub(super) fn is_deleted_last(&self, route: RouteId, work: &Work, link: Option<&Link>) -> bool {
        self.router.route(route).deleted_last
            && !work.childless
            && link.is_some()
            && matches!(work.change.image, Image::Delete { .. })
    }

    pub(super) fn wait_for_children(&mut self, lane: LaneId, work: Work) {
        self.lanes.delete_waits(lane);
        self.pause(lane, work, Wants::NoChildren);
    }

    /// Claims the parents that a change from the stream names, as far as its own row tells: their
    /// deletes wait for it before it has come to its turn, and their links are read with its own.
    pub(super) fn foresee(&mut self, route: RouteId, key: &Arc<str>, work: &mut Work) {
        let on = &self.ground.routes[usize::from(route.0)];
        let brings = matches!(work.change.op(), Op::Insert | Op::Update | Op::Read);
        if on.parents.is_empty() || !brings || !work.own {
            return;
        }
        let on = Arc::clone(on);
        let change = Arc::clone(&work.change);
        let shown = synchronize::Work {
            change: &change,
            key,
            link: None,
            fetched: None,
            parents: None,
            uncertain: false,
        };
        let lane = self.lanes.seat((route, Arc::clone(key)));
        for parent in &on.parents {
            let columns = &self.ground.routes[usize::from(parent.route.0)].key;
            // Where it fails, or goes by what is read first, its turn will tell.
            for parent_key in parent.keys(&shown, columns).map(|found| found.keys).unwrap_or_default() {
                if (parent.route, &parent_key) != (route, key) {
                    self.claim(lane, work, (parent.route, parent_key));
                }
            }
        }
    }

    /// The parents that work has claimed, if they are deleted after its row.
    pub(super) fn claimed(&self, route: RouteId, work: &Work) -> Vec<RouteKey> {
        if work.claims.is_empty() || !self.router.route(route).synchronizer.deletes() {
            return Vec::new();
        }
        let mut keys = Vec::with_capacity(work.claims.len());
        for (parent, _) in &work.claims {
            let (route, key) = self.lanes.key(*parent).clone();
            let at = RouteKey { route: Arc::clone(&self.router.route(route).name), key };
            if !keys.contains(&at) {
                keys.push(at);
            }
        }
        keys
    }

    fn claim(&mut self, lane: LaneId, work: &mut Work, parent: LaneKey) -> LaneId {
        let id = work.id();
        let parent = self.lanes.claim(parent, id, lane);
        self.budget.charge(CLAIM_BYTES);
        work.charges.push(Arc::new(Charge::adopt(&self.budget, CLAIM_BYTES)));
        work.claims.push((parent, id));
        parent
    }

    pub(super) fn wait_for_parents(&mut self, lane: LaneId, mut work: Work, mut needs: Vec<Need>) {
        for need in &mut needs {
            for key in &need.keys {
                let parent = self.claim(lane, &mut work, (need.route, Arc::clone(key)));
                need.lanes.push(parent);
            }
        }
        self.pause(lane, work, Wants::Parents { needs, asked: false, question: None });
    }

    fn pause(&mut self, lane: LaneId, work: Work, wants: Wants) {
        let pause = Pause { work: Box::new(work), wants, awaits: None, waited: false };
        self.family.waiting.insert(lane, pause);
        self.seek(lane);
    }

    /// Looks again for those where something has happened, and counts children.
    pub(super) fn seek_family(&mut self) {
        for lane in self.lanes.take_woken() {
            self.seek(lane);
        }
        self.count_children();
        self.ask_what_is_in_vain();
    }

    fn seek(&mut self, lane: LaneId) {
        let Some(pause) = self.family.waiting.get_mut(&lane) else { return };
        let Pause { work, wants, awaits, waited } = pause;
        let id = work.id();
        let may_be_sent = work.is_in_doubt(self.ground.sent_before);
        *awaits = None;
        let Wants::Parents { needs, asked, question } = wants else {
            match self.lanes.claimed_before(lane, id) {
                Some(child) => {
                    (*awaits, *waited) = (Some(child), true);
                    self.lanes.await_lane(lane, lane);
                }
                None => self.family.uncounted.push(lane),
            }
            return;
        };
        *question = None;
        let mut kin = Kin::default();
        let mut bytes = 0;
        for need in needs.iter() {
            let mut found = Vec::with_capacity(need.keys.len());
            let route = &self.ground.routes[usize::from(need.route.0)].name;
            for (key, &parent) in need.keys.iter().zip(&need.lanes) {
                let mut sight = self.lanes.look(parent, id);
                // It was let go on, so the store may know more than is cached here.
                if matches!(sight, Sight::Missing) && work.parked && !*asked {
                    *asked = true;
                    self.lanes.doubt(parent);
                    sight = self.lanes.look(parent, id);
                }
                let at = || RouteKey { route: Arc::clone(route), key: Arc::clone(key) };
                match sight {
                    Sight::Linked(link) => {
                        bytes += saved_bytes(&link);
                        found.push(Value::Object(link.saved.clone()));
                        kin.keys.push(at());
                    }
                    Sight::Unsettled => {
                        (*awaits, *waited) = (Some(parent), true);
                        return self.lanes.await_lane(parent, lane);
                    }
                    // A sequence that was begun is finished with what there is.
                    Sight::Missing if !work.answers.is_empty() => {}
                    Sight::Missing if self.lanes.goes_on_without(lane, id, parent, may_be_sent) => {
                        return self.leave_out(lane);
                    }
                    Sight::Missing if work.parked => {
                        // Whatever happens to the parent makes the answer void.
                        self.lanes.await_lane(parent, lane);
                        if self.lanes.has_unsaved_parkings(parent) {
                            (*awaits, *waited) = (Some(parent), true);
                        } else {
                            self.family.numbers += 1;
                            let (number, parent) = (self.family.numbers, at());
                            *question = Some(number);
                            self.family.questions.push(Question { number, lane, parent });
                        }
                        return;
                    }
                    Sight::Missing => {
                        let at = at();
                        return self.park_for_parent(lane, at);
                    }
                }
            }
            let saved = if need.is_list { Some(Value::Array(found)) } else { found.pop() };
            kin.saved.extend(saved.map(|saved| (need.entity.to_string(), saved)));
        }
        if bytes > 0 {
            work.charges.push(Arc::new(Charge::make(&self.budget, bytes)));
        }
        work.kin = Some(Arc::new(kin));
        self.go_on_with(lane);
    }

    /// Its parent is not there, and a newer change stands behind it that needs no older one: waiting
    /// for the one would hold up the other for ever.
    fn leave_out(&mut self, lane: LaneId) {
        let Some(Pause { mut work, .. }) = self.family.waiting.remove(&lane) else { return };
        work.moot = true;
        if !work.is_in_doubt(self.ground.sent_before) {
            self.lanes.came_to_nothing(lane);
        }
        self.lanes.leave(lane);
        let reason =
            Arc::from("what it depends on is not there, and a newer change of its row needs no older one");
        self.finish(lane, *work, false, Outcome::Skipped { reason });
    }

    fn go_on_with(&mut self, lane: LaneId) {
        if let Some(pause) = self.family.waiting.remove(&lane) {
            self.lanes.resume(lane, *pause.work, if pause.waited { Rank::Anew } else { Rank::Ahead });
        }
    }

    fn park_for_parent(&mut self, lane: LaneId, parent: RouteKey) {
        let RouteKey { route, key } = &parent;
        let message = format!(
            "it depends on key {key} of route `{route}`, which is not at the remote: it goes on by itself once that is \
             sent; `rowcall parked list --route {route} --key {key}` shows whether that is parked itself"
        );
        self.park_waiting(lane, ParkReason::Parent, parent, message);
    }

    fn park_for_children(&mut self, lane: LaneId, children: &str) {
        let (route, key) = self.lanes.key(lane).clone();
        let at = RouteKey { route: Arc::clone(&self.router.route(route).name), key };
        let message = format!(
            "{children} it are at the remote, or may be, and go first: it goes on by itself once they are gone; \
             `rowcall parked list` shows which of them wait for a person"
        );
        self.park_waiting(lane, ParkReason::Children, at, message);
    }

    fn park_waiting(&mut self, lane: LaneId, reason: ParkReason, waits_for: RouteKey, message: String) {
        let Some(Pause { work, .. }) = self.family.waiting.remove(&lane) else { return };
        let mut parked = parked(&work, ParkedState::Waiting, reason, message);
        parked.doubt = work.is_in_doubt(self.ground.sent_before);
        parked.waits_for = Some(waits_for);
        self.lanes.leave(lane);
        self.finish(lane, *work, false, Outcome::Parked(parked));
    }

    fn ask_what_is_in_vain(&mut self) {
        if self.family.asking || self.family.questions.is_empty() {
            return;
        }
        let most = RECALL_AT_ONCE.min(self.family.questions.len());
        let mut asked: Vec<Question> = self.family.questions.drain(..most).collect();
        asked.retain(|question| self.family.is_open(question));
        let waits = asked.iter().filter_map(|Question { lane, parent, .. }| {
            let (route, key) = self.lanes.key(*lane);
            let at = RouteKey { route: Arc::clone(&self.router.route(*route).name), key: Arc::clone(key) };
            Some((at, self.family.waiting.get(lane)?.work.id(), parent.clone()))
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return;
        }
        self.family.asking = true;
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move {
            let in_vain = store.in_vain(&waits).await;
            Event::Judged(asked, in_vain)
        });
    }

    pub(super) fn told_what_is_in_vain(&mut self, asked: Vec<Question>, in_vain: &[bool]) {
        self.family.asking = false;
        for (question, in_vain) in asked.into_iter().zip(in_vain) {
            if !self.family.is_open(&question) {
                continue;
            }
            let Question { lane, parent, .. } = question;
            if *in_vain { self.leave_out(lane) } else { self.park_for_parent(lane, parent) }
        }
    }

    fn count_children(&mut self) {
        if self.family.counting || self.family.uncounted.is_empty() {
            return;
        }
        let most = RECALL_AT_ONCE.min(self.family.uncounted.len());
        let mut lanes: Vec<LaneId> = self.family.uncounted.drain(..most).collect();
        lanes.retain(|lane| self.family.waiting.contains_key(lane));
        self.family.counting = true;
        let delete = |lane: &LaneId| {
            let Pause { work, .. } = self.family.waiting.get(lane)?;
            let (route, key) = self.lanes.key(*lane);
            let at = RouteKey { route: Arc::clone(&self.router.route(*route).name), key: Arc::clone(key) };
            let may_be_sent = work.is_in_doubt(self.ground.sent_before);
            Some(Leaving { at, change: work.id(), may_be_sent })
        };
        let deletes: Vec<Leaving> = lanes.iter().filter_map(delete).collect();
        let deleted =
            self.router.routes().iter().filter(|it| !it.parents.is_empty() && it.synchronizer.deletes());
        let deleted: Vec<Arc<str>> = deleted.map(|it| Arc::clone(&it.name)).collect();
        let store = Arc::clone(&self.ground.store);
        self.tasks.spawn(async move {
            let children = store.children(&deletes, &deleted).await;
            Event::Children(lanes, children)
        });
    }

    pub(super) fn told_of_children(&mut self, lanes: &[LaneId], children: &[Vec<(Arc<str>, u64)>]) {
        self.family.counting = false;
        for (&lane, children) in lanes.iter().zip(children) {
            let Some(pause) = self.family.waiting.get_mut(&lane) else { continue };
            if self.lanes.claimed_before(lane, pause.work.id()).is_some() {
                self.seek(lane);
            } else if children.is_empty() {
                pause.work.childless = true;
                self.go_on_with(lane);
            } else {
                let of = |(route, count): &(Arc<str>, u64)| format!("{count} of route `{route}`");
                let told = children.iter().map(of).collect::<Vec<_>>().join(" and ");
                self.park_for_children(lane, &format!("{told} that depend on"));
            }
        }
    }
}
