//! The layering, as a test: which room may name which. `docs/ARCHITECTURE.md` has the same table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Each room and what it may import, lowest first. A row may only name rows above it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("metrics", &[]),
    ("health", &["model"]),
    ("postgres", &["model"]),
    ("mapping", &["model"]),
    ("call_log", &["model"]),
    ("log_keeper", &["model", "call_log"]),
    ("remote", &["model", "metrics"]),
    ("telemetry", &["model", "call_log", "remote"]),
    ("notify", &["model", "metrics", "health", "remote"]),
    ("state", &["model", "postgres"]),
    ("synchronize", &["model", "mapping"]),
    ("capture", &["model", "metrics", "postgres", "state"]),
    ("routing", &["model", "mapping", "synchronize"]),
    (
        "engine",
        &["model", "metrics", "mapping", "state", "call_log", "remote", "synchronize", "capture", "routing"],
    ),
    ("write_back", &["model", "postgres", "state", "capture", "routing"]),
    ("audit", &["model", "postgres", "state", "remote", "synchronize", "capture", "routing", "engine"]),
    ("admin", &["model", "health", "call_log", "log_keeper", "state", "engine"]),
    // The rooms' settings types, and what reads the texts in them.
    (
        "config",
        &[
            "model",
            "postgres",
            "mapping",
            "call_log",
            "remote",
            "synchronize",
            "capture",
            "routing",
            "engine",
            "telemetry",
            "notify",
            "admin",
        ],
    ),
    ("demo", &["model"]),
    (
        "app",
        &[
            "model",
            "metrics",
            "health",
            "postgres",
            "mapping",
            "call_log",
            "log_keeper",
            "remote",
            "state",
            "synchronize",
            "capture",
            "routing",
            "engine",
            "write_back",
            "audit",
            "telemetry",
            "notify",
            "admin",
            "config",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "postgres",
            "mapping",
            "call_log",
            "state",
            "synchronize",
            "audit",
            "telemetry",
            "config",
            "demo",
            "app",
        ],
    ),
    ("main", &["synchronize", "cli"]),
];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = BTreeSet::new();
    visit(Path::new("src"), &mut |path, text| {
        let room = room(path);
        if room == "lib" {
            return;
        }
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.insert(format!("`{room}` has no row in the table of tests/architecture.rs"));
            return;
        };
        for used in imports(text) {
            if used != room && !may.contains(&used.as_str()) {
                wrong.insert(format!("{}: `{room}` may not use `{used}`", path.display()));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    for (row, (room, uses)) in ALLOWED.iter().enumerate() {
        for used in *uses {
            let above = ALLOWED[..row].iter().any(|(name, _)| name == used);
            assert!(above, "`{room}` names `{used}`, which is not above it");
        }
    }
}

#[test]
fn the_documented_table_is_this_one() {
    let page = fs::read_to_string("docs/ARCHITECTURE.md").expect("the page");
    let written: Vec<String> = page.lines().filter_map(row).collect();
    let expected: Vec<String> = ALLOWED
        .iter()
        .map(|(room, uses)| {
            let uses = if uses.is_empty() { "nothing".to_owned() } else { uses.join(", ") };
            format!("{room}: {uses}")
        })
        .collect();
    assert_eq!(written, expected, "docs/ARCHITECTURE.md, Rooms and layers");
}

/// `| `room` | what it is | imports |` as `room: imports`.
fn row(line: &str) -> Option<String> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.trim_end_matches(" |").split(" | ").collect();
    let [room, _, uses] = cells[..] else { return None };
    Some(format!("{}: {uses}", room.trim_end_matches('`')))
}

#[test]
fn model_and_mapping_and_synchronize_do_no_io_and_read_no_clock() {
    let mut wrong = Vec::new();
    visit(Path::new("src"), &mut |path, text| {
        if !["model", "health", "mapping", "synchronize"].contains(&room(path).as_str()) {
            return;
        }
        for word in
            ["std::fs", "std::net", "std::env", "tokio::", "SystemTime", "Timestamp::now", "Zoned::now"]
        {
            if code(text).contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    });
    assert!(wrong.is_empty(), "these rooms are pure:\n{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::{model::{Lsn, Row}, state};\n// use crate::app;\nfn x() { crate::remote::call(); }\n\
                use rowcall::cli;\nlet target = \"rowcall::outcome\";\n\
                use crate::{\n    capture::{self},\n    engine,\n};";
    assert_eq!(imports(text), ["model", "state", "remote", "capture", "engine", "cli"]);
}

fn room(path: &Path) -> String {
    let top = path.iter().nth(1).expect("a path below src").to_string_lossy();
    top.trim_end_matches(".rs").to_owned()
}

/// A release has neither failpoints nor deliberate breaks, and whoever looks for one finds what it is.
#[test]
fn switches_of_the_tests_are_only_in_builds_with_debug_assertions_and_are_documented() {
    let page = |path: &str| fs::read_to_string(path).expect(path);
    let (points, breaks) = (page("CONTRIBUTING.md"), page("docs/faults.md"));
    let (mut wrong, mut seen) = (Vec::new(), 0);
    visit(Path::new("src"), &mut |path, text| {
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            for (call, page) in [
                ("failpoint::reached(\"", &points),
                ("super::broken(\"", &breaks),
                ("engine::broken(\"", &breaks),
            ] {
                let Some((_, rest)) = line.split_once(call) else { continue };
                let name = rest.split('"').next().unwrap_or_default();
                seen += 1;
                if !lines[at.saturating_sub(2)..at].iter().any(|it| it.trim() == "#[cfg(debug_assertions)]") {
                    wrong.push(format!("{}: `{name}` is not behind cfg(debug_assertions)", path.display()));
                }
                if !page.contains(&format!("| `{name}` |")) {
                    wrong.push(format!("{}: `{name}` is documented nowhere", path.display()));
                }
            }
        }
    });
    assert!(seen > 10, "only {seen} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without lines that are comments.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|it| !it.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first segment behind every `crate::` and `rowcall::`, also inside `crate::{…}`.
fn imports(text: &str) -> Vec<String> {
    // A target of the log has the form of a path: `"rowcall::outcome"`, `"info,rowcall::outcome=warn"`.
    let code = code(text).replace("\"rowcall::", "").replace(",rowcall::", "");
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1).chain(code.split("rowcall::").skip(1)) {
        if let Some(group) = part.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(part.to_owned());
        }
    }
    let first = |it: &String| -> String {
        it.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    found.iter().map(first).filter(|it| !it.is_empty()).collect()
}

fn visit(folder: &Path, each: &mut impl FnMut(&Path, &str)) {
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|it| it == "rs") {
            each(&path, &fs::read_to_string(&path).expect("text"));
        }
    }
}
