//! Lanes without work, kept for their links until they take more than their share of memory.

use super::{Lane, LaneId, Lanes};
use crate::model::Link;
use serde_json::Value;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// Tells a lane that became idle again from its older entry in the idle queue.
    stamp: u64,
    pub(super) bytes: usize,
}

/// What a lane costs beside its key and saved values.
const LANE_BYTES: usize = 384;

impl Lanes {
    /// Keeps an idle lane as a cache entry, and drops the longest idle ones beyond the limit.
    pub(super) fn rest(&mut self, id: LaneId) {
        self.stamp += 1;
        let stamp = self.stamp;
        let lane = self.lane_mut(id);
        lane.waiting = VecDeque::new(); // Its room would outweigh all that is kept.
        let bytes = weight(lane);
        let before = lane.idle.replace(Idle { stamp, bytes });
        self.idle_bytes = self.idle_bytes + bytes - before.map_or(0, |it| it.bytes);
        self.idle.push_back((id, stamp));
        // Entries of lanes that became busy since go too, or the queue would only grow.
        while self.idle_bytes > self.idle_limit || self.idle.len() > 2 * self.lanes.len() + 16 {
            let Some((oldest, stamp)) = self.idle.pop_front() else { break };
            self.evict(oldest, stamp);
        }
    }

    fn evict(&mut self, id: LaneId, stamp: u64) {
        let slot = &mut self.lanes[id.0 as usize];
        let Some(idle) = slot.as_ref().and_then(|lane| lane.idle).filter(|idle| idle.stamp == stamp) else {
            return;
        };
        self.idle_bytes -= idle.bytes;
        if let Some(lane) = slot.take() {
            self.by_key.remove(&lane.key);
            self.free.push(id);
        }
    }
}

fn weight(lane: &Lane) -> usize {
    let link = lane.link.as_ref().map_or(0, |link| saved_bytes(link) + parents_bytes(link));
    LANE_BYTES + lane.key.1.len() + link
}

/// What the saved values of a link take, about.
pub(in crate::engine) fn saved_bytes(link: &Link) -> usize {
    link.saved.iter().map(|(name, value)| 64 + name.len() + value_bytes(value)).sum()
}

fn parents_bytes(link: &Link) -> usize {
    link.parents.iter().map(|at| 64 + at.key.len()).sum()
}

/// What a value takes beside its own place, about.
pub(in crate::engine) fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|it| 32 + value_bytes(it)).sum(),
        Value::Object(entries) => entries.iter().map(|(name, it)| 64 + name.len() + value_bytes(it)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
