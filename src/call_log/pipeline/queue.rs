//! What waits in memory, between those who write and the one who sends.

use super::{Failing, PipelineGauges, PipelineOptions, shout::Shout};
use crate::call_log::{CallLogError, Line, Spool, WhenFull};
use futures_util::future::BoxFuture;
use std::{
    collections::VecDeque,
    fmt::Display,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

/// What a record costs beside its bytes, roughly.
const COST: usize = 160;

/// A record that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) line: Line,
    /// What it is counted as.
    pub(super) bytes: usize,
    /// Since when.
    pub(super) since: Instant,
    /// Hears (or is dropped) once it is safe, or given up.
    pub(super) safe: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) options: PipelineOptions,
    /// No more is added to a batch once it has so many bytes.
    pub(super) batch_bytes: usize,
    state: Mutex<State>,
    /// There is something to do.
    pub(super) changed: Notify,
    /// There is room again.
    room: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) waiting: VecDeque<Waiting>,
    /// What the waiting ones cost, and those that were taken and are not safe yet.
    pub(super) bytes: usize,
    /// Where there is no room, the oldest one goes.
    pub(super) may_drop: bool,
    /// By when to end.
    pub(super) closing: Option<Instant>,
    /// Nobody sends any more.
    pub(super) is_closed: bool,
    pub(super) gauges: PipelineGauges,
    dropping: Shout,
}

/// How it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How many wait.
    pub(super) waiting: usize,
    /// [`State::bytes`].
    pub(super) bytes: usize,
    /// Since when the oldest one waits.
    pub(super) oldest: Option<Instant>,
    /// [`State::closing`].
    pub(super) closing: Option<Instant>,
}

impl Queue {
    pub(super) fn new(options: PipelineOptions, spool: Option<&Spool>) -> Self {
        let may_drop = spool.is_none() && options.when_full == WhenFull::DropOldest;
        let batch_bytes = options.batch_bytes().min(spool.map_or(usize::MAX, Spool::append_size));
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            may_drop,
            closing: None,
            is_closed: false,
            gauges: PipelineGauges::default(),
            dropping: Shout::default(),
        };
        Self { options, batch_bytes, state: Mutex::new(state), changed: Notify::new(), room: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record behind the others. What is to be waited for, if anything: that there is room for it, and
    /// that it is safe, if that is wanted.
    pub(super) fn put(&self, line: Line) -> Option<BoxFuture<'_, ()>> {
        let bytes = COST + line.text().len();
        let (safe, heard) = self.options.required.then(oneshot::channel).unzip();
        let refused = self.try_put(Waiting { line, bytes, since: Instant::now(), safe }).err();
        if refused.is_none() && heard.is_none() {
            return None;
        }
        Some(Box::pin(async move {
            if let Some(waiting) = refused {
                self.put_once_there_is_room(waiting).await;
            }
            if let Some(safe) = heard {
                // An error means that it was given up, which has been counted and shouted about.
                let _ = safe.await;
            }
        }))
    }

    async fn put_once_there_is_room(&self, mut waiting: Box<Waiting>) {
        let _held = Held::at(self);
        loop {
            let mut room = pin!(self.room.notified());
            // From here on no news of room is missed.
            room.as_mut().enable();
            waiting.since = Instant::now();
            match self.try_put(*waiting) {
                Ok(()) => return,
                Err(refused) => waiting = refused,
            }
            room.await;
        }
    }

    fn try_put(&self, waiting: Waiting) -> Result<(), Box<Waiting>> {
        let mut state = self.lock();
        let now = waiting.since;
        if state.is_closed {
            state.drop_records(1, now, "it is closed");
            return Ok(());
        }
        let limit = self.options.limit();
        let fits = |state: &State| state.bytes == 0 || state.bytes + waiting.bytes <= limit;
        while state.may_drop && !fits(&state) {
            // What is being sent is not dropped: it may take the queue beyond its limit, by one batch.
            let Some(oldest) = state.waiting.pop_front() else { break };
            state.bytes -= oldest.bytes;
            state.drop_records(1, now, "it is full");
        }
        if !fits(&state) && !state.may_drop {
            self.changed.notify_one();
            return Err(Box::new(waiting));
        }
        let (count, before) = (state.waiting.len(), state.bytes);
        state.bytes += waiting.bytes;
        state.gauges.written += 1;
        state.waiting.push_back(waiting);
        // In between, the one who sends has nothing new to decide.
        let passes = |mark: usize| before <= mark && state.bytes > mark;
        if count == 0 || count + 1 == self.options.batch || passes(limit / 2) || passes(self.batch_bytes) {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// What the one who sends decides by.
    pub(super) fn seen(&self) -> Seen {
        let state = self.lock();
        Seen {
            waiting: state.waiting.len(),
            bytes: state.bytes,
            oldest: state.waiting.front().map(|it| it.since),
            closing: state.closing,
        }
    }

    /// Takes the oldest ones out: up to so many, and no more once they have so many bytes. They count as
    /// being in memory until they are released.
    pub(super) fn take(&self, count: usize, bytes: usize) -> Vec<Waiting> {
        let mut state = self.lock();
        let mut taken = Vec::with_capacity(count.min(state.waiting.len()));
        let mut length = 0;
        while taken.len() < count && length < bytes {
            let Some(waiting) = state.waiting.pop_front() else { break };
            length += waiting.line.json().len();
            taken.push(waiting);
        }
        taken
    }

    /// Puts back what was taken out last.
    pub(super) fn put_back(&self, taken: Vec<Waiting>) {
        let mut state = self.lock();
        for waiting in taken.into_iter().rev() {
            state.waiting.push_front(waiting);
        }
    }

    /// These are no longer only in memory.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.room.notify_waiters();
    }

    /// Whether, where there is no room, the oldest may go.
    pub(super) fn let_drop(&self, may_drop: bool) {
        self.lock().may_drop = may_drop;
        if may_drop {
            self.room.notify_waiters();
        }
    }

    /// Nobody sends any more: what is there, and in hand, is given up.
    pub(super) fn close(&self, in_hand: u64) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = in_hand + state.waiting.len() as u64;
        if left > 0 {
            state.drop_records(left, Instant::now(), "the time to stop is over and there is no place left");
        }
        state.waiting.clear();
        state.bytes = 0;
        self.room.notify_waiters();
    }
}

impl State {
    /// Counts, and says so now and then.
    pub(super) fn drop_records(&mut self, count: u64, now: Instant, why: &'static str) {
        self.gauges.dropped += count;
        if self.dropping.is_due(now) {
            tracing::error!(
                dropped = self.gauges.dropped,
                "records of the call log are dropped: {why}; {} so far. Mend what keeps them from being sent, \
                 or give them more room (`call_log.spool`)",
                self.gauges.dropped
            );
        }
    }

    /// The outlet failed.
    pub(super) fn outlet_fails(&mut self, error: &CallLogError, now: Instant) {
        self.gauges.outlet = Some(Failing::again(self.gauges.outlet.take(), error, now));
    }

    /// The spool failed.
    pub(super) fn spool_fails(&mut self, error: &dyn Display, now: Instant) {
        self.gauges.spool = Some(Failing::again(self.gauges.spool.take(), error, now));
    }
}

/// A writer that waits for room, and is counted for as long as it does.
struct Held<'a>(&'a Queue);

impl<'a> Held<'a> {
    fn at(queue: &'a Queue) -> Self {
        queue.lock().gauges.held += 1;
        Self(queue)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().gauges.held -= 1;
    }
}
