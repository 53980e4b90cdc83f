//! `rowcall status --watch`: the same again and again, on one screen.

use super::{Rates, text};
use crate::{
    app::{App, Status},
    cli::{Failure, interrupted, output::print},
};
use std::{
    io::{IsTerminal, stdout},
    pin::pin,
    time::Duration,
};
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval},
};

/// Shows it until a signal ends it. What cannot be read is said, and tried again.
pub(super) async fn watch(app: &App, every: Duration, json: bool) -> Result<(), Failure> {
    let mut interrupted = pin!(interrupted().map_err(Failure::Failed)?);
    let screen = (!json && stdout().is_terminal()).then(Screen::open).transpose()?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = Watched::default();
    loop {
        let read = async {
            ticks.tick().await;
            app.status().await
        };
        let read = select! {
            read = read => read,
            () = &mut interrupted => return Ok(()),
        };
        let status = match read {
            Ok(status) => status,
            Err(error) => {
                watched.failure = Some(error.to_string());
                match &screen {
                    Some(screen) => screen.show(&watched.text())?,
                    None => eprintln!("rowcall: {error}"),
                }
                continue;
            }
        };
        if json {
            let line = serde_json::to_string(&status);
            print(&line.map_err(|error| Failure::Failed(error.to_string()))?)?;
            continue;
        }
        watched.is(&status, Instant::now());
        match &screen {
            Some(screen) => screen.show(&watched.text())?,
            None => print(&format!("{}\n", watched.text()))?,
        }
    }
}

/// What was read last, and what it is compared with.
#[derive(Default)]
struct Watched {
    /// How many changes each route had settled, and when.
    before: Option<(Instant, Vec<(String, i64)>)>,
    text: String,
    failure: Option<String>,
}

impl Watched {
    fn is(&mut self, status: &Status, now: Instant) {
        let settled: Vec<_> =
            status.routes.iter().map(|it| (it.route.clone(), it.applied + it.skipped)).collect();
        let rates = self.before.as_ref().map(|(then, before)| rates(before, &settled, now - *then));
        self.before = Some((now, settled));
        let at = status.read_at.unwrap_or_default();
        self.text = format!("{at:.0}\n{}", text(status, Some(&rates.unwrap_or_default())));
        self.failure = None;
    }

    fn text(&self) -> String {
        match &self.failure {
            Some(failure) => format!("✗ {failure}\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

fn rates(before: &[(String, i64)], now: &[(String, i64)], between: Duration) -> Rates {
    let rate = |(route, count): &(String, i64)| {
        let (_, earlier) = before.iter().find(|(it, _)| it == route)?;
        let rate = (count - earlier).max(0) as f64 / between.as_secs_f64().max(f64::EPSILON);
        Some((route.clone(), rate))
    };
    now.iter().filter_map(rate).collect()
}

/// The terminal's other screen; when it is left, what was there before is there again.
struct Screen {
    is_coloured: bool,
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        let screen = Self { is_coloured: std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()) };
        // No line wraps, or there would be more of them than fit.
        write("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(screen)
    }

    fn show(&self, text: &str) -> Result<(), Failure> {
        let rows = rustix::termios::tcgetwinsize(stdout()).map_or(0, |it| it.ws_row);
        write(&frame(text, usize::from(rows), self.is_coloured))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If nobody is there any more, nobody misses it.
        let _ = write("\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

fn write(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The text over what was there, cut to so many rows; 0 if that is not known.
fn frame(text: &str, rows: usize, is_coloured: bool) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let fit = if rows == 0 || lines.len() < rows { lines.len() } else { rows.saturating_sub(2) };
    let mut frame = String::from("\x1b[H");
    for line in &lines[..fit] {
        let is_problem = line.trim_start().starts_with('✗');
        let (on, off) = if is_problem && is_coloured { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
        frame.push_str(&format!("{on}{line}{off}\x1b[K\r\n"));
    }
    if fit < lines.len() {
        let left = lines.len() - fit;
        frame.push_str(&format!("… {left} more lines than fit: `rowcall status` prints them all\x1b[K"));
    }
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_since_over_the_time_since() {
        let counts = |some: &[(&str, i64)]| -> Vec<(String, i64)> {
            some.iter().map(|(route, count)| ((*route).to_owned(), *count)).collect()
        };
        let (before, now) = (counts(&[("a", 10), ("b", 5)]), counts(&[("a", 15), ("b", 1), ("new", 3)]));
        let rates = rates(&before, &now, Duration::from_secs(2));
        assert_eq!(rates, Rates::from([("a".to_owned(), 2.5), ("b".to_owned(), 0.0)]));
    }

    #[test]
    fn a_frame_is_no_higher_than_the_screen_and_marks_what_is_wrong() {
        let text = "one\n  ✗ two\nthree\nfour";
        let marked = "\x1b[31m  ✗ two\x1b[0m\x1b[K\r\n";
        let rest = "three\x1b[K\r\nfour\x1b[K\r\n\x1b[J";
        assert_eq!(frame(text, 0, true), format!("\x1b[Hone\x1b[K\r\n{marked}{rest}"));
        assert_eq!(frame(text, 5, true), frame(text, 0, true));
        let cut = "\x1b[Hone\x1b[K\r\n  ✗ two\x1b[K\r\n… 2 more lines than fit: `rowcall status` prints them all\x1b[K\x1b[J";
        assert_eq!(frame(text, 4, false), cut);
    }

    #[test]
    fn what_was_read_stays_on_the_screen_while_it_cannot_be_read_again() {
        let failure = Some("no answer".to_owned());
        let watched = Watched { text: "all is well".to_owned(), failure, ..Watched::default() };
        assert_eq!(watched.text(), "✗ no answer\nall is well");
    }
}
