//! `rowcall.yaml`: reading, interpolating, checking.
//!
//! A file is read in stages, and what is wrong at one place never hides what is wrong at another:
//!
//! 1. `parse`: YAML to a tree in which every key and value knows its place.
//! 2. `walk`: the tree against the JSON Schema that the rooms' own settings types generate;
//!    `${NAME}` and `file:` are put in on the way.
//! 3. `decode`: the settings types themselves, for what a schema cannot say.
//! 4. `check`: what only the whole can tell: names that must exist, values that exclude each other.
//!
//! Upholds invariant 8 (everything wrong, at once, each with its line and what to do) and 7: a
//! value is shown only if it is known to hold no secret. It does no I/O but reading the file and
//! the secrets it names, and knows neither the database nor the remote.
//!
//! A new key is a field in its room's settings type, with a line in `config/rowcall.example.yaml`
//! and a new `config/rowcall.schema.json`; tests notice either being forgotten. If it was in
//! `planned`, its row goes.

mod check;
mod decode;
mod interpolate;
mod parse;
mod planned;
mod problem;
mod report;
mod resolve;
mod secret;
mod settings;
mod shape;
mod show;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

pub use interpolate::Environment;
pub use problem::{ConfigError, Problems};
pub use settings::{Config, Log, LogFormat, schema};
pub use show::{show, shown};
pub use tree::Spot;

use crate::{
    mapping::{Locator, Place},
    synchronize::Layer,
};
use report::Report;
use serde_json::Value;
use std::{io::Read, path::Path, sync::Arc};
use tree::{Node, Segment};

/// A configuration that passed every check, and where it was written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each value begins, by its path, such as `entities.loan.upsert[0].body.amount`.
    pub locator: Locator,
    /// The file as it was named.
    pub file: String,
}

impl Loaded {
    /// The rules around what an entity says to a remote, the most common ones first.
    pub fn rules(&self, entity: &str, remote: &str) -> Vec<Layer<'_>> {
        let layer = |rules, path: String| Layer { rules, at: self.locator.at(path) };
        let of_remote = self.config.remotes.get(remote).and_then(|it| it.rules.as_ref());
        let of_entity = self.config.entities.get(entity).and_then(|it| it.rules.as_ref());
        let common = self.config.rules.as_ref().map(|it| layer(it, "rules".to_owned()));
        let nearer = of_remote.map(|it| layer(it, format!("remotes.{remote}.rules")));
        let nearest = of_entity.map(|it| layer(it, format!("entities.{entity}.rules")));
        common.into_iter().chain(nearer).chain(nearest).collect()
    }
}

/// No configuration is longer; a wrong path may name something endless.
const LIMIT: u64 = 8 << 20;

/// Reads a file.
pub fn load(path: &Path, env: Environment<'_>) -> Result<Loaded, ConfigError> {
    let file = path.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|it| it.take(LIMIT).read_to_string(&mut text));
    match read {
        Ok(read) if (read as u64) < LIMIT => {
            load_text(&file, &text, path.parent().unwrap_or(Path::new("")), env)
        }
        Ok(_) => {
            Err(ConfigError::Unreadable { file, cause: std::io::Error::other("it is longer than 8 MiB") })
        }
        Err(cause) => Err(ConfigError::Unreadable { file, cause }),
    }
}

/// Reads text; `file` is what messages call it, `folder` what `file:` references are relative to.
pub fn load_text(file: &str, text: &str, folder: &Path, env: Environment<'_>) -> Result<Loaded, ConfigError> {
    let (tree, mut report) = match parse::parse(text) {
        Ok(parsed) => parsed,
        Err(problems) => return Err(ConfigError::Wrong(Problems::new(file, text, problems, &[]))),
    };
    let config = read(&tree, folder, env, &mut report);
    if report.is_clean() {
        return Ok(Loaded { config, locator: locate(&tree, file), file: file.to_owned() });
    }
    let (problems, hidden) = report.finish(&tree);
    Err(ConfigError::Wrong(Problems::new(file, text, problems, &hidden)))
}

fn locate(tree: &Node, file: &str) -> Locator {
    let file: Arc<str> = file.into();
    let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
    let places = tree.places().into_iter().map(|(path, spot)| {
        let place = Place { file: file.clone(), line: number(spot.line), column: number(spot.column) };
        (path, place)
    });
    places.collect()
}

fn read(tree: &Node, folder: &Path, env: Environment<'_>, report: &mut Report) -> Config {
    let schema = settings::generated();
    let mut walk =
        walk::Walk { schema: shape::Schema(&schema), env, folder, report: &mut *report, path: Vec::new() };
    let start = tree::Area { start: Spot { line: 1, column: 1 }, ..tree.area };
    let mut value = walk.node(tree, &schema, start);

    let faulty = report.faulty(tree);
    let mut take = |block: &str| value.as_mut().and_then(|it| it.get_mut(block)).map(Value::take);
    let sources = decode::parts(tree, "sources", take("sources"), &faulty, report);
    let remotes = decode::parts(tree, "remotes", take("remotes"), &faulty, report);
    let entities = decode::parts(tree, "entities", take("entities"), &faulty, report);
    let key = |block: &str| [Segment::Key(block.to_owned())];
    let limits = take("limits").and_then(|it| decode::part(tree, &key("limits"), it, true, report));
    let log = take("log").and_then(|it| decode::part(tree, &key("log"), it, true, report));
    let call_log = take("call_log").and_then(|it| decode::part(tree, &key("call_log"), it, true, report));
    let rules = take("rules").and_then(|it| decode::part(tree, &key("rules"), it, true, report));
    let admin = take("admin").and_then(|it| decode::part(tree, &key("admin"), it, true, report));
    let admin = admin.unwrap_or_default();
    let notify = take("notify").and_then(|it| decode::part(tree, &key("notify"), it, true, report));
    let notify = notify.unwrap_or_default();
    let (limits, log) = (limits.unwrap_or_default(), log.unwrap_or_default());
    let call_log = call_log.unwrap_or_default();
    let mut config = Config { sources, remotes, entities, rules, limits, call_log, admin, notify, log };
    check::check(tree, &mut config, report);
    config
}
