//! YAML text to the tree. What only makes a configuration harder to follow is refused.

use super::{
    problem::Problem,
    report::Report,
    tree::{Area, Entry, Kind, Node, Scalar, Spot, Style},
};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Deeper than any sensible configuration, shallow enough for the stack.
const MAX_DEPTH: usize = 64;

/// The document, and what is wrong with it beyond its form; or why it cannot be read. An empty
/// file is an empty mapping.
pub fn parse(text: &str) -> Result<(Node, Report), Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, area(span)),
            Err(error) => {
                let at = error.marker();
                let spot = Spot { line: at.line(), column: at.col() + 1 };
                Err(Problem::blind(spot, format!("this is not YAML: {}{}", error.info(), hint(text, spot))))
            }
        };
        if let Err(problem) = taken {
            // Behind a syntax error everything would be guesswork.
            builder.problems.push(problem);
            return Err(builder.problems);
        }
    }
    if builder.problems.is_empty() {
        let root = builder.root.unwrap_or(Node { area: Area::default(), kind: Kind::Map(Vec::new()) });
        Ok((root, builder.report))
    } else {
        Err(builder.problems)
    }
}

/// The mistakes that every newcomer makes: which of them stands last before the fault.
fn hint(text: &str, spot: Spot) -> &'static str {
    const HINTS: &[(&str, &str)] = &[
        ("{{", "; put text with `{{ … }}` in quotes"),
        ("${", "; put `${…}` in quotes inside `{ }` or `[ ]`"),
        ("\t", "; indent with spaces, not tabs"),
    ];
    let line = text.lines().nth(spot.line.saturating_sub(1)).unwrap_or("");
    let before: String = line.chars().take(spot.column + 1).collect();
    let found = HINTS.iter().filter_map(|(sign, hint)| Some((before.rfind(sign)?, hint)));
    found.max().map_or("", |(_, hint)| hint)
}

fn area(span: Span) -> Area {
    let spot = |marker: saphyr_parser::Marker| Spot { line: marker.line(), column: marker.col() + 1 };
    Area { start: spot(span.start), end: spot(span.end) }
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    problems: Vec<Problem>,
    report: Report,
}

enum Open {
    List { area: Area, items: Vec<Node> },
    Map { area: Area, entries: Vec<Entry>, key: Option<(String, Area)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, area: Area) -> Result<(), Problem> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Problem::blind(
                        area.start,
                        "a second document begins here; one file holds one",
                    ));
                }
                Ok(())
            }
            Event::Alias(_) => {
                self.refuse(area, "aliases (`*name`) are not supported; write it out");
                self.put(Node { area, kind: Kind::Map(Vec::new()) })
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_decoration(area, anchor, tag.is_some());
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                self.put(Node { area, kind: Kind::Scalar(Scalar { text: text.into_owned(), style }) })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_decoration(area, anchor, tag.is_some());
                self.open(Open::List { area, items: Vec::new() }, area)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_decoration(area, anchor, tag.is_some());
                self.open(Open::Map { area, entries: Vec::new(), key: None }, area)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { area: from, items }) => self.put(close(from, area, Kind::List(items))),
                Some(Open::Map { area: from, entries, .. }) => {
                    self.put(close(from, area, Kind::Map(entries)))
                }
                None => Ok(()),
            },
        }
    }

    fn refuse(&mut self, area: Area, message: &str) {
        self.problems.push(Problem::blind(area.start, message));
    }

    fn refuse_decoration(&mut self, area: Area, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.refuse(area, "anchors (`&name`) are not supported; write it out where it is needed");
        }
        if tagged {
            self.refuse(area, "tags (`!name`) are not supported; quotes make text of a value");
        }
    }

    fn open(&mut self, open: Open, area: Area) -> Result<(), Problem> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            let message = "a key must be text; if this is an expression, put it in quotes: \"{{ … }}\"";
            return Err(Problem::blind(area.start, message));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::blind(area.start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key: key @ Some(_), .. }) => {
                let Some((key, area)) = key.take() else { return Ok(()) };
                match entries.iter().find(|it| it.key == key) {
                    Some(first) => {
                        let line = first.area.start.line;
                        let message = format!("`{key}` is given a second time; the first is in line {line}");
                        self.report.drop_value(node.area);
                        self.report.say(area, message);
                    }
                    None => entries.push(Entry { key, area, value: node }),
                }
            }
            Some(Open::Map { key, .. }) => {
                let Kind::Scalar(scalar) = node.kind else {
                    return Err(Problem::blind(node.area.start, "a key must be text"));
                };
                if scalar.text == "<<" && scalar.style == Style::Plain {
                    self.problems.push(Problem::blind(
                        node.area.start,
                        "merge keys (`<<`) are not supported; write it out where it is needed",
                    ));
                }
                *key = Some((scalar.text, node.area));
            }
        }
        Ok(())
    }
}

fn close(from: Area, to: Area, kind: Kind) -> Node {
    Node { area: Area { start: from.start, end: to.end.max(from.end) }, kind }
}
