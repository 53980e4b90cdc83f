//! Which batches there are and when they are to be sent. Pure: time is an argument.

use super::{Batch, Member};
use crate::{
    engine::{
        lanes::{BatchNo, Rank},
        work::Work,
    },
    model::ChangeId,
    routing::{self, RouteId},
};
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
    sync::Arc,
};
use tokio::time::Instant;

/// Every batch that is not under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Gathering {
    /// Those that take members, by route and kind.
    open: BTreeMap<(RouteId, usize), Open>,
    /// Those that may be sent.
    ready: HashMap<BatchNo, Batch>,
    /// Those of them that the lanes have not been told of.
    readied: Vec<Readied>,
    named: u64,
    /// Those that wait for their next attempt.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Parked changes whose call of their own may have reached the remote.
    alone: HashSet<Named>,
}

/// A change for one key of a route.
pub(super) type Named = (RouteId, Arc<str>, ChangeId);

/// A batch that has become ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readied {
    pub(super) batch: BatchNo,
    pub(super) route: RouteId,
    pub(super) rank: Rank,
    /// All of it was parked, or tried before.
    pub(super) retries: bool,
}

#[derive(Debug)]
struct Open {
    batch: Batch,
    bytes: usize,
    until: Instant,
}

#[derive(Debug)]
struct Waiting {
    until: Instant,
    batch: Batch,
}

impl Waiting {
    fn order(&self) -> impl Ord {
        (self.until, self.batch.members.first().map(|it| it.work.id()))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl Gathering {
    /// A change joins the open batch of its kind, or begins it. `bytes` is what it adds to the call.
    pub(super) fn join(
        &mut self,
        (route, kind): (RouteId, usize),
        limits: &routing::Batch,
        (member, bytes): (Member, usize),
        now: Instant,
    ) {
        let fits = |open: &Open| open.bytes.saturating_add(bytes) as u64 <= limits.bytes.0;
        if self.open.get(&(route, kind)).is_some_and(|open| !fits(open)) {
            self.close((route, kind));
        }
        let open = self.open.entry((route, kind)).or_insert_with(|| Open {
            batch: Batch::new(route, Vec::new()),
            bytes: 0,
            until: now + limits.within.0,
        });
        open.bytes = open.bytes.saturating_add(bytes);
        open.batch.members.push(member);
        if open.batch.members.len() >= limits.size as usize {
            self.close((route, kind));
        }
    }

    fn close(&mut self, at: (RouteId, usize)) {
        if let Some(Open { mut batch, .. }) = self.open.remove(&at) {
            // They joined in the order in which they had been looked at.
            batch.members.sort_by_key(|it| it.work.id());
            self.make_ready(batch, Rank::Anew);
        }
    }

    /// The batch may be sent as soon as its remote takes it.
    pub(super) fn make_ready(&mut self, batch: Batch, rank: Rank) {
        self.named += 1;
        let (no, route) = (BatchNo(self.named), batch.route);
        let retries = batch.members.iter().all(|it| it.work.parked || it.work.tried);
        self.ready.insert(no, batch);
        self.readied.push(Readied { batch: no, route, rank, retries });
    }

    /// Which batches have become ready since this was asked last.
    pub(super) fn take_readied(&mut self) -> Vec<Readied> {
        std::mem::take(&mut self.readied)
    }

    /// Takes a ready batch to send it.
    pub(super) fn take(&mut self, no: BatchNo) -> Option<Batch> {
        self.ready.remove(&no)
    }

    /// When the next batch is to be sent without its being full.
    pub(in crate::engine) fn next_time(&self) -> Option<Instant> {
        let open = self.open.values().map(|it| it.until).min();
        let waiting = self.waiting.peek().map(|Reverse(it)| it.until);
        open.into_iter().chain(waiting).min()
    }

    /// Readies what is due, and says how many changes of which routes waited for another attempt.
    pub(super) fn pass_time(&mut self, now: Instant) -> Vec<(RouteId, usize)> {
        let due: Vec<_> = self.open.iter().filter(|(_, it)| it.until <= now).map(|(at, _)| *at).collect();
        due.into_iter().for_each(|at| self.close(at));
        let mut woken = Vec::new();
        while self.waiting.peek().is_some_and(|Reverse(it)| it.until <= now) {
            let Some(Reverse(Waiting { batch, .. })) = self.waiting.pop() else { break };
            woken.push((batch.route, batch.members.len()));
            self.make_ready(batch, Rank::Anew);
        }
        woken
    }

    /// The batch is to be sent again then.
    pub(super) fn put_off(&mut self, batch: Batch, until: Instant) {
        self.waiting.push(Reverse(Waiting { until, batch }));
    }

    /// Makes two batches of one; they are the next to be sent.
    pub(super) fn halve(&mut self, mut batch: Batch) {
        let later = batch.members.split_off(batch.members.len() / 2);
        let route = batch.route;
        for members in [batch.members, later] {
            self.make_ready(Batch::new(route, members), Rank::Ahead);
        }
    }

    /// Takes those that are chosen out of the batches that may be cut, with when each was to be sent
    /// again, if it was.
    pub(super) fn cut(
        &mut self,
        chosen: impl Fn(RouteId, &Work) -> bool,
    ) -> Vec<(RouteId, Member, Option<Instant>)> {
        let mut taken = Vec::new();
        let mut sift = |batch: &mut Batch, until: Option<Instant>| {
            if !batch.doubt {
                let (route, members) = (batch.route, std::mem::take(&mut batch.members));
                let (out, left) = members.into_iter().partition(|it| chosen(route, &it.work));
                let out: Vec<Member> = out;
                batch.members = left;
                taken.extend(out.into_iter().map(|member| (route, member, until)));
            }
            !batch.members.is_empty()
        };
        self.open.retain(|_, it| sift(&mut it.batch, None));
        self.ready.retain(|_, it| sift(it, None));
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let sift =
            |Reverse(mut it): Reverse<Waiting>| sift(&mut it.batch, Some(it.until)).then_some(Reverse(it));
        self.waiting = waiting.filter_map(sift).collect();
        taken
    }

    /// Shows each change of the batches that are not cut.
    pub(super) fn each_in_doubt(&mut self, mut show: impl FnMut(RouteId, &mut Member)) {
        let mut waiting = std::mem::take(&mut self.waiting).into_vec();
        let batches = self.ready.values_mut().chain(waiting.iter_mut().map(|Reverse(it)| &mut it.batch));
        for Batch { route, members, .. } in batches.filter(|it| it.doubt) {
            members.iter_mut().for_each(|member| show(*route, member));
        }
        self.waiting = waiting.into();
    }

    /// How many parked changes of this route wait in batches for another attempt.
    pub(in crate::engine) fn resting(&self, route: RouteId) -> usize {
        let batches = self.waiting.iter().map(|Reverse(it)| &it.batch).filter(|it| it.route == route);
        batches.flat_map(|it| &it.members).filter(|it| it.work.parked).count()
    }

    /// The row was sent alone, and may have reached the remote: it does not share a call any more.
    pub(super) fn was_alone(&mut self, change: Named) {
        self.alone.insert(change);
    }

    /// Whether it was; the remote has answered, so that it matters no more.
    pub(super) fn forget_alone(&mut self, change: &Named) {
        self.alone.remove(change);
    }

    pub(super) fn has_been_alone(&self, change: &Named) -> bool {
        self.alone.contains(change)
    }

    /// Everything that is not under way, with how many of it wait for another attempt; none of it is
    /// sent then.
    pub(in crate::engine) fn abandon(&mut self) -> impl Iterator<Item = (RouteId, Member, bool)> + use<> {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|Reverse(it)| (it.batch, true));
        let open = std::mem::take(&mut self.open).into_values().map(|it| (it.batch, false));
        self.readied.clear();
        let ready = std::mem::take(&mut self.ready).into_values().map(|it| (it, false));
        let all: Vec<(Batch, bool)> = waiting.chain(open).chain(ready).collect();
        all.into_iter().flat_map(|(batch, waits)| {
            batch.members.into_iter().map(move |member| (batch.route, member, waits))
        })
    }
}
