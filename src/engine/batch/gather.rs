//! Which batches there are and when they are to be sent. Pure: time is an argument.

use super::{Batch, Member};
use crate::routing::{self, RemoteId, RouteId};
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap, VecDeque},
};
use tokio::time::Instant;

/// Every batch that is not under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Gathering {
    /// Those that take members, by route and kind.
    open: BTreeMap<(RouteId, usize), Open>,
    /// Those that may be sent, by remote, next one first.
    ready: BTreeMap<RemoteId, VecDeque<Batch>>,
    /// Those that wait for their next attempt.
    waiting: BinaryHeap<Reverse<Waiting>>,
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
        remote: RemoteId,
        limits: &routing::Batch,
        (member, bytes): (Member, usize),
        now: Instant,
    ) {
        let fits = |open: &Open| open.bytes.saturating_add(bytes) as u64 <= limits.bytes.0;
        if self.open.get(&(route, kind)).is_some_and(|open| !fits(open)) {
            self.close((route, kind));
        }
        let open = self.open.entry((route, kind)).or_insert_with(|| Open {
            batch: Batch { route, remote, members: Vec::new(), attempts: 0 },
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
            self.ready.entry(batch.remote).or_default().push_back(batch);
        }
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
            self.ready.entry(batch.remote).or_default().push_front(batch);
        }
        woken
    }

    /// The next batch whose remote has a slot for it.
    pub(super) fn next(&mut self, mut slot: impl FnMut(RemoteId) -> bool) -> Option<Batch> {
        let free = self.ready.iter_mut().find(|(remote, batches)| !batches.is_empty() && slot(**remote));
        free.and_then(|(_, batches)| batches.pop_front())
    }

    /// The batch is to be sent again then.
    pub(super) fn put_off(&mut self, batch: Batch, until: Instant) {
        self.waiting.push(Reverse(Waiting { until, batch }));
    }

    /// Makes two batches of one; they are the next to be sent.
    pub(super) fn halve(&mut self, mut batch: Batch) {
        let later = batch.members.split_off(batch.members.len() / 2);
        let (route, remote) = (batch.route, batch.remote);
        let ready = self.ready.entry(remote).or_default();
        for members in [later, batch.members] {
            ready.push_front(Batch { route, remote, members, attempts: 0 });
        }
    }

    /// Everything that is not under way, with how many of it wait for another attempt; none of it is
    /// sent then.
    pub(in crate::engine) fn abandon(&mut self) -> impl Iterator<Item = (RouteId, Member, bool)> + use<> {
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|Reverse(it)| (it.batch, true));
        let open = std::mem::take(&mut self.open).into_values().map(|it| (it.batch, false));
        let ready = std::mem::take(&mut self.ready).into_values().flatten().map(|it| (it, false));
        let all: Vec<(Batch, bool)> = waiting.chain(open).chain(ready).collect();
        all.into_iter().flat_map(|(batch, waits)| {
            batch.members.into_iter().map(move |member| (batch.route, member, waits))
        })
    }
}
