//! What the source keeps of its log, and which slot of it a replay is read from. The choice is pure.

use super::{keep::keep_slot, point::Point};
use crate::{
    app::{AppError, plan::SourcePlan},
    capture::logical::inspect,
    model::Lsn,
    postgres::{self, Client},
    state::postgres::MarkDesk,
};
use jiff::Timestamp;
use std::fmt;

/// A slot that keeps the log from somewhere on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The checkpoint it belongs to; `None` for the one that trails behind.
    pub(super) name: Option<String>,
    pub(super) slot: String,
    /// Every transaction that commits here or later can be read from it…
    pub(super) lsn: Lsn,
    /// … and every one that was committed from then on.
    pub(super) at: Timestamp,
    /// Why nothing can be read from it.
    pub(super) broken: Option<String>,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, lsn, at, .. } = self;
        write!(f, "{lsn}, of {at}, kept by ")?;
        match name {
            Some(name) => write!(f, "checkpoint `{name}`"),
            None => write!(f, "slot `{}` (`replay.keep`)", self.slot),
        }
    }
}

/// The slot to read from, or why there is none; `source` is for the message.
pub(super) fn choose<'a>(from: &Point, all: &'a [Kept], source: &str) -> Result<&'a Kept, String> {
    let whole = all.iter().filter(|it| it.broken.is_none());
    let reaches = |it: &&Kept| match from {
        Point::Checkpoint(name) => it.name.as_ref() == Some(name),
        Point::Lsn(lsn) => it.lsn <= *lsn,
        Point::Time(at) => it.at <= *at,
        Point::Ago(_) => false,
    };
    if let Some(nearest) = whole.clone().filter(reaches).max_by_key(|it| it.lsn) {
        return Ok(nearest);
    }
    let oldest = match whole.min_by_key(|it| it.lsn) {
        Some(oldest) => format!("the oldest point from which it can be is {oldest}"),
        None => format!(
            "source `{source}` keeps no log for that: make a checkpoint before the next time (`rowcall checkpoint create`), \
             or set `sources.{source}.replay.keep`"
        ),
    };
    Err(match from {
        Point::Checkpoint(name) => {
            match all.iter().find(|it| it.name.as_ref() == Some(name)).and_then(|it| it.broken.as_ref()) {
                Some(why) => format!("checkpoint `{name}` cannot be replayed: {why}; {oldest}"),
                None => format!("there is no checkpoint `{name}`; see `rowcall checkpoint list`; {oldest}"),
            }
        }
        from => format!("what was committed from {from} on cannot be replayed: {oldest}"),
    })
}

/// All that a source keeps; what is broken with the reason.
pub(super) async fn all(plan: &SourcePlan, state: &Client, client: &Client) -> Result<Vec<Kept>, AppError> {
    let sql = |error| AppError::Unreachable(postgres::explain(&error));
    let desk = MarkDesk { client: state };
    let mut all = Vec::new();
    for mark in desk.list(&plan.name).await.map_err(sql)? {
        let slot = inspect::slot(client, &mark.slot).await?;
        let broken = match (&mark.given_up, &slot) {
            (Some(why), _) => Some(format!("the service dropped its slot: {why}")),
            (None, None) => Some(format!("its slot `{}` is gone", mark.slot)),
            (None, Some(slot)) if slot.wal_status == "lost" => Some("the server removed its log".to_owned()),
            _ => None,
        };
        // What was moved by hand keeps less.
        let lsn = slot.and_then(|it| it.confirmed).map_or(mark.lsn, |confirmed| confirmed.max(mark.lsn));
        all.push(Kept { name: Some(mark.name), slot: mark.slot, lsn, at: mark.created_at, broken });
    }
    let slot = keep_slot(&plan.slot);
    let trailing = inspect::slot(client, &slot).await?.filter(|it| it.wal_status != "lost");
    if let Some(confirmed) = trailing.and_then(|it| it.confirmed) {
        let points = desk.points(&plan.name).await.map_err(sql)?;
        let oldest = points.into_iter().find(|point| point.lsn >= confirmed);
        all.extend(oldest.map(|it| Kept { name: None, slot, lsn: it.lsn, at: it.at, broken: None }));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: Option<&str>, lsn: u64, second: i64) -> Kept {
        Kept {
            name: name.map(str::to_owned),
            slot: format!("s{lsn}"),
            lsn: Lsn::new(lsn),
            at: Timestamp::from_second(second).expect("a time"),
            broken: None,
        }
    }

    fn chosen(from: &Point, all: &[Kept]) -> Result<String, String> {
        choose(from, all, "main").map(|it| it.slot.clone())
    }

    #[test]
    fn what_is_read_is_the_slot_that_is_nearest_before_the_point() {
        let all = [kept(Some("old"), 10, 100), kept(None, 30, 300), kept(Some("new"), 50, 500)];
        let at = |second| Point::Time(Timestamp::from_second(second).expect("a time"));
        let cases = [
            (Point::Checkpoint("old".to_owned()), "s10"),
            (Point::Lsn(Lsn::new(10)), "s10"),
            (Point::Lsn(Lsn::new(49)), "s30"),
            (Point::Lsn(Lsn::new(99)), "s50"),
            (at(100), "s10"),
            (at(499), "s30"),
            (at(1_000), "s50"),
        ];
        for (from, slot) in cases {
            assert_eq!(chosen(&from, &all), Ok(slot.to_owned()), "{from}");
        }
    }

    #[test]
    fn what_is_too_old_is_refused_with_the_oldest_point() {
        let lost =
            Kept { broken: Some("the server removed its log".to_owned()), ..kept(Some("lost"), 5, 50) };
        let all = [lost, kept(Some("old"), 16, 100), kept(None, 48, 300)];
        let oldest = "the oldest point from which it can be is 0/10, of 1970-01-01T00:01:40Z, kept by checkpoint `old`";
        let at = Point::Time(Timestamp::from_second(99).expect("a time"));
        for from in [Point::Lsn(Lsn::new(15)), at, Point::Checkpoint("lost".to_owned())] {
            let said = chosen(&from, &all).expect_err("too old");
            assert!(said.ends_with(oldest), "{said}");
        }
        let said = chosen(&Point::Checkpoint("lost".to_owned()), &all).expect_err("lost");
        assert!(said.contains("`lost` cannot be replayed: the server removed its log"), "{said}");
        let said = chosen(&Point::Checkpoint("other".to_owned()), &[]).expect_err("unknown");
        assert!(
            said.contains("no checkpoint `other`") && said.contains("sources.main.replay.keep"),
            "{said}"
        );
    }
}
