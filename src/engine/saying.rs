//! The line of the process's own log about how a change ended for a route.
//!
//! All of them have one target, so that a directive can silence them: `log.level: "info,rowcall::outcome=warn"`.
//! Nothing is made for a line that nobody wants.

use super::{log::entity, work::Work};
use crate::{
    model::{Outcome, ParkReason, ParkedState},
    remote::Clock,
};

/// Says it. What a run finds in order already, and what was put aside with many others, only where it is
/// asked for: a snapshot of a million rows is one line, and so is an outage.
pub(super) fn say(clock: Clock, route: &str, key: &str, work: &Work, outcome: &Outcome) {
    let run = work.run().map(|it| it.0);
    macro_rules! say {
        ($level:ident, $outcome:literal, $calls:expr, $state:expr, $reason:expr, $($message:tt)+) => {
            tracing::event!(
                target: "rowcall::outcome",
                tracing::Level::$level,
                route,
                entity = entity(route),
                key,
                change = %work.id(),
                op = work.change.op().name(),
                run,
                outcome = $outcome,
                state = $state,
                reason = $reason,
                calls = $calls,
                attempts = work.spent + work.requests,
                merged = Some(work.absorbed.len()).filter(|it| *it > 0),
                latency_ms = latency(clock, work),
                trace = work.trace.map(tracing::field::display),
                $($message)+
            )
        };
    }
    let none = None::<&str>;
    let calls = work.answers.len();
    match outcome {
        Outcome::Applied { calls, .. } => say!(INFO, "applied", *calls, none, none, "applied"),
        Outcome::Unchanged => {
            let reason = "nothing it sends has changed";
            match run {
                None => say!(INFO, "unchanged", calls, none, reason, "unchanged: {reason}"),
                Some(_) => say!(DEBUG, "unchanged", calls, none, reason, "unchanged: {reason}"),
            }
        }
        Outcome::Skipped { reason } => match run {
            None => say!(INFO, "skipped", calls, none, &**reason, "skipped: {reason}"),
            Some(_) => say!(DEBUG, "skipped", calls, none, &**reason, "skipped: {reason}"),
        },
        Outcome::Parked(parked) => {
            let (state, reason) = (parked.state.name(), parked.reason.name());
            let line = parked.message.lines().next().unwrap_or_default();
            if parked.state == ParkedState::Queued || parked.reason == ParkReason::Outage {
                say!(DEBUG, "parked", calls, state, reason, "parked: {line}");
            } else {
                say!(WARN, "parked", calls, state, reason, "parked: {line}");
            }
        }
    }
}

/// Milliseconds since the commit; of what was not just committed it would say nothing.
pub(super) fn latency(clock: Clock, work: &Work) -> Option<i64> {
    let since = clock().as_millisecond() - work.change.committed_at.as_millisecond();
    work.for_run.is_none().then_some(since.max(0))
}
