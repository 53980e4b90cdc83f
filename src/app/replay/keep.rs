//! The slot that trails behind (`replay.keep`): it keeps the log of the last hour, or so, at any time.
//!
//! What a position means in time is remembered beside it, as points: whatever is committed from a
//! point's time on comes at or after its position. The slot is moved to the newest point that is old
//! enough; without any it stays.

use crate::{
    app::{
        checkpoints::Retention,
        plan::SourcePlan,
        slot_watch::{SAY_AGAIN, in_time, rough},
    },
    capture::logical::{
        inspect,
        marks::{advance_slot, copy_slot, drop_slot},
    },
    model::Lsn,
    postgres::{self, Client},
    state::postgres::{PostgresStore, ReplayPoint},
};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// Points a slot has, about.
const POINTS: u32 = 60;
/// Points are no closer than this, nor further apart.
const CLOSEST: Duration = Duration::from_secs(1);
const FURTHEST: Duration = Duration::from_secs(60);

/// The slot of a source that trails behind its own.
pub(in crate::app) fn keep_slot(source_slot: &str) -> String {
    format!("{source_slot}_keep")
}

/// Looks after that slot.
#[derive(Debug, Default)]
pub(in crate::app) struct Keeper {
    /// When the last point was made.
    last: Option<Instant>,
    said: Option<Instant>,
    /// It was looked whether there is a slot that nobody wants any more.
    dropped: bool,
}

impl Keeper {
    /// One look. What fails is tried at the next; the stream goes on whatever comes of it.
    pub(in crate::app) async fn look(&mut self, plan: &SourcePlan, client: &Client, store: &PostgresStore) {
        if let Err(error) = in_time(self.judge(plan, client, store)).await
            && self.is_news()
        {
            let slot = keep_slot(&plan.slot);
            tracing::warn!(source = plan.name, slot, "`replay.keep` cannot be kept: {error}");
        }
    }

    async fn judge(
        &mut self,
        plan: &SourcePlan,
        client: &Client,
        store: &PostgresStore,
    ) -> Result<(), String> {
        let name = keep_slot(&plan.slot);
        let Some(keep) = plan.replay.keep else {
            if !self.dropped {
                drop_slot(client, &name).await.map_err(|error| error.to_string())?;
                store.forget_points(None).await.map_err(|error| error.to_string())?;
                self.dropped = true;
            }
            return Ok(());
        };
        let slot = inspect::slot(client, &name).await.map_err(|error| error.to_string())?;
        let Some(slot) = slot else { return self.make(plan, client, store, &name).await };
        if slot.wal_status == "lost" {
            drop_slot(client, &name).await.map_err(|error| error.to_string())?;
            tracing::error!(
                source = plan.name,
                slot = name,
                "the server removed the log that `replay.keep` is to keep (`max_slot_wal_keep_size`): it is kept anew from now on"
            );
            return Ok(());
        }
        let here = here(client).await?;
        let step = (keep.0 / POINTS).clamp(CLOSEST, FURTHEST);
        if self.last.is_none_or(|last| last.elapsed() >= step) {
            store.add_point(here).await.map_err(|error| error.to_string())?;
            self.last = Some(Instant::now());
        }
        let points = store.points().await.map_err(|error| error.to_string())?;
        let beyond = Retention::of(slot.kept_bytes, plan.replay.max.0) == Retention::Beyond;
        let target = target(&points, here, keep.0, beyond.then_some(plan.replay.max.0));
        if let Some(target) = target.filter(|it| slot.confirmed.is_none_or(|confirmed| it.lsn > confirmed)) {
            advance_slot(client, &name, target.lsn).await.map_err(|error| error.to_string())?;
            store.forget_points(Some(target.lsn)).await.map_err(|error| error.to_string())?;
            let late = target.at > here.at.saturating_sub(signed(keep.0)).unwrap_or(Timestamp::MIN);
            if late && self.is_news() {
                tracing::error!(
                    source = plan.name,
                    slot = name,
                    "slot `{name}` kept {} of log, more than `sources.{}.replay.max` ({}): it keeps less than `replay.keep` \
                     ({keep}) now, what was committed from {} on",
                    rough(slot.kept_bytes),
                    plan.name,
                    plan.replay.max,
                    target.at
                );
            }
        }
        Ok(())
    }

    /// Whatever is committed from here on is behind the source's own slot.
    async fn make(
        &mut self,
        plan: &SourcePlan,
        client: &Client,
        store: &PostgresStore,
        name: &str,
    ) -> Result<(), String> {
        store.forget_points(None).await.map_err(|error| error.to_string())?;
        let at = here(client).await?.at;
        let made = copy_slot(client, &plan.slot, name, &plan.target.user).await;
        let lsn = made.map_err(|error| error.to_string())?;
        store.add_point(ReplayPoint { lsn, at }).await.map_err(|error| error.to_string())?;
        tracing::info!(source = plan.name, slot = name, from = %lsn, "the log is kept for replays from now on");
        Ok(())
    }

    fn is_news(&mut self) -> bool {
        let news = self.said.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if news {
            self.said = Some(Instant::now());
        }
        news
    }
}

/// Where the log stands now: the position first, then the time, so that whatever is committed from that
/// time on comes behind it.
async fn here(client: &Client) -> Result<ReplayPoint, String> {
    let explained = |error: tokio_postgres::Error| postgres::explain(&error);
    let sql = "select pg_catalog.pg_current_wal_insert_lsn()::text";
    let lsn = client.query_one(sql, &[]).await.map_err(explained)?;
    let lsn: Lsn = lsn.get::<_, &str>(0).parse().map_err(|error: crate::model::BadLsn| error.to_string())?;
    let at = client.query_one("select clock_timestamp()", &[]).await.map_err(explained)?.get(0);
    Ok(ReplayPoint { lsn, at })
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

/// Where the slot is to be moved to: the newest point that is old enough. `max`: so much log and no more
/// may be kept, whatever the time.
fn target(
    points: &[ReplayPoint],
    here: ReplayPoint,
    keep: Duration,
    max: Option<u64>,
) -> Option<ReplayPoint> {
    let old = here.at.saturating_sub(signed(keep)).unwrap_or(Timestamp::MIN);
    let by_time = points.iter().filter(|it| it.at <= old).max_by_key(|it| it.lsn);
    let fits = |it: &&ReplayPoint, max: u64| here.lsn.raw().saturating_sub(it.lsn.raw()) <= max / 2;
    let by_size = max.and_then(|max| points.iter().find(|it| fits(it, max)).or(points.last()));
    by_time.into_iter().chain(by_size).max_by_key(|it| it.lsn).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64, lsn: u64) -> ReplayPoint {
        ReplayPoint { lsn: Lsn::new(lsn), at: Timestamp::from_second(second).expect("a time") }
    }

    #[test]
    fn the_slot_follows_at_its_distance_or_nearer_if_that_is_too_much() {
        let points = [point(100, 1_000), point(160, 2_000), point(220, 9_000), point(280, 9_100)];
        let hour = Duration::from_secs(100);
        let now = |second| point(second, 10_000);
        assert_eq!(target(&points, now(190), hour, None), None, "nothing is old enough");
        assert_eq!(target(&points, now(259), hour, None), Some(points[0]));
        assert_eq!(target(&points, now(260), hour, None), Some(points[1]));
        assert_eq!(target(&points, now(260), hour, Some(4_000)), Some(points[2]), "half of what it may");
        assert_eq!(target(&points, now(260), hour, Some(10)), Some(points[3]), "as near as it is known");
        assert_eq!(target(&[], now(260), hour, Some(10)), None);
    }
}
