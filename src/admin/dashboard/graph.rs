//! Small graphs of the last hour, and the same as tables. Pure.

use super::{samples::Sample, say};
use jiff::Timestamp;
use maud::{Markup, html};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 96.0;
/// What the graph covers.
const SPAN: f64 = 3_600.0;
/// Without a look for this long, the line is broken.
const GAP: f64 = 30.0;

/// A value at a time.
pub(super) type Dot = (Timestamp, f64);

/// What a graph is of.
pub(super) struct Graph<'a> {
    /// Its name, and its element's.
    pub title: &'a str,
    pub id: String,
    pub dots: &'a [Dot],
    pub unit: fn(f64) -> String,
}

/// How long the oldest unsettled transaction of a source has waited.
pub(super) fn lag(samples: &[Sample], source: &str) -> Vec<Dot> {
    let point = |it: &Sample| {
        let point = it.sources.iter().find(|it| *it.source == *source)?;
        Some((it.at, point.settled.seconds?))
    };
    samples.iter().filter_map(point).collect()
}

/// How much log a source has still to settle.
pub(super) fn lag_bytes(samples: &[Sample], source: &str) -> Vec<Dot> {
    let point = |it: &Sample| {
        let point = it.sources.iter().find(|it| *it.source == *source)?;
        Some((it.at, point.settled.bytes? as f64))
    };
    samples.iter().filter_map(point).collect()
}

/// Changes a second between each look and the one before.
pub(super) fn throughput(samples: &[Sample], source: &str) -> Vec<Dot> {
    let done = |it: &Sample| it.sources.iter().find(|it| *it.source == *source).map(|it| it.done);
    let rate = |pair: &[Sample]| {
        let [before, after] = pair else { return None };
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let changes = done(after)?.saturating_sub(done(before)?).max(0);
        (seconds > 0.0).then(|| (after.at, changes as f64 / seconds))
    };
    samples.windows(2).filter_map(rate).collect()
}

pub(super) fn draw(graph: &Graph<'_>, now: Timestamp) -> Markup {
    let Graph { title, id, dots, unit } = graph;
    let last = dots.last().map(|(_, value)| *value);
    let most = dots.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let label = match last {
        Some(last) => format!("{title}: now {}, at most {} in the last hour", unit(last), unit(most)),
        None => format!("{title}: nothing is known yet"),
    };
    html! {
        figure.graph {
            figcaption {
                span { (title) }
                strong { @match last { Some(last) => (unit(last)), None => "–" } }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img" aria-label=(label) {
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - 1.0) y2=(HEIGHT - 1.0) {}
                @for line in lines(dots, most, now) {
                    path.area d=(format!("{line} V{HEIGHT} H{} Z", line[1..].split(' ').next().unwrap_or("0"))) {}
                    path.line d=(line) {}
                }
            }
            p.scale { span { "1 h ago" } span { "at most " (unit(most)) } span { "now" } }
            details id=(format!("{id}-table")) {
                summary { "As a table" }
                div.scroll tabindex="0" role="region" aria-label=(format!("{title}, minute by minute")) {
                    table {
                        caption.hidden { (title) ", minute by minute, the newest first" }
                        thead { tr { th scope="col" { "When" } th.number scope="col" { "Mean" } th.number scope="col" { "Most" } } }
                        tbody {
                            @for (at, mean, most) in minutes(dots) {
                                tr { td { (say::when(at, now)) } td.number { (unit(mean)) } td.number { (unit(most)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `M…` and `L…` for each stretch without a gap.
fn lines(dots: &[Dot], most: f64, now: Timestamp) -> Vec<String> {
    let (mut lines, mut before): (Vec<String>, Option<Timestamp>) = (Vec::new(), None);
    for (at, value) in dots {
        let age = now.duration_since(*at).as_secs_f64();
        if age > SPAN {
            continue;
        }
        let x = WIDTH * (1.0 - age.max(0.0) / SPAN);
        let y = if most > 0.0 { (HEIGHT - 2.0) - (HEIGHT - 6.0) * value / most } else { HEIGHT - 2.0 };
        let near = before.is_some_and(|it| at.duration_since(it).as_secs_f64() <= GAP);
        match lines.last_mut().filter(|_| near) {
            Some(line) => line.push_str(&format!(" L{x:.1} {y:.1}")),
            None => lines.push(format!("M{x:.1} {y:.1}")),
        }
        before = Some(*at);
    }
    lines
}

/// Mean and most of each minute, the newest first.
fn minutes(dots: &[Dot]) -> Vec<(Timestamp, f64, f64)> {
    let mut minutes: Vec<(Timestamp, f64, f64, u32)> = Vec::new();
    for (at, value) in dots {
        let second = at.as_second();
        let start = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(*at);
        match minutes.last_mut().filter(|it| it.0 == start) {
            Some((_, sum, most, count)) => {
                (*sum, *most, *count) = (*sum + value, most.max(*value), *count + 1)
            }
            None => minutes.push((start, *value, *value, 1)),
        }
    }
    minutes.into_iter().rev().map(|(at, sum, most, count)| (at, sum / f64::from(count), most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{dashboard::samples::Point, view::Behind};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn sample(second: i64, seconds: f64, done: i64) -> Sample {
        let settled = Behind { bytes: Some(10), seconds: Some(seconds) };
        Sample { at: at(second), sources: vec![Point { source: "main".into(), settled, done }] }
    }

    #[test]
    fn throughput_is_what_was_done_between_two_looks() {
        let samples = [sample(0, 0.0, 100), sample(5, 0.0, 150), sample(10, 0.0, 0)];
        assert_eq!(throughput(&samples, "main"), [(at(5), 10.0), (at(10), 0.0)]);
        assert_eq!(throughput(&samples, "other"), []);
        assert_eq!(lag_bytes(&samples, "main")[0], (at(0), 10.0));
    }

    #[test]
    fn a_line_is_broken_where_nobody_looked_and_the_table_says_the_same() {
        let samples = [sample(0, 1.0, 0), sample(5, 3.0, 0), sample(120, 2.0, 0)];
        let dots = lag(&samples, "main");
        assert_eq!(lines(&dots, 3.0, at(120)).len(), 2);
        assert_eq!(minutes(&dots), [(at(120), 2.0, 2.0), (at(0), 2.0, 3.0)]);
        let graph = Graph { title: "Lag", id: "lag".to_owned(), dots: &dots, unit: say::seconds };
        let drawn = draw(&graph, at(120)).into_string();
        assert!(drawn.contains("aria-label=\"Lag: now 2 s, at most 3 s in the last hour\""), "{drawn}");
        assert!(drawn.contains("<caption") && !drawn.contains("style="), "{drawn}");
    }
}
