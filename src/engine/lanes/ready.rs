//! Who is next at a remote: the lanes and batches that are ready to call, by urgency.

use super::{Lane, LaneId};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Lane(LaneId),
    Batch(BatchNo),
}

/// Names a batch that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct BatchNo(pub(in crate::engine) u64);

/// What kind of traffic a change is. Live changes come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// From the stream, for the first time.
    Live,
    /// Tried before, parked, or of a bounded run: others go first, lest one that always fails is always
    /// next.
    Retry,
}

/// A sequence that is half done and that the remote let down keeps its class, behind those that wait
/// already: if it is what lets the remote down, the others get through.
pub(super) fn class_of(lane: &Lane) -> Class {
    let again =
        |work: &super::Work| work.parked || work.for_run.is_some() || (work.tried && work.answers.is_empty());
    if lane.waiting.front().is_some_and(again) { Class::Retry } else { Class::Live }
}

/// Priorities go from 1, the first, to this.
const PRIORITIES: u8 = 10;
/// What each step of priority is worth, in waiting.
const STEP: Duration = Duration::from_secs(60);
/// What a retry stands behind a live change, in waiting.
const BEHIND_LIVE: Duration = Duration::from_secs(60);

/// First in, first out within each class and priority; among those the one that has waited
/// longest, with what its class and priority are worth taken off. So nothing starves: whatever
/// waits long enough is more urgent than all that comes later.
#[derive(Debug)]
pub(super) struct Queue {
    /// The first one is for work that has begun already, then ten for each class.
    fifos: [VecDeque<(Instant, Caller)>; 1 + 2 * PRIORITIES as usize],
    /// A bit for each that is not empty.
    filled: u32,
    len: usize,
    /// Nothing is ready since before this.
    epoch: Instant,
}

impl Queue {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { fifos: Default::default(), filled: 0, len: 0, epoch }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.epoch);
    }

    /// Adds who became ready at that time.
    pub(super) fn push(&mut self, caller: Caller, class: Class, priority: u8, now: Instant) {
        let place = usize::from(priority.clamp(1, PRIORITIES));
        let urgency = now + STEP * u32::from(priority.clamp(1, PRIORITIES) - 1);
        match class {
            Class::Live => self.add(place, urgency, caller),
            Class::Retry => self.add(place + usize::from(PRIORITIES), urgency + BEHIND_LIVE, caller),
        }
    }

    /// Adds one whose work has begun already, before all that has not.
    pub(super) fn push_ahead(&mut self, caller: Caller) {
        self.add(0, self.epoch, caller);
    }

    /// The most urgent one and its urgency.
    pub(super) fn peek(&self) -> Option<(Caller, Instant)> {
        let (_, urgency, caller) = self.first()?;
        Some((caller, urgency))
    }

    /// Takes the most urgent one out.
    pub(super) fn pop(&mut self) {
        if let Some((place, ..)) = self.first() {
            self.fifos[place].pop_front();
            self.filled &= !(u32::from(self.fifos[place].is_empty()) << place);
            self.len -= 1;
        }
    }

    fn add(&mut self, place: usize, urgency: Instant, caller: Caller) {
        let fifo = &mut self.fifos[place];
        // Mostly the last. What was read meanwhile stands where it would have stood.
        let at = match fifo.back() {
            Some((last, _)) if *last > urgency => fifo.partition_point(|(it, _)| *it <= urgency),
            _ => fifo.len(),
        };
        fifo.insert(at, (urgency, caller));
        self.filled |= 1 << place;
        self.len += 1;
    }

    fn first(&self) -> Option<(usize, Instant, Caller)> {
        let mut first: Option<(usize, Instant, Caller)> = None;
        let mut left = self.filled;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(&(urgency, caller)) = self.fifos[place].front()
                && first.is_none_or(|(_, before, _)| urgency < before)
            {
                first = Some((place, urgency, caller));
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// The number of a lane.
    fn number(caller: Caller) -> u32 {
        match caller {
            Caller::Lane(LaneId(number)) => number,
            Caller::Batch(batch) => panic!("there is no {batch:?}"),
        }
    }

    fn order(queue: &mut Queue) -> Vec<u32> {
        std::iter::from_fn(|| {
            let (lane, _) = queue.peek()?;
            queue.pop();
            Some(number(lane))
        })
        .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_comes_first_then_live_changes_by_priority_then_retries() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.push(Caller::Lane(LaneId(5)), Class::Retry, 5, now);
        queue.push(Caller::Lane(LaneId(4)), Class::Live, 9, now);
        queue.push(Caller::Lane(LaneId(2)), Class::Live, 5, now);
        queue.push(Caller::Lane(LaneId(3)), Class::Live, 5, now);
        queue.push(Caller::Lane(LaneId(1)), Class::Live, 1, now);
        queue.push_ahead(Caller::Lane(LaneId(0)));
        assert_eq!(order(&mut queue), [0, 1, 2, 3, 5, 4]);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn each_minute_of_waiting_is_worth_a_step_of_priority() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.push(Caller::Lane(LaneId(10)), Class::Retry, 10, now);
        for minute in 0..12 {
            queue.push(
                Caller::Lane(LaneId(minute)),
                Class::Live,
                1,
                now + MINUTE * minute + Duration::from_secs(1),
            );
        }
        assert_eq!(order(&mut queue), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 11]);
    }

    proptest! {
        /// Under endless traffic of the most urgent kind everything is still served, and what is
        /// alike is served in its order.
        #[test]
        fn nothing_starves_and_equals_keep_their_order(
            others in prop::collection::vec((any::<bool>(), 1u8..=10), 1..20),
        ) {
            let start = Instant::now();
            let mut queue = Queue::new(start);
            for (at, (retry, priority)) in others.iter().enumerate() {
                let class = if *retry { Class::Retry } else { Class::Live };
                queue.push(Caller::Lane(LaneId(at as u32)), class, *priority, start);
            }
            let mut served = Vec::new();
            // One comes and one goes every second, so that there is never room for all.
            for second in 0..60 * 11 {
                queue.push(Caller::Lane(LaneId(1_000)), Class::Live, 1, start + Duration::from_secs(second));
                let (lane, _) = queue.peek().expect("some");
                queue.pop();
                if number(lane) != 1_000 { served.push(number(lane) as usize) }
            }
            prop_assert_eq!(served.len(), others.len(), "all are served");
            for (at, &one) in served.iter().enumerate() {
                let alike = served[at..].iter().all(|&it| others[it] != others[one] || it >= one);
                prop_assert!(alike, "{served:?}");
            }
        }
    }
}
