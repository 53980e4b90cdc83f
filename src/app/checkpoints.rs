//! Named checkpoints: made, listed and dropped by commands, whether or not a service is at work.

use super::{App, AppError, plan::SourcePlan, slot_watch::rough, state::connect};
use crate::{
    admin::view::CheckpointLine,
    capture::logical::{
        SLOT_ANEW,
        inspect::{self, Slot},
        lost_slot,
        marks::{copy_slot, drop_slot, mark_slot},
    },
    postgres,
    state::postgres::{Mark, MarkDesk},
};

impl App {
    /// Makes a checkpoint where the source's slot stands.
    pub async fn create_checkpoint(&self, name: &str, source: Option<&str>) -> Result<Mark, AppError> {
        let plans = self.chosen(source)?;
        let [plan] = &plans[..] else {
            let names: Vec<&str> = plans.iter().map(|it| it.name.as_str()).collect();
            let message = format!("say with `--source` whose checkpoint it is: {}", names.join(", "));
            return Err(AppError::Configuration(vec![message]));
        };
        let slot = mark_slot(&plan.slot, name).map_err(|message| AppError::Configuration(vec![message]))?;
        let state = connect(plan).await?;
        let client = postgres::connect(&plan.target).await?;
        let from = inspect::slot(&client, &plan.slot).await?;
        let Some(Slot { confirmed: Some(confirmed), wal_status, .. }) = from else {
            let message = format!("replication slot `{}` does not exist: run `rowcall init`", plan.slot);
            return Err(AppError::Failed(message));
        };
        if wal_status == "lost" {
            return Err(AppError::Failed(format!("{}: {SLOT_ANEW}", lost_slot(&plan.slot))));
        }
        let desk = MarkDesk { client: &state };
        if !desk.announce(&plan.name, name, &slot, confirmed).await.map_err(sql)? {
            return Err(AppError::Failed(format!(
                "source `{}` has a checkpoint `{name}` already: take another name, or run `rowcall checkpoint drop {name}` \
                 first",
                plan.name
            )));
        }
        match copy_slot(&client, &plan.slot, &slot, &plan.target.user).await {
            Ok(at) => {
                let dropped = || AppError::Failed(format!("checkpoint `{name}` was dropped meanwhile"));
                desk.place(&plan.name, name, at).await.map_err(sql)?.ok_or_else(dropped)
            }
            // It may have been made without our knowing; then the row says so.
            Err(error) if !error.is_final() => Err(error.into()),
            Err(error) => {
                desk.forget(&plan.name, name).await.map_err(sql)?;
                Err(error.into())
            }
        }
    }

    /// Every checkpoint of the source, or of each; a source's oldest first.
    pub async fn list_checkpoints(&self, source: Option<&str>) -> Result<Vec<CheckpointLine>, AppError> {
        let mut lines = Vec::new();
        for plan in self.chosen(source)? {
            let state = connect(&plan).await?;
            let desk = MarkDesk { client: &state };
            let marks = desk.list(&plan.name).await.map_err(sql)?;
            if marks.is_empty() {
                continue;
            }
            let now = desk.now().await.map_err(sql)?;
            let client = postgres::connect(&plan.target).await.map_err(|error| error.to_string());
            for mark in marks {
                let seen = match &client {
                    Ok(client) => inspect::slot(client, &mark.slot).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.clone()),
                };
                let age_seconds = now.duration_since(mark.created_at).as_secs_f64().max(0.0);
                lines.push(line(&plan, mark, age_seconds, seen));
            }
        }
        Ok(lines)
    }

    /// Drops a checkpoint and its slot, and says of which source it was.
    pub async fn drop_checkpoint(&self, name: &str, source: Option<&str>) -> Result<String, AppError> {
        let mut found = Vec::new();
        for plan in self.chosen(source)? {
            let state = connect(&plan).await?;
            let marks = MarkDesk { client: &state }.list(&plan.name).await.map_err(sql)?;
            found.extend(marks.into_iter().find(|it| it.name == name).map(|mark| (plan, state, mark)));
        }
        if found.len() > 1 {
            let message =
                format!("several sources have a checkpoint `{name}`: add `--source` to say which is meant");
            return Err(AppError::Configuration(vec![message]));
        }
        let none =
            || AppError::Failed(format!("there is no checkpoint `{name}`; see `rowcall checkpoint list`"));
        let (plan, state, mark) = found.pop().ok_or_else(none)?;
        let client = postgres::connect(&plan.target).await?;
        drop_slot(&client, &mark.slot).await?;
        MarkDesk { client: &state }.forget(&plan.name, name).await.map_err(sql)?;
        Ok(plan.name)
    }

    /// The source of this name, or all of them.
    pub(super) fn chosen(&self, source: Option<&str>) -> Result<Vec<SourcePlan>, AppError> {
        let mut plans = self.plans()?;
        plans.retain(|plan| source.is_none_or(|name| plan.name == name));
        match source {
            Some(name) if plans.is_empty() => Err(AppError::Configuration(vec![format!(
                "there is no source `{name}` in the configuration"
            )])),
            _ => Ok(plans),
        }
    }
}

fn sql(error: tokio_postgres::Error) -> AppError {
    AppError::Unreachable(postgres::explain(&error))
}

fn line(
    plan: &SourcePlan,
    mark: Mark,
    age_seconds: f64,
    seen: Result<Option<Slot>, String>,
) -> CheckpointLine {
    let (retained_bytes, wal_status, problem) = match seen {
        Err(error) => (None, "unknown".to_owned(), Some(error)),
        Ok(slot) => {
            let problem = trouble(plan, &mark, slot.as_ref());
            match slot {
                None => (None, "gone".to_owned(), problem),
                Some(slot) => {
                    let kept = (slot.wal_status != "lost").then_some(slot.kept_bytes);
                    (kept, slot.wal_status, problem)
                }
            }
        }
    };
    CheckpointLine { mark, age_seconds, retained_bytes, wal_status, problem }
}

/// What is wrong with a checkpoint, and what to do about it.
pub(super) fn trouble(plan: &SourcePlan, mark: &Mark, slot: Option<&Slot>) -> Option<String> {
    let name = &mark.name;
    let cure = format!("run `rowcall checkpoint drop {name}`, and make another");
    if let Some(why) = &mark.given_up {
        return Some(format!("the service dropped its slot: {why}; {cure}"));
    }
    let Some(slot) = slot else {
        return Some(format!(
            "its slot `{}` is gone (dropped by hand, or the database is another one since): nothing can be read from it; {cure}",
            mark.slot
        ));
    };
    let max = plan.replay.max;
    match (slot.wal_status.as_str(), Retention::of(slot.kept_bytes, max.0)) {
        ("lost", _) => Some(format!(
            "the server removed its log (`max_slot_wal_keep_size`): nothing can be read from it; {cure}, and raise that \
             limit if it is to last longer"
        )),
        ("unreserved", _) => Some(format!(
            "it is about to be lost: the server may remove its log at the next checkpoint of its own; raise \
             `max_slot_wal_keep_size`, or drop it by `rowcall checkpoint drop {name}`"
        )),
        (_, Retention::Fine) => None,
        (_, Retention::Near | Retention::Beyond) => Some(format!(
            "it keeps {} of log, and beyond `sources.{}.replay.max` ({max}) the service drops it; raise that, or drop it by \
             `rowcall checkpoint drop {name}`",
            rough(slot.kept_bytes),
            plan.name
        )),
    }
}

/// How what a checkpoint keeps compares with what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retention {
    /// There is room.
    Fine,
    /// Four fifths are used up.
    Near,
    /// It is too much.
    Beyond,
}

impl Retention {
    pub(super) fn of(kept: i64, max: u64) -> Self {
        let kept = kept.max(0).unsigned_abs();
        if kept > max {
            Self::Beyond
        } else if kept >= max - max / 5 {
            Self::Near
        } else {
            Self::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_are_near_and_more_than_all_is_beyond() {
        let told = [-1, 0, 79, 80, 100, 101].map(|kept| Retention::of(kept, 100));
        let [Retention::Fine, Retention::Fine, Retention::Fine, near, full, Retention::Beyond] = told else {
            panic!("{told:?}")
        };
        assert_eq!([near, full], [Retention::Near; 2]);
    }
}
