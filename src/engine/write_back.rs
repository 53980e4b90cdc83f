//! What the end of a change brings back into its row.

use super::{pending::Pending, work::Work};
use crate::{
    mapping,
    model::{Link, Op, Outcome, ParkReason, ParkedState},
    routing::{Route, RouteId},
    state::{Owing, RouteKey},
};
use std::sync::Arc;

/// An outcome that the row may be told of: one that stays until something happens.
pub(super) struct Ended {
    name: &'static str,
    error: Option<String>,
}

impl Ended {
    pub(super) fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Applied { .. } | Outcome::Unchanged => Some(Self { name: "applied", error: None }),
            Outcome::Skipped { .. } => None,
            // It has no key to find its row by.
            Outcome::Parked(parked) if parked.reason == ParkReason::Identity => None,
            Outcome::Parked(parked) => match parked.state {
                ParkedState::Rejected | ParkedState::Dead => {
                    Some(Self { name: parked.state.name(), error: Some(parked.message.clone()) })
                }
                ParkedState::Retrying | ParkedState::Queued | ParkedState::Waiting => None,
            },
        }
    }
}

impl Pending {
    /// What is to be written into the row of this key; nothing if the row is gone.
    pub(super) fn owing(
        &mut self,
        id: RouteId,
        route: &Route,
        at: &RouteKey,
        work: &Work,
        link: Option<&Arc<Link>>,
        ended: &Ended,
    ) -> Option<Owing> {
        let write_back = route.write_back.as_ref()?;
        let change = &work.change;
        let gone = change.op() == Op::Truncate || (work.own && change.op() == Op::Delete);
        if gone {
            return None;
        }
        let told = mapping::Ended { name: ended.name, error: ended.error.as_deref() };
        let (values, failed) = write_back.values(change, &at.key, link.map(|link| &**link), told);
        if let Some(error) = failed
            // What a sequence saves is naturally missing where it did not come to that.
            && ended.error.is_none()
        {
            self.counts(id).last_error = Some(format!("key {}: writing back: {error}", at.key));
        }
        let transaction = change.transaction;
        (!values.is_empty()).then(|| Owing { at: at.clone(), values, transaction })
    }
}
