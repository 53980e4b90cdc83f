//! What the engine's tasks report, and what follows from it.

use super::{
    Engine, EngineError,
    batch::BatchEnded,
    carry::Ended,
    lanes::LaneId,
    parents::Question,
    pending::Batch,
    runs::{Loaded, Unread},
};
use crate::{
    capture::{ChangeSource, SourceError},
    routing::RouteId,
    state::{Due, KeyFilter, Known, Settled, StateError},
};
use std::sync::Arc;
use tokio::{task::JoinError, time::Instant};

/// How many children a key has, by route.
pub(super) type Children = Vec<(Arc<str>, u64)>;

/// What a task reports.
pub(super) enum Event {
    Ended(Box<Ended>),
    BatchEnded(Box<BatchEnded>),
    Recalled(Vec<LaneId>, Result<Vec<Known>, StateError>),
    /// The newest piece of a run of which the bound is settled by it.
    Settled(Batch, u64, Result<Settled, StateError>),
    Due(Vec<RouteId>, Result<Vec<Due>, StateError>),
    Children(Vec<LaneId>, Result<Vec<Children>, StateError>),
    /// Whether parked changes wait for these parents in vain.
    Judged(Vec<Question>, Result<Vec<bool>, StateError>),
    Swept(Result<u64, StateError>),
    /// Which keys the state may know.
    HeardOf(Result<Option<KeyFilter>, StateError>),
    Loaded(Result<Box<Loaded>, Unread>),
    /// A piece was not read, since everything stops.
    Unread,
    Marked(u64, Result<(), SourceError>),
}

impl Engine {
    pub(super) fn take(
        &mut self,
        event: Result<Event, JoinError>,
        source: &mut dyn ChangeSource,
    ) -> Result<(), EngineError> {
        // Passes catch their own panics, and nothing aborts a task but dropping the engine.
        let Ok(event) = event else {
            let message = "a task of the engine ended without a result".to_owned();
            return Err(StateError { doing: "carrying changes", message }.into());
        };
        self.lanes.at(Instant::now());
        match event {
            Event::Ended(ended) => self.ended(*ended),
            Event::BatchEnded(ended) => self.batch_ended(*ended),
            Event::Recalled(lanes, known) => {
                self.recalling = false;
                for (lane, known) in lanes.into_iter().zip(known?) {
                    self.lanes.learn(lane, known);
                }
            }
            Event::Settled(batch, newest, settled) => {
                self.settling = false;
                let settled = settled?;
                #[cfg(debug_assertions)]
                if !batch.lanes.is_empty() {
                    super::failpoint::reached("after-settle");
                }
                self.saved(&batch, &settled);
                self.bounds_saved(newest);
                self.saved_through = settled.saved.through();
                self.tell_positions();
                source.acknowledge(&settled.saved); // Invariant 1: the receipt is the proof.
            }
            Event::Due(routes, due) => self.polled(&routes, due?),
            Event::Children(lanes, children) => self.told_of_children(&lanes, &children?),
            Event::Judged(asked, in_vain) => self.told_what_is_in_vain(asked, &in_vain?),
            Event::Swept(released) => self.swept(released),
            Event::HeardOf(Ok(filter)) => self.heard_of.read(filter),
            Event::HeardOf(Err(error)) => {
                tracing::debug!(%error, "every key is asked about before its first call");
                self.heard_of.read(None);
            }
            Event::Loaded(loaded) => self.loaded(loaded),
            Event::Marked(no, Err(error)) => self.unmarked(no, &error),
            Event::Unread | Event::Marked(_, Ok(())) => {}
        }
        Ok(())
    }
}
