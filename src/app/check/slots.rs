//! Whether the server has as many replication slots as the source, its checkpoints and its replays need.

use super::Findings;
use crate::{
    app::{checkpoints::trouble, plan::SourcePlan},
    capture::logical::inspect::{self, Server},
    postgres::{self, Client},
    state::postgres::{MarkDesk, pending_migrations},
};

/// What is wrong with the state database is said elsewhere.
pub(super) async fn check(plan: &SourcePlan, server: &Server, client: &Client, findings: &mut Findings) {
    let Ok(state) = postgres::connect(&plan.state).await else { return };
    if !pending_migrations(&state).await.is_ok_and(|it| it.is_empty()) {
        return;
    }
    let marks = match (MarkDesk { client: &state }).list(&plan.name).await {
        Ok(marks) => marks,
        Err(error) => {
            let what = format!("checkpoints cannot be read: {}", postgres::explain(&error));
            return findings.bad(what, format!("grant `{}` schema `rowcall`", plan.state.user));
        }
    };
    let mut alive = 0;
    for mark in &marks {
        match inspect::slot(client, &mark.slot).await {
            Ok(slot) => {
                alive += u32::from(slot.is_some());
                if let Some(danger) = trouble(plan, mark, slot.as_ref()) {
                    findings.warning(
                        format!("checkpoint `{}`: {danger}", mark.name),
                        "see `rowcall checkpoint list`",
                    );
                }
            }
            Err(error) => findings.bad(error.to_string(), "see the server's log"),
        }
    }
    let (used, all) = (server.slots_used, server.slots);
    let keep = if plan.replay.keep.is_some() { ", 1 for `replay.keep`" } else { "" };
    let need = format!(
        "{used} of {all} max_replication_slots are in use; this source needs 1 and {alive} for its checkpoints{keep}, and \
         one more while `rowcall replay` is at work"
    );
    if used >= all {
        findings.warning(
            format!("{need}: no further checkpoint can be made"),
            "drop slots nobody reads, or raise `max_replication_slots` and restart the server",
        );
    } else {
        findings.good(format!("{need}; {} are free", all - used));
    }
}
