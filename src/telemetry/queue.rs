//! What waits for the collector: bounded, the oldest dropped first.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// How many items travel in one request, at most.
pub(super) const BATCH: usize = 512;
/// How many bytes of them, about.
const BATCH_BYTES: usize = 1 << 20;

/// Items of one kind, each in JSON.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// A batch is there.
    pub(super) bell: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// Under way, or to be sent again.
    sending: Vec<Box<str>>,
    waiting: VecDeque<Box<str>>,
    /// Of both.
    bytes: usize,
    dropped: u64,
}

impl Queue {
    /// Holds so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), bell: Notify::new(), limit }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, item: String) {
        let mut inner = self.inner();
        inner.bytes += item.len();
        inner.waiting.push_back(item.into_boxed_str());
        while inner.bytes > self.limit
            && let Some(oldest) = inner.waiting.pop_front()
        {
            inner.bytes -= oldest.len();
            inner.dropped += 1;
        }
        if inner.waiting.len() >= BATCH {
            self.bell.notify_one();
        }
    }

    /// The next batch, as a JSON list without its brackets: what was taken last, unless it is done.
    pub(super) fn batch(&self) -> Option<String> {
        let mut inner = self.inner();
        if inner.sending.is_empty() {
            let mut bytes = 0;
            while inner.sending.len() < BATCH
                && bytes < BATCH_BYTES
                && let Some(item) = inner.waiting.pop_front()
            {
                bytes += item.len();
                inner.sending.push(item);
            }
        }
        (!inner.sending.is_empty()).then(|| inner.sending.join(","))
    }

    /// The batch that was taken is sent, or given up.
    pub(super) fn done(&self, sent: bool) {
        let mut inner = self.inner();
        let batch = mem::take(&mut inner.sending);
        inner.bytes -= batch.iter().map(|it| it.len()).sum::<usize>();
        if !sent {
            inner.dropped += batch.len() as u64;
        }
    }

    /// How many were dropped since this was asked last.
    pub(super) fn take_dropped(&self) -> u64 {
        mem::take(&mut self.inner().dropped)
    }

    /// How many are not sent.
    pub(super) fn len(&self) -> usize {
        let inner = self.inner();
        inner.sending.len() + inner.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_again_until_it_is_done() {
        let queue = Queue::new(100);
        queue.push("1".to_owned());
        queue.push("2".to_owned());
        assert_eq!(queue.batch().as_deref(), Some("1,2"));
        queue.push("3".to_owned());
        assert_eq!(queue.batch().as_deref(), Some("1,2"), "it was not sent");
        queue.done(true);
        assert_eq!((queue.batch().as_deref(), queue.len(), queue.take_dropped()), (Some("3"), 1, 0));
        queue.done(false);
        assert_eq!((queue.batch(), queue.len(), queue.take_dropped()), (None, 0, 1));
    }

    #[test]
    fn the_oldest_is_dropped_and_counted_and_what_is_under_way_stays() {
        let queue = Queue::new(10);
        queue.push("0123".to_owned());
        assert!(queue.batch().is_some());
        for item in ["aaa", "bbb", "ccc"] {
            queue.push(item.to_owned());
        }
        assert_eq!((queue.len(), queue.take_dropped()), (3, 1));
        queue.done(true);
        assert_eq!(queue.batch().as_deref(), Some("bbb,ccc"));
        queue.done(true);
        queue.push("longer than everything".to_owned());
        assert_eq!((queue.len(), queue.take_dropped()), (0, 1));
    }
}
