//! How much log the named checkpoints keep: said loudly when it is nearly too much, and the oldest is
//! given up when it is.

use super::{
    checkpoints::{Retention, trouble},
    plan::SourcePlan,
    replay::ReplayOptions,
    slot_watch::{SAY_AGAIN, in_time, rough},
};
use crate::{
    capture::logical::{
        inspect::{self, Slot},
        marks::drop_slot,
    },
    model::RunKind,
    postgres::Client,
    state::{
        Run, StateStore,
        postgres::{Mark, PostgresStore},
    },
};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Looks at a source's named checkpoints, and remembers what was said of them.
#[derive(Debug, Default)]
pub(super) struct MarkWatch {
    said: BTreeMap<String, Instant>,
}

impl MarkWatch {
    /// One look. What fails is tried at the next; the stream goes on whatever comes of it.
    pub(super) async fn look(&mut self, plan: &SourcePlan, client: &Client, store: &PostgresStore) {
        if let Err(error) = in_time(self.judge(plan, client, store)).await
            && self.is_news("")
        {
            tracing::warn!(
                source = plan.name,
                "checkpoints cannot be looked at, so `replay.max` cannot be kept: {error}"
            );
        }
    }

    async fn judge(
        &mut self,
        plan: &SourcePlan,
        client: &Client,
        store: &PostgresStore,
    ) -> Result<(), String> {
        let marks = store.marks().await.map_err(|error| error.to_string())?;
        self.said.retain(|name, _| name.is_empty() || marks.iter().any(|mark| mark.name == *name));
        let runs = store.runs().await.map_err(|error| error.to_string())?;
        let mut oldest: Option<(&Mark, Slot)> = None;
        for mark in &marks {
            let slot = inspect::slot(client, &mark.slot).await.map_err(|error| error.to_string())?;
            if mark.given_up.is_some() {
                // An earlier look did not come so far.
                if slot.is_some() {
                    drop_slot(client, &mark.slot).await.map_err(|error| error.to_string())?;
                }
                continue;
            }
            if let Some(danger) = trouble(plan, mark, slot.as_ref())
                && self.is_news(&mark.name)
            {
                tracing::error!(
                    source = plan.name,
                    checkpoint = mark.name,
                    "checkpoint `{}`: {danger}",
                    mark.name
                );
            }
            // Something is about to be read from it.
            if runs.iter().any(|run| replays(run, &mark.name)) {
                continue;
            }
            // They come in the order of their positions, and so of what they keep.
            if let (None, Some(slot)) = (&oldest, slot.filter(|it| it.wal_status != "lost")) {
                oldest = Some((mark, slot));
            }
        }
        // The next look finds the next oldest.
        match oldest {
            Some((mark, slot)) if Retention::of(slot.kept_bytes, plan.replay.max.0) == Retention::Beyond => {
                give_up(plan, client, store, mark, &slot).await
            }
            _ => Ok(()),
        }
    }

    fn is_news(&mut self, name: &str) -> bool {
        let now = Instant::now();
        let news = self.said.get(name).is_none_or(|at| now - *at >= SAY_AGAIN);
        if news {
            self.said.insert(name.to_owned(), now);
        }
        news
    }
}

/// Whether that run reads the log from this checkpoint.
fn replays(run: &Run, name: &str) -> bool {
    run.kind == RunKind::Replay && ReplayOptions::of(run).is_ok_and(|it| it.from == name)
}

/// The reason is stored first: what is given up and has a slot still is dropped by a later look.
async fn give_up(
    plan: &SourcePlan,
    client: &Client,
    store: &PostgresStore,
    mark: &Mark,
    slot: &Slot,
) -> Result<(), String> {
    let (kept, max) = (rough(slot.kept_bytes), plan.replay.max);
    let why = format!("it kept {kept} of log, more than `sources.{}.replay.max` ({max})", plan.name);
    store.give_up_mark(&mark.name, &why).await.map_err(|error| error.to_string())?;
    drop_slot(client, &mark.slot).await.map_err(|error| error.to_string())?;
    tracing::error!(
        source = plan.name,
        checkpoint = mark.name,
        slot = mark.slot,
        "checkpoint `{}` is dropped: {why}. Nothing can be replayed from it any more",
        mark.name
    );
    Ok(())
}
