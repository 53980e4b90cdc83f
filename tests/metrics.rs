//! What is counted, what the pages say of it, and what the dashboard and the alerts ask for are the same.

use rowcall::metrics::{Kind, catalog};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_metric_is_documented_with_its_type_its_labels_and_its_help_and_no_other_is() {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter(|it| it.starts_with("| `rowcall_"));
    let documented: BTreeSet<String> = rows.map(str::to_owned).collect();
    let row = |it: &&rowcall::metrics::Definition| {
        let labels = it.labels.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
        let labels = if labels.is_empty() { "–" } else { &labels };
        format!("| `{}` | {} | {labels} | {} |", it.name, it.kind.name(), it.help)
    };
    let counted: BTreeSet<String> = catalog::ALL.iter().map(row).collect();
    let missing: Vec<_> = counted.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&counted).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing:\n{missing:#?}\nunknown:\n{unknown:#?}");
}

/// The metrics that an expression names, each with the labels it is matched or summed by.
fn named(expression: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let mut rest = expression;
    while let Some(at) = rest.find("rowcall_") {
        rest = &rest[at..];
        let end = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
        let labels = found.entry(rest[..end].to_owned()).or_default();
        rest = &rest[end..];
        if let Some(matchers) = rest.strip_prefix('{').and_then(|it| it.split('}').next()) {
            let names = matchers.split(',').filter_map(|it| it.split(['=', '!']).next());
            labels.extend(names.map(|it| it.trim().to_owned()).filter(|it| it.chars().all(is_word)));
        }
    }
    found
}

/// Says which names and labels of an expression there are none of.
fn unknown(expression: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, labels) in named(expression) {
        let of = catalog::ALL.iter().find(|it| match it.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(it.name))
            }
            _ => it.name == name,
        });
        let Some(of) = of else {
            wrong.push(format!("there is no {name}: {expression}"));
            continue;
        };
        let strange = labels.iter().filter(|it| !of.labels.contains(&it.as_str()) && *it != "le");
        wrong.extend(strange.map(|label| format!("{name} has no label {label}: {expression}")));
    }
    wrong
}

#[test]
fn the_alerts_ask_for_what_there_is_and_lead_to_the_runbook() {
    let (rules, runbook) = (read("config/prometheus/alerts.yml"), read("docs/runbook.md"));
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter_map(|it| it.strip_prefix("## "))
        .map(|it| it.to_lowercase().replace(' ', "-"))
        .collect();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 7, "{} alerts", alerts.len());
    let mut wrong = Vec::new();
    for alert in alerts {
        let line = |key: &str| alert.lines().find_map(|it| it.trim().strip_prefix(key));
        for key in ["expr: ", "summary: ", "description: ", "labels: "] {
            if line(key).is_none_or(str::is_empty) {
                wrong.push(format!("{key}is missing: {alert}"));
            }
        }
        wrong.extend(unknown(line("expr: ").unwrap_or_default()));
        let url = line("runbook_url: ").unwrap_or_default();
        if !url.strip_prefix("docs/runbook.md#").is_some_and(|it| anchors.contains(it)) {
            wrong.push(format!("`{url}` leads nowhere"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&read("config/grafana/rowcall.json")).expect("JSON");
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 30, "{}", expressions.len());
    let wrong: Vec<String> = expressions.iter().flat_map(|it| unknown(it)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let asked: BTreeSet<String> = expressions.iter().flat_map(|it| named(it).into_keys()).collect();
    let shown = |name: &str| asked.iter().any(|it| it.starts_with(name));
    let hidden: Vec<_> = catalog::ALL.iter().map(|it| it.name).filter(|it| !shown(it)).collect();
    // Each status of the slot is an alert.
    assert_eq!(hidden, ["rowcall_slot_status"], "these are on no panel");
}

/// Every expression in it.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| collect(it, into)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => into.push(text.clone()),
                    value => collect(value, into),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn what_an_expression_names_is_found() {
    let found = named("sum by (le) (rate(rowcall_x_bucket{a=\"1\", b!~\"c|d\"}[5m])) > rowcall_y");
    let labels = |name: &str| found[name].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((labels("rowcall_x_bucket"), labels("rowcall_y")), (vec!["a", "b"], vec![]));
}
