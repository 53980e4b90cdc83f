//! Waits for runs and shows how they come on.

use super::progress::{bar, line};
use crate::{
    app::{App, Seen},
    cli::Failure,
    model::{RunId, RunState},
    state::Run,
};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write, stderr, stdout},
    time::Duration,
};

const EVERY: Duration = Duration::from_millis(300);

/// How many seconds pass between two lines about a run that only comes on, where nothing is redrawn.
const LINE_EVERY: i64 = 10;

/// Shows how these runs come on until all of them are over; one that failed or was cancelled is a
/// failure of the command. The service does the work: this may be broken off at any time.
pub(in crate::cli) async fn follow(
    app: &App,
    runs: impl IntoIterator<Item = (String, RunId)>,
) -> Result<(), Failure> {
    let wanted: Vec<(String, RunId)> = runs.into_iter().collect();
    let (ids, mut watch) = (wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>(), app.watch_runs(wanted));
    let mut shown = Shown::on(stdout().is_terminal());
    let mut away = false;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = match watch.look().await {
            Ok(seen) => seen,
            Err(error) => {
                if !away {
                    let _ = writeln!(stderr(), "the state database cannot be read, trying on: {error}");
                    shown.interrupted();
                }
                away = true;
                continue;
            }
        };
        away = false;
        let mut out = stdout().lock();
        out.write_all(shown.next(&seen).as_bytes())?;
        out.flush()?;
        if let Some(gone) = ids.iter().find(|id| seen.runs.iter().all(|run| run.id != **id)) {
            return Err(Failure::Failed(format!("there is no run {gone} any more")));
        }
        if seen.runs.iter().all(|run| run.state.is_over()) {
            let done = seen.runs.iter().all(|run| run.state == RunState::Done);
            return if done { Ok(()) } else { Err(Failure::Said) };
        }
    }
}

/// Waits for a run without a word, and says how it ended.
pub(in crate::cli) async fn ended(app: &App, source: String, id: RunId) -> Result<Run, Failure> {
    let mut watch = app.watch_runs([(source, id)]);
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        // A database that is away comes back, or whoever waits has enough of it.
        let Ok(seen) = watch.look().await else { continue };
        let gone = || Failure::Failed(format!("there is no run {id} any more"));
        let run = seen.runs.into_iter().next().ok_or_else(gone)?;
        if run.state.is_over() {
            return Ok(run);
        }
    }
}

/// What is on the screen, or was said, already.
enum Shown {
    /// So many lines, which are drawn over.
    Drawn(usize),
    /// The state in which each run was last told of, and when.
    Told(BTreeMap<RunId, (RunState, Timestamp)>),
}

impl Shown {
    fn on(terminal: bool) -> Self {
        if terminal { Self::Drawn(0) } else { Self::Told(BTreeMap::new()) }
    }

    /// Something else was written: what is on the screen stays there.
    fn interrupted(&mut self) {
        if let Self::Drawn(lines) = self {
            *lines = 0;
        }
    }

    fn next(&mut self, Seen { at, runs }: &Seen) -> String {
        match self {
            Self::Drawn(lines) => redraw(std::mem::replace(lines, runs.len()), runs, *at),
            Self::Told(told) => {
                let mut text = String::new();
                for run in runs {
                    if is_news(told.get(&run.id), run, *at) {
                        told.insert(run.id, (run.state, *at));
                        text.push_str(&format!("{}\n", line(run, *at)));
                    }
                }
                text
            }
        }
    }
}

fn is_news(told: Option<&(RunState, Timestamp)>, run: &Run, now: Timestamp) -> bool {
    let long_ago = |at: Timestamp| !run.state.is_over() && now.duration_since(at).as_secs() >= LINE_EVERY;
    told.is_none_or(|(state, at)| *state != run.state || long_ago(*at))
}

/// Goes up over what was drawn and draws again. Lines do not wrap meanwhile, or there would be more of
/// them than were counted.
fn redraw(drawn: usize, runs: &[Run], now: Timestamp) -> String {
    let mut text = String::new();
    if drawn > 0 {
        text.push_str(&format!("\x1b[{drawn}A"));
    }
    text.push_str("\x1b[?7l");
    for run in runs {
        text.push_str(&format!("\r\x1b[2K{}\n", bar(run, now)));
    }
    text.push_str("\x1b[?7h");
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::progress::tests::{at, run},
        *,
    };

    fn seen(second: i64, runs: &[Run]) -> Seen {
        Seen { at: at(second), runs: runs.to_vec() }
    }

    #[test]
    fn without_a_terminal_a_line_is_said_when_the_state_changes_and_now_and_then() {
        let mut shown = Shown::on(false);
        let (a, b) = (run(1, RunState::Running, 50, None), run(2, RunState::Requested, 0, None));
        let first = shown.next(&seen(60, &[a.clone(), b.clone()]));
        assert_eq!(first.lines().map(|it| &it[..5]).collect::<Vec<_>>(), ["run 1", "run 2"]);
        assert_eq!(shown.next(&seen(69, &[a.clone(), b.clone()])), "");
        let done = Run { finished_at: Some(at(69)), ..run(1, RunState::Done, 60, None) };
        let changed = shown.next(&seen(69, &[done.clone(), b.clone()]));
        assert_eq!(changed, format!("{}\n", line(&done, at(69))));
        let later = shown.next(&seen(70, &[done.clone(), b.clone()]));
        assert_eq!(later, format!("{}\n", line(&b, at(70))), "what is over is said once");
        assert_eq!(shown.next(&seen(1_000, &[done])), "");
    }

    #[test]
    fn on_a_terminal_the_lines_are_drawn_over() {
        let mut shown = Shown::on(true);
        let runs = [run(1, RunState::Running, 50, Some(100)), run(2, RunState::Requested, 0, None)];
        let [one, two] = [bar(&runs[0], at(60)), bar(&runs[1], at(60))];
        let frame = format!("\x1b[?7l\r\x1b[2K{one}\n\r\x1b[2K{two}\n\x1b[?7h");
        assert_eq!(shown.next(&seen(60, &runs)), frame);
        assert_eq!(shown.next(&seen(60, &runs)), format!("\x1b[2A{frame}"));
        shown.interrupted();
        assert_eq!(shown.next(&seen(60, &runs)), frame, "what else was written is not drawn over");
    }
}
