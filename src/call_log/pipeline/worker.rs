//! The one task that moves records: it owns the batch in hand, the outlet and the spool, and waits for
//! none of them alone.

use super::{
    depot::{Depot, Visit, Visited},
    hand::{self, Hand, Place, Sending, Sent},
    health::Health,
    queue::{Queue, Seen, Waiting},
};
use crate::call_log::{Cap, Outlet, Spool, WhenFull};
use std::{future, mem, sync::Arc};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

pub(super) struct Worker {
    queue: Arc<Queue>,
    /// As long as it does not send.
    outlet: Option<Box<dyn Outlet>>,
    sending: Option<Sending>,
    health: Health,
    hand: Option<Hand>,
    depot: Depot,
    has_spool: bool,
    when_full: WhenFull,
    /// What is on its way into the spool, behind what is in hand.
    moving: Vec<Waiting>,
    /// How many records of the spool were dropped or lost so far.
    lost: u64,
    /// The time to stop is over, and whatever may be tried is tried once more.
    last_call: Option<LastCall>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastCall {
    Open,
    /// The spool did not take it either.
    Failed,
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>, outlet: Box<dyn Outlet>, spool: Option<Spool>) -> Self {
        let when_full = spool.as_ref().map_or(queue.options.when_full, Spool::when_full);
        let has_spool = spool.is_some();
        let mut worker = Self {
            queue,
            outlet: Some(outlet),
            sending: None,
            health: Health::default(),
            hand: None,
            depot: Depot::new(spool),
            has_spool,
            when_full,
            moving: Vec::new(),
            lost: 0,
            last_call: None,
        };
        worker.gauge();
        worker
    }

    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            let seen = self.queue.seen();
            if self.is_done(seen, now) {
                break;
            }
            self.take(seen, now);
            self.visit(seen, now);
            self.send(seen, now);
            // What was taken above is no longer due.
            let wake = self.wake(self.queue.seen(), now);
            select! {
                biased;
                // What the outlet has needs no disk, so this is looked at first.
                (outlet, sent) = sent(&mut self.sending) => self.sent(outlet, sent),
                visited = self.depot.visited(Instant::now) => self.visited(visited),
                () = self.queue.changed.notified() => {}
                () = sleep(wake) => {}
            }
        }
        self.depot.close().await;
    }

    /// Whether what is in hand would be lost with the process.
    fn is_unsafe(&self) -> bool {
        self.hand.as_ref().is_some_and(|hand| hand.place != Place::Spool)
    }

    fn is_done(&mut self, seen: Seen, now: Instant) -> bool {
        let Some(deadline) = seen.closing else { return false };
        let is_over = now >= deadline;
        if is_over && self.last_call.is_none() {
            self.last_call = Some(LastCall::Open);
            self.depot.append_at = None;
        }
        if self.depot.is_visited() {
            return false;
        }
        if seen.waiting == 0 && !self.is_unsafe() {
            return !self.depot.confirm && (self.sending.is_none() || is_over);
        }
        is_over && (!self.has_spool || self.last_call == Some(LastCall::Failed))
    }

    /// When the next batch is taken from memory; never while something older is elsewhere.
    fn take_due(&self, seen: Seen, now: Instant) -> Option<Instant> {
        if self.hand.is_some() || self.depot.is_visited() || self.depot.unread > 0 {
            return None;
        }
        let oldest = seen.oldest?;
        let is_full = seen.waiting >= self.queue.options.batch || seen.bytes > self.queue.batch_bytes;
        Some(if is_full || seen.closing.is_some() { now } else { oldest + self.queue.options.gather })
    }

    fn take(&mut self, seen: Seen, now: Instant) {
        if self.take_due(seen, now).is_some_and(|due| due <= now) {
            let taken = self.queue.take(self.queue.options.batch, self.queue.batch_bytes);
            self.hand = (!taken.is_empty()).then(|| Hand::of_memory(taken, now));
        }
    }

    /// When what is in memory goes into the spool.
    fn spill_due(&self, seen: Seen, now: Instant) -> Option<Instant> {
        let options = &self.queue.options;
        self.depot.spool()?;
        let in_hand = self.hand.as_ref().filter(|hand| hand.place == Place::Nowhere).map(|hand| hand.since);
        let oldest = [in_hand, seen.oldest].into_iter().flatten().min()?;
        let slow = (seen.bytes > options.limit() / 2).then_some(now);
        let failing = self.health.is_failing().then(|| in_hand.unwrap_or(oldest + options.gather));
        let is_behind =
            self.depot.unread > 0 || self.hand.as_ref().is_some_and(|it| it.place == Place::Spool);
        let patience = if is_behind { options.gather } else { options.patience };
        let awaited = options.required.then(|| oldest + patience);
        let closing = seen.closing.map(|deadline| if is_behind { now } else { deadline });
        let due = [slow, failing, awaited, closing].into_iter().flatten().min()?;
        Some(self.depot.append_at.map_or(due, |at| due.max(at)))
    }

    /// When more is read from the spool.
    fn read_due(&self, seen: Seen, now: Instant) -> Option<Instant> {
        self.depot.spool()?;
        let is_wanted = self.hand.is_none() && self.depot.unread > 0 && seen.closing.is_none();
        is_wanted.then(|| self.depot.read_at.unwrap_or(now))
    }

    fn visit(&mut self, seen: Seen, now: Instant) {
        let Some(spool) = self.depot.spool() else { return };
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let (spill, read) = (is_due(self.spill_due(seen, now)), is_due(self.read_due(seen, now)));
        if !spill && !read && !self.depot.confirm {
            return;
        }
        let mut append = Vec::new();
        let mut in_hand = 0;
        if spill {
            let mut room = spool.append_size();
            if let Some(hand) = self.hand.as_mut().filter(|hand| hand.place == Place::Nowhere) {
                hand.place = Place::Moving;
                append.extend_from_slice(&hand.lines);
                in_hand = append.len();
                room = room.saturating_sub(append.iter().map(|it| it.json().len()).sum());
            }
            self.moving = self.queue.take(usize::MAX, room);
            append.extend(self.moving.iter().map(|it| it.line.clone()));
        }
        // What is left when the process stops has nowhere else to go.
        let cap = if seen.closing.is_some() { Cap::Passed } else { Cap::Kept };
        let read = read.then_some((self.queue.options.batch, self.queue.batch_bytes));
        self.depot.begin(Visit { append, in_hand, cap, read });
    }

    fn visited(&mut self, visited: Option<Visited>) {
        let now = Instant::now();
        let moved = mem::take(&mut self.moving);
        let Some(visited) = visited else {
            const PANICKED: &str = "it panicked, which is a bug: it is left alone until the next start";
            tracing::error!("the call log's spool: {PANICKED}");
            self.queue.lock().spool_fails(&PANICKED, now);
            self.has_spool = false;
            self.give_back(moved);
            return;
        };
        match visited.appended {
            Some(true) => self.moved(moved),
            Some(false) => self.give_back(moved),
            None => {}
        }
        match &visited.error {
            Some(error) => self.queue.lock().spool_fails(error, now),
            None if self.depot.is_well() => self.queue.lock().gauges.spool = None,
            None => {}
        }
        if !visited.read.is_empty() {
            self.hand = Some(Hand::of_spool(visited.read, now));
        }
        self.gauge();
    }

    /// All of it is durable.
    fn moved(&mut self, moved: Vec<Waiting>) {
        let mut bytes = 0;
        let mut count = moved.len();
        if let Some(hand) = self.hand.as_mut().filter(|hand| hand.place == Place::Moving) {
            hand.place = Place::Spool;
            bytes += hand.settle();
            count += hand.lines.len();
        }
        for waiting in moved {
            bytes += waiting.bytes;
            if let Some(safe) = waiting.safe {
                // Who no longer waits need not hear.
                let _ = safe.send(());
            }
        }
        self.queue.lock().gauges.spooled += count as u64;
        self.queue.let_drop(false);
        self.queue.release(bytes);
    }

    /// The spool did not take it.
    fn give_back(&mut self, moved: Vec<Waiting>) {
        if let Some(hand) = self.hand.as_mut().filter(|hand| hand.place == Place::Moving) {
            hand.place = Place::Nowhere;
        }
        self.queue.put_back(moved);
        self.queue.let_drop(self.when_full == WhenFull::DropOldest);
        self.last_call = self.last_call.map(|_| LastCall::Failed);
    }

    /// When what is in hand is sent. What is safe is not begun any more once it stops.
    fn send_due(&self, seen: Seen, now: Instant) -> Option<Instant> {
        let hand = self.hand.as_ref().filter(|_| self.outlet.is_some())?;
        let is_wanted = match seen.closing {
            Some(deadline) => hand.place != Place::Spool && now < deadline,
            None => true,
        };
        is_wanted.then(|| self.health.retry_at.unwrap_or(now))
    }

    fn send(&mut self, seen: Seen, now: Instant) {
        if self.send_due(seen, now).is_none_or(|due| due > now) {
            return;
        }
        if let (Some(hand), Some(outlet)) = (&self.hand, self.outlet.take()) {
            self.sending = Some(hand::send(outlet, hand.lines.clone(), self.queue.options.send_within));
        }
    }

    fn sent(&mut self, outlet: Box<dyn Outlet>, sent: Sent) {
        self.sending = None;
        self.outlet = Some(outlet);
        let refused = match sent {
            Ok(refused) => refused,
            Err(error) => {
                let now = Instant::now();
                self.health.failed(&error, self.has_spool, now);
                return self.queue.lock().outlet_fails(&error, now);
            }
        };
        self.health.sent();
        let Some(mut hand) = self.hand.take() else { return };
        let left_out = refused.iter().filter_map(|it| Some((hand.lines.get(it.at)?, &*it.reason)));
        for (line, reason) in left_out {
            tracing::error!(
                id = line.id(),
                "a record of the call log is left out: its store will never take it: {reason}"
            );
        }
        // If it is just being moved, it is in the spool as read when it comes to that.
        self.depot.confirm |= self.has_spool && hand.place != Place::Nowhere;
        self.queue.release(hand.settle());
        let mut state = self.queue.lock();
        state.gauges.refused += refused.len() as u64;
        state.gauges.sent += (hand.lines.len() - refused.len()) as u64;
        state.gauges.outlet = None;
        if self.has_spool && state.bytes <= self.queue.options.limit() / 2 {
            // Should the memory fill up again, the spool is asked again first.
            state.may_drop = false;
            state.gauges.spool = None;
        }
    }

    fn gauge(&mut self) {
        let Some(spool) = self.depot.spool() else { return };
        let lost = spool.dropped() - mem::replace(&mut self.lost, spool.dropped());
        let mut state = self.queue.lock();
        (state.gauges.spool_bytes, state.gauges.spool_records) = (spool.bytes(), spool.records());
        if lost > 0 {
            state.drop_records(lost, Instant::now(), "the spool is full, or damaged");
        }
    }

    /// When something is due that no event brings.
    fn wake(&self, seen: Seen, now: Instant) -> Option<Instant> {
        let confirm = (self.depot.confirm && self.depot.spool().is_some()).then_some(now);
        let deadline = seen.closing.filter(|deadline| *deadline > now);
        let due = [self.take_due(seen, now), self.spill_due(seen, now), self.read_due(seen, now)];
        due.into_iter().chain([self.send_due(seen, now), confirm, deadline]).flatten().min()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let in_hand =
            self.hand.as_ref().filter(|hand| hand.place != Place::Spool).map_or(0, |it| it.lines.len());
        self.queue.close((in_hand + self.moving.len()) as u64);
    }
}

async fn sent(sending: &mut Option<Sending>) -> (Box<dyn Outlet>, Sent) {
    match sending {
        Some(sending) => sending.await,
        None => future::pending().await,
    }
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => future::pending().await,
    }
}
