//! What is said of a run's progress. Pure: a run and a time in, text out.

use crate::{
    audit::{Report, tally},
    cli::output::seconds,
    model::{RunCounts, RunKind, RunState},
    state::Run,
};
use jiff::Timestamp;

/// How many cells a bar has.
const CELLS: u64 = 24;

/// `snapshot loan`, or `replay` of everything.
pub(super) fn name(run: &Run) -> String {
    match &run.entity {
        Some(entity) => format!("{} {entity}", run.kind.name()),
        None => run.kind.name().to_owned(),
    }
}

/// `35 rows/s`; empty before anything was read.
pub(super) fn rate(run: &Run, now: Timestamp) -> String {
    match run.per_second(now) {
        None => String::new(),
        Some(few) if few < 9.95 => format!("{few:.1} rows/s"),
        Some(many) => format!("{many:.0} rows/s"),
    }
}

/// `4 min`, while it runs and it is known how far it has to go.
pub(super) fn left(run: &Run, now: Timestamp) -> String {
    run.seconds_left(now).map(seconds).unwrap_or_default()
}

/// `1200 of 40000 (3%)`, or `1200`.
pub(super) fn progress(run: &Run) -> String {
    let read = run.counts.read;
    match (run.expected, run.percent()) {
        (Some(expected), Some(percent)) => format!("{read} of {expected} ({percent}%)"),
        _ => read.to_string(),
    }
}

/// `2 applied, 1 skipped, 0 parked`; of an audit `2 agree, 1 skipped, 3 different`.
pub(super) fn counts(run: &Run) -> String {
    let RunCounts { applied, skipped, parked, .. } = run.counts;
    if run.kind == RunKind::Audit {
        let found = found(run).map(|it| format!(", {it}")).unwrap_or_default();
        return format!("{applied} agree, {skipped} skipped{found}");
    }
    format!("{applied} applied, {skipped} skipped, {parked} parked")
}

/// What an audit has found, if it is one.
pub(super) fn report(run: &Run) -> Option<Report> {
    serde_json::from_value(run.report.clone()?).ok()
}

/// `3 different, 1 missing`, if anything was found.
pub(super) fn found(run: &Run) -> Option<String> {
    report(run).filter(|it| !it.found.is_empty()).map(|it| tally(&it.found))
}

/// One line that says all of it: for a log, and for `rowcall status`.
pub(in crate::cli) fn line(run: &Run, now: Timestamp) -> String {
    let mut line = format!("run {} {}: {}", run.id, name(run), run.state.name());
    if run.started_at.is_some() {
        line.push_str(&format!(", {} read, {}", progress(run), counts(run)));
    }
    if run.state.is_over() {
        run.taken(now).into_iter().for_each(|it| line.push_str(&format!(", in {}", seconds(it))));
    } else {
        line.push_str(&tail(run, now));
    }
    if let Some(error) = &run.error {
        line.push_str(&format!(": {}", first_line(error)));
    }
    line
}

/// One line with a bar, for a terminal.
pub(super) fn bar(run: &Run, now: Timestamp) -> String {
    if run.state.is_over() || run.started_at.is_none() {
        return line(run, now);
    }
    let full = run.percent().unwrap_or(0) * CELLS / 100;
    let bar: String = (0..CELLS).map(|at| if at < full { '█' } else { '░' }).collect();
    let state =
        if run.state == RunState::Running { String::new() } else { format!("{}, ", run.state.name()) };
    format!("run {} {} {bar} {state}{}, {}{}", run.id, name(run), progress(run), counts(run), tail(run, now))
}

fn tail(run: &Run, now: Timestamp) -> String {
    let mut tail = String::new();
    if run.state == RunState::Running {
        let (rate, left) = (rate(run, now), left(run, now));
        if !rate.is_empty() {
            tail.push_str(&format!(", {rate}"));
        }
        if !left.is_empty() {
            tail.push_str(&format!(", {left} left"));
        }
    }
    tail
}

pub(super) fn first_line(error: &str) -> &str {
    error.lines().next().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Lsn, RunId, RunKind, RunRequest};
    use std::sync::Arc;

    pub(in crate::cli::runs) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Asked for at 0, begun at 10.
    pub(in crate::cli::runs) fn run(id: i64, state: RunState, read: u64, expected: Option<u64>) -> Run {
        let (entity, origin) = (Some(Arc::from("loan")), Arc::from("command"));
        let request = RunRequest { kind: RunKind::Snapshot, entity, options: serde_json::Map::new(), origin };
        let mut run = Run::requested(RunId(id), "main", request, at(0));
        if state != RunState::Requested {
            run.begin(Lsn::new(1), at(10));
        }
        let counts = RunCounts { read, applied: read, ..RunCounts::default() };
        Run { state, counts, expected, ..run }
    }

    #[test]
    fn the_rate_counts_from_the_beginning_and_the_rest_is_told_by_it() {
        use RunState::{Paused, Running};
        let cases = [
            (run(7, RunState::Requested, 0, None), 60, "", ""),
            (run(7, Running, 0, Some(100)), 60, "", ""),
            (run(7, Running, 50, Some(100)), 10, "", ""),
            (run(7, Running, 50, Some(100)), 9, "", ""),
            (run(7, Running, 50, Some(100)), 60, "1.0 rows/s", "50.0 s"),
            (run(7, Running, 100_000, Some(1_000_000)), 60, "2000 rows/s", "8 min"),
            (run(7, Running, 497, Some(1_000)), 60, "9.9 rows/s", "50.6 s"),
            (run(7, Running, 498, Some(1_000)), 60, "10 rows/s", "50.4 s"),
            (run(7, Running, 1, Some(u64::MAX)), 60, "0.0 rows/s", ""),
            (run(7, Running, 120, Some(100)), 60, "2.4 rows/s", ""),
            (run(7, Running, 120, None), 60, "2.4 rows/s", ""),
            (run(7, Paused, 50, Some(100)), 60, "1.0 rows/s", ""),
        ];
        for (run, now, expected_rate, expected_left) in cases {
            assert_eq!(
                (&*rate(&run, at(now)), &*left(&run, at(now))),
                (expected_rate, expected_left),
                "{run:?}"
            );
        }
        let over = Run { finished_at: Some(at(20)), ..run(7, RunState::Done, 50, Some(50)) };
        assert_eq!(rate(&over, at(1_000)), "5.0 rows/s", "its time stands still");
    }

    #[test]
    fn an_estimate_is_reached_only_by_what_is_done() {
        let cases = [
            (RunState::Running, 0, None, "0"),
            (RunState::Running, 5, Some(0), "5"),
            (RunState::Running, 5, Some(1_000), "5 of 1000 (0%)"),
            (RunState::Running, 1_200, Some(40_000), "1200 of 40000 (3%)"),
            (RunState::Running, 41_000, Some(40_000), "41000 of 40000 (99%)"),
            (RunState::Done, 41_000, Some(40_000), "41000 of 40000 (100%)"),
            (RunState::Running, u64::MAX, Some(1), "18446744073709551615 of 1 (99%)"),
        ];
        for (state, read, expected, text) in cases {
            assert_eq!(progress(&run(7, state, read, expected)), text);
        }
    }

    #[test]
    fn a_line_says_how_a_run_stands() {
        let (requested, running) = (RunState::Requested, RunState::Running);
        assert_eq!(line(&run(7, requested, 0, None), at(60)), "run 7 snapshot loan: requested");
        assert_eq!(
            line(&run(7, running, 50, Some(100)), at(60)),
            "run 7 snapshot loan: running, 50 of 100 (50%) read, 50 applied, 0 skipped, 0 parked, 1.0 rows/s, 50.0 s left"
        );
        assert_eq!(
            line(&run(7, RunState::Paused, 50, None), at(60)),
            "run 7 snapshot loan: paused, 50 read, 50 applied, 0 skipped, 0 parked"
        );
        let (finished_at, error) = (Some(at(70)), Some("no such column\nmore".to_owned()));
        let failed = Run { finished_at, error, entity: None, ..run(7, RunState::Failed, 50, None) };
        assert_eq!(
            line(&failed, at(500)),
            "run 7 snapshot: failed, 50 read, 50 applied, 0 skipped, 0 parked, in 1 min: no such column"
        );
        let cancelled = Run { finished_at, ..run(7, requested, 0, None) };
        let cancelled = Run { state: RunState::Cancelled, ..cancelled };
        assert_eq!(line(&cancelled, at(500)), "run 7 snapshot loan: cancelled");
    }

    #[test]
    fn a_bar_fills_with_what_was_read() {
        let empty = bar(&run(7, RunState::Running, 10, None), at(60));
        assert_eq!(
            empty,
            format!("run 7 snapshot loan {} 10, 10 applied, 0 skipped, 0 parked, 0.2 rows/s", "░".repeat(24))
        );
        let half = bar(&run(7, RunState::Paused, 50, Some(100)), at(60));
        let cells = format!("{}{}", "█".repeat(12), "░".repeat(12));
        assert_eq!(
            half,
            format!("run 7 snapshot loan {cells} paused, 50 of 100 (50%), 50 applied, 0 skipped, 0 parked")
        );
        let waiting = run(7, RunState::Requested, 0, None);
        assert_eq!(bar(&waiting, at(60)), line(&waiting, at(60)));
    }
}
