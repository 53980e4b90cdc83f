//! Whether the checkpoint belongs to the database and the slot that are there.

use super::{plan::SourcePlan, session::SessionError};
use crate::{
    capture::logical::{Identity, inspect},
    postgres,
    state::{Binding, Checkpoint},
};

pub(super) fn binding(plan: &SourcePlan, identity: &Identity) -> Binding {
    Binding {
        system_id: identity.system_id.to_string(),
        timeline: identity.timeline,
        slot: plan.slot.clone(),
    }
}

/// Invariant 8: a restored, failed-over or recreated database is noticed.
pub(super) async fn check_binding(
    plan: &SourcePlan,
    checkpoint: &Checkpoint,
    identity: &Identity,
    client: &postgres::Client,
) -> Result<(), SessionError> {
    let (is, was) = (binding(plan, identity), &checkpoint.binding);
    let what = if is.system_id != was.system_id {
        format!("this is another database cluster (system id {}, was {})", is.system_id, was.system_id)
    } else if is.timeline != was.timeline {
        format!(
            "the server is on timeline {}, was on {}: it was failed over or restored to an earlier point",
            is.timeline, was.timeline
        )
    } else if is.slot != was.slot {
        format!("the slot is `{}`, was `{}`", is.slot, was.slot)
    } else if checkpoint.lsn > identity.wal_position {
        format!(
            "the server has written no further than {}: it was restored from an older copy, and what it writes up to the \
             checkpoint would be left out",
            identity.wal_position
        )
    } else {
        let Some(slot) = inspect::slot(client, &plan.slot).await? else {
            return Err(mismatch(plan, checkpoint, &format!("replication slot `{}` is gone", plan.slot)));
        };
        match slot.confirmed {
            Some(confirmed) if confirmed > checkpoint.lsn => format!(
                "replication slot `{}` stands at {confirmed}, beyond the checkpoint: it was made anew or moved by someone \
                 else, and the changes between are not in it",
                plan.slot
            ),
            _ => return Ok(()),
        }
    };
    Err(mismatch(plan, checkpoint, &what))
}

fn mismatch(plan: &SourcePlan, checkpoint: &Checkpoint, what: &str) -> SessionError {
    SessionError::Final(format!(
        "source `{}`: {what}. The checkpoint {} does not apply to it, and going on could skip changes. Either point \
         `sources.{}` back at the database and slot it belongs to; or run `rowcall init --rebind`, which goes on from \
         the slot's present position, and bring over what changed in between yourself",
        plan.name, checkpoint.lsn, plan.name
    ))
}
