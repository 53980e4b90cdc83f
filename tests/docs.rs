//! Every example in the users' pages, and the manual, is read and built as the service would.

use rowcall::{
    config,
    mapping::Names,
    remote::HttpRemote,
    synchronize::{Classes, Declaration, ObjectRead},
};
use std::{fs, path::Path};

/// What an example leaves out because it is about something else.
const REST: &[(&str, &str)] = &[
    ("sources:", "sources:\n  main: { url: \"postgres://me@localhost/x\" }\n"),
    ("remotes:", "remotes:\n  bank: { url: \"https://api.bank.example\" }\n"),
    ("entities:", "entities:\n  other: { table: other, upsert: [{ post: /other }] }\n"),
];

fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(page).expect(page);
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn build(page: &str, example: &str) {
    let mut text = example.to_owned();
    for (block, default) in REST {
        if !example.lines().any(|line| line.starts_with(block)) {
            text.push_str(default);
        }
    }
    let env = |name: &str| {
        let url = "postgres://me@localhost/x".to_owned();
        Some(match name {
            _ if name.ends_with("_URL") => url,
            _ if name.ends_with("_SIGNING_SECRET") => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            _ => format!("value-of-{name}"),
        })
    };
    let loaded = match config::load_text(page, &text, Path::new("."), &env) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{page}:\n{text}\n{error}"),
    };
    for (name, settings) in &loaded.config.remotes {
        HttpRemote::new(name, settings, || jiff::Timestamp::UNIX_EPOCH)
            .unwrap_or_else(|error| panic!("{page}: {error}"));
    }
    for (name, entity) in &loaded.config.entities {
        let (sequences, at) = (entity.sequences(), loaded.locator.at(format!("entities.{name}")));
        let rules = loaded.rules(name, &entity.remotes[0]);
        let declaration = Declaration {
            entity: name,
            sequences: &sequences,
            settings: &entity.settings,
            when: entity.when.as_deref(),
            validate: &entity.validate,
            rules: &rules,
            always: entity.always,
            at,
            columns: None,
            batched: entity.batch.is_some(),
            fetched: entity.fetch.is_some(),
            parents: entity.parent_names(),
        };
        if let Some(read) = &entity.read {
            let at = loaded.locator.at(format!("entities.{name}.read"));
            let names = Names { fetched: entity.fetch.is_some(), ..Names::default() };
            ObjectRead::new(read, &at, &names).unwrap_or_else(|errors| panic!("{page}: {errors:?}"));
        }
        // Classes of the reader's own are known by name only.
        if entity.class.is_none()
            && let Err(errors) = Classes::standard().build(None, &declaration)
        {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{page}:\n{text}\n{}", errors.join("\n"));
        }
    }
}

#[test]
fn the_examples_about_steps_work() {
    let page = "docs/synchronizers.md";
    let examples = examples(page);
    assert!(examples.len() >= 4, "{} examples", examples.len());
    examples.iter().for_each(|example| build(page, example));
}

#[test]
fn the_examples_about_remotes_work() {
    let page = "docs/remotes.md";
    let examples = examples(page);
    assert!(!examples.is_empty());
    examples.iter().for_each(|example| build(page, example));
}

#[test]
fn the_examples_about_audits_work() {
    examples("docs/audit.md").iter().for_each(|example| build("docs/audit.md", example));
}

#[test]
fn the_manual_works() {
    let page = "config/rowcall.example.yaml";
    build(page, &fs::read_to_string(page).expect(page));
}

#[test]
fn the_examples_about_checkpoints_work() {
    let page = "docs/replay.md";
    let examples = examples(page);
    assert!(!examples.is_empty());
    examples.iter().for_each(|example| build(page, example));
}

#[test]
fn the_examples_about_notifications_work() {
    let page = "docs/notifications.md";
    let examples = examples(page);
    assert_eq!(examples.len(), 1);
    examples.iter().for_each(|example| build(page, example));
}

#[test]
fn the_examples_about_logs_work() {
    let page = "docs/logs.md";
    let examples = examples(page);
    assert_eq!(examples.len(), 2);
    examples.iter().for_each(|example| build(page, example));
}

/// Every source file, with the strings that go on in the next line put together.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            let mut parts = text.split("\\\n");
            all.push_str(parts.next().unwrap_or_default());
            parts.for_each(|part| all.push_str(part.trim_start()));
        }
    }
    all
}

#[test]
fn the_runbook_quotes_messages_that_there_are() {
    let (runbook, sources) =
        (fs::read_to_string("docs/runbook.md").expect("a page"), sources(Path::new("src")));
    let rows = runbook.split("## Messages").nth(1).expect("a section").lines();
    let quoted: Vec<&str> = rows
        .filter(|row| row.starts_with("| `"))
        .flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2))
        .collect();
    let invented: Vec<&&str> = quoted.iter().filter(|it| !sources.contains(**it)).collect();
    assert!(
        quoted.len() > 30 && invented.is_empty(),
        "{} of {}: {invented:#?}",
        invented.len(),
        quoted.len()
    );
}
