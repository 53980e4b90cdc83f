//! Calls as a person reads them.

use crate::{
    call_log::{CallRecord, Content},
    cli::output::table,
};
use std::fmt::Write as _;

/// A table, or a word that there is none.
pub(super) fn list(records: &[CallRecord]) -> String {
    if records.is_empty() {
        return "no calls found".to_owned();
    }
    let head = ["TIME", "KEY", "CALL", "STATUS", "TOOK", "OUTCOME", "ID"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(records.iter().map(row)).collect();
    table(&rows)
}

/// A line for each.
pub(super) fn lines(records: &[CallRecord]) -> String {
    records.iter().map(|record| row(record).join("  ") + "\n").collect()
}

fn row(record: &CallRecord) -> Vec<String> {
    let key = match &*record.keys {
        [key] => format!("{}/{key}", record.route),
        keys => format!("{}/({} keys)", record.route, keys.len()),
    };
    let path = record.url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let path = path.map_or("/".to_owned(), |(_, path)| format!("/{path}"));
    vec![
        format!("{:.3}", record.at),
        key,
        format!("{} {}", record.method, shortened(&path, 60)),
        status(record),
        took(record.took_us),
        record.outcome.to_string(),
        record.id.to_string(),
    ]
}

/// One of a change's, in its place.
pub(super) fn attempt(record: &CallRecord) -> Vec<String> {
    let mut row = row(record);
    // The key and the change stand above.
    row.remove(1);
    row.insert(1, record.step.to_string());
    row
}

fn status(record: &CallRecord) -> String {
    match (&record.response, &record.class) {
        (Some(response), _) => response.status.to_string(),
        (None, Some(class)) => class.to_string(),
        (None, None) => "-".to_owned(),
    }
}

fn took(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

fn shortened(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Everything about one attempt.
pub(super) fn show(record: &CallRecord) -> String {
    let mut text = format!("{}\n", record.id);
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    line("time", &format!("{:.6}, {}", record.at, took(record.took_us)));
    line("route", &format!("{} (entity {}, remote {})", record.route, record.entity, record.remote));
    for (at, key) in record.keys.iter().take(20).enumerate() {
        let change = record.changes.get(at).map(|change| format!(", change {change}"));
        line("key", &format!("{key}{}", change.unwrap_or_default()));
    }
    if record.keys.len() > 20 {
        line("", &format!("and {} more: `--json` has them", record.keys.len() - 20));
    }
    if let Some(run) = record.run {
        line("run", &run.to_string());
    }
    line("step", &format!("{}, request {}", record.step, record.attempt));
    line("call key", &record.call_key);
    line("trace", &format!("{} span {}", record.trace, record.span));
    let class = record.class.iter().map(|class| format!(" ({class})")).collect::<String>();
    line("outcome", &format!("{}{class}", record.outcome));
    if let Some(error) = &record.error {
        line("error", error);
    }
    let _ = write!(text, "\n> {} {}\n{}", record.method, record.url, content(&record.request, "> "));
    match &record.response {
        Some(response) => {
            let _ = write!(text, "\n< {}\n{}", response.status, content(&response.content, "< "));
        }
        None => text.push_str("\n(no answer)\n"),
    }
    text
}

fn content(content: &Content, mark: &str) -> String {
    let mut text = String::new();
    for (name, value) in content.headers.iter() {
        let _ = writeln!(text, "{mark}{name}: {value}");
    }
    if content.body.is_empty() {
        return text;
    }
    let pretty = serde_json::from_str::<serde_json::Value>(&content.body).ok();
    let pretty = pretty.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let _ = writeln!(text, "\n{}", pretty.as_deref().unwrap_or(&content.body));
    if content.is_cut() {
        let _ = writeln!(text, "… ({} of {} bytes are kept)", content.body.len(), content.size);
    }
    text
}
