use super::{Definition, Histogram, Kind};
use std::fmt::{Display, Write};

/// What a scrape is answered with: Prometheus' text format, version 0.0.4.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One metric on a page.
#[derive(Debug)]
pub struct Family<'a> {
    of: &'static Definition,
    text: &'a mut String,
}

impl Page {
    /// The content type of [`Self::text`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a metric; it is on the page even if it has no series at present.
    pub fn family(&mut self, of: &'static Definition) -> Family<'_> {
        let text = &mut self.text;
        let help = of.help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = writeln!(text, "# HELP {} {help}\n# TYPE {0} {1}", of.name, of.kind.name());
        Family { of, text }
    }

    /// Writes a metric that has one series without labels.
    pub fn single(&mut self, of: &'static Definition, value: impl Number) {
        self.family(of).series(&[], value);
    }

    /// The whole page.
    pub fn text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// The series with these labels' values.
    pub fn series(&mut self, labels: &[&str], value: impl Number) {
        debug_assert!(self.of.kind != Kind::Histogram, "{} is a histogram", self.of.name);
        self.line("", labels, None, value);
    }

    /// One series for each of the states, of which the one it is in is 1.
    pub fn state<'s>(
        &mut self,
        labels: &[&str],
        states: impl IntoIterator<Item = &'s str>,
        now: Option<&str>,
    ) {
        for state in states {
            let all: Vec<&str> = labels.iter().copied().chain([state]).collect();
            self.series(&all, u64::from(now == Some(state)));
        }
    }

    /// The series of a histogram.
    pub fn histogram(&mut self, labels: &[&str], values: &Histogram) {
        debug_assert!(self.of.kind == Kind::Histogram, "{} is no histogram", self.of.name);
        let mut count = 0;
        for (bound, up_to) in values.buckets() {
            let bound = bound.shown();
            self.line("_bucket", labels, Some(("le", &bound)), up_to);
            count = up_to;
        }
        self.line("_sum", labels, None, values.sum());
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, values: &[&str], further: Option<(&str, &str)>, value: impl Number) {
        debug_assert_eq!(self.of.labels.len(), values.len(), "the labels of {}", self.of.name);
        self.text.push_str(self.of.name);
        self.text.push_str(suffix);
        let labels = self.of.labels.iter().copied().zip(values.iter().copied());
        for (at, (label, value)) in labels.chain(further).enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let value = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let _ = write!(self.text, "{label}=\"{value}\"");
        }
        if !values.is_empty() || further.is_some() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", value.shown());
    }
}

/// What a series may be.
pub trait Number: Display {
    /// As Prometheus writes it.
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Number for u64 {}
impl Number for i64 {}
impl Number for f64 {
    fn shown(&self) -> String {
        if self.is_infinite() {
            if *self > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
        } else {
            self.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PLAIN: Definition =
        Definition { name: "rowcall_x_total", kind: Kind::Counter, labels: &["route"], help: "Some." };
    const TIMES: Definition =
        Definition { name: "rowcall_y_seconds", kind: Kind::Histogram, labels: &["remote"], help: "a\\b\nc" };

    #[test]
    fn what_is_in_a_label_cannot_end_it() {
        let mut page = Page::default();
        page.family(&PLAIN).series(&["a\"b\\c\nd"], 7u64);
        let expected = "# HELP rowcall_x_total Some.\n# TYPE rowcall_x_total counter\n\
                        rowcall_x_total{route=\"a\\\"b\\\\c\\nd\"} 7\n";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn a_histogram_has_its_buckets_its_sum_and_its_count() {
        let (mut page, times) = (Page::default(), Histogram::short());
        times.took(Duration::from_millis(1_500));
        page.family(&TIMES).histogram(&["bank"], &times);
        let text = page.text();
        for line in [
            "# HELP rowcall_y_seconds a\\\\b\\nc",
            "rowcall_y_seconds_bucket{remote=\"bank\",le=\"0.001\"} 0",
            "rowcall_y_seconds_bucket{remote=\"bank\",le=\"2.5\"} 1",
            "rowcall_y_seconds_bucket{remote=\"bank\",le=\"+Inf\"} 1",
            "rowcall_y_seconds_sum{remote=\"bank\"} 1.5",
            "rowcall_y_seconds_count{remote=\"bank\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
    }
}
