use crate::demo::world::Comparison;
use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

/// What is shown at one moment.
#[derive(Debug, Default)]
pub struct Sample {
    pub running: Duration,
    /// Rows written so far, and per second of late.
    pub rows: (u64, u64),
    /// Calls that arrived so far, and per second of late.
    pub calls: (u64, u64),
    /// From a commit to its call, of late: the median and the longest.
    pub lag: Option<(Duration, Duration)>,
    pub equality: Comparison,
    /// The last transactions, then the last calls.
    pub transactions: VecDeque<String>,
    pub answered: VecDeque<String>,
}

/// A terminal that is redrawn in place, or lines one after another.
pub struct Screen<'a> {
    out: &'a mut (dyn Write + Send),
    in_place: bool,
    drawn: usize,
}

const WIDTH: usize = 96;
/// How many transactions and calls are shown.
pub const SAMPLES: usize = 5;

impl<'a> Screen<'a> {
    pub fn new(out: &'a mut (dyn Write + Send), in_place: bool) -> Self {
        Self { out, in_place, drawn: 0 }
    }

    /// Says something that stays.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        self.drawn = 0;
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    pub fn draw(&mut self, sample: &Sample) -> io::Result<()> {
        if !self.in_place {
            return self.say(&line(sample));
        }
        let mut picture = String::new();
        if self.drawn > 0 {
            let _ = write!(picture, "\x1b[{}A", self.drawn);
        }
        let lines = picture_of(sample);
        for line in &lines {
            let _ = writeln!(picture, "\x1b[2K{line}");
        }
        self.drawn = lines.len();
        self.out.write_all(picture.as_bytes())?;
        self.out.flush()
    }
}

fn line(sample: &Sample) -> String {
    format!(
        "{:>4} s   rows {:>7} ({:>5}/s)   calls {:>7} ({:>5}/s)   {}   {} of {} objects equal",
        sample.running.as_secs(),
        sample.rows.0,
        sample.rows.1,
        sample.calls.0,
        sample.calls.1,
        lag(sample),
        sample.equality.equal,
        sample.equality.of,
    )
}

fn lag(sample: &Sample) -> String {
    let behind = sample.equality.of - sample.equality.equal;
    match sample.lag {
        Some((median, longest)) => {
            format!("lag {behind} objects, {} ms (at most {} ms)", median.as_millis(), longest.as_millis())
        }
        None => format!("lag {behind} objects"),
    }
}

fn picture_of(sample: &Sample) -> Vec<String> {
    let Comparison { equal, of, .. } = sample.equality;
    let filled = (40 * equal).checked_div(of).unwrap_or(0);
    let mut lines = vec![
        String::new(),
        format!("  rows in      {:>9}   {:>6} a second", sample.rows.0, sample.rows.1),
        format!("  calls out    {:>9}   {:>6} a second", sample.calls.0, sample.calls.1),
        format!("  {}", lag(sample)),
        format!(
            "  both sides   {}{}  {equal} of {of} objects equal",
            "█".repeat(filled),
            "░".repeat(40 - filled)
        ),
    ];
    for (title, of) in [("the last transactions", &sample.transactions), ("the last calls", &sample.answered)]
    {
        lines.push(String::new());
        lines.push(format!("  {title}"));
        // Always as many lines, so that the picture keeps its height.
        lines.extend((0..SAMPLES).map(|at| of.get(at).map(|line| format!("    {line}")).unwrap_or_default()));
    }
    lines.iter().map(|line| short(line)).collect()
}

/// One line, not too long for a terminal.
fn short(line: &str) -> String {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        Sample {
            running: Duration::from_secs(3),
            rows: (120, 40),
            calls: (180, 60),
            lag: Some((Duration::from_millis(4), Duration::from_millis(19))),
            equality: Comparison { equal: 30, of: 40, differences: Vec::new() },
            transactions: VecDeque::from(["loan 7 of two\nlines".to_owned(), "x".repeat(200)]),
            answered: VecDeque::new(),
        }
    }

    #[test]
    fn a_terminal_is_redrawn_where_it_was() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, true);
        screen.draw(&sample()).expect("to draw");
        let height = screen.drawn;
        screen.draw(&Sample::default()).expect("to draw");
        assert_eq!(screen.drawn, height, "an empty picture is as high");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.matches('\n').count(), 2 * height);
        assert!(text.contains(&format!("\x1b[{height}A")) && text.contains("30 of 40 objects equal"));
        assert!(
            text.contains("loan 7 of two lines") && text.lines().all(|line| line.chars().count() < 110),
            "{text}"
        );
    }

    #[test]
    fn elsewhere_it_is_one_plain_line_each_time() {
        let mut out = Vec::new();
        Screen::new(&mut out, false).draw(&sample()).expect("to draw");
        let text = String::from_utf8(out).expect("text");
        assert!(!text.contains('\x1b') && text.contains("lag 10 objects, 4 ms (at most 19 ms)"), "{text}");
    }
}
