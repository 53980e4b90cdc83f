//! What makes sense only when all is read: names that must exist, values that exclude each other.

mod call_log;
mod dependencies;
mod limits;
mod log;
mod notify;
mod replay;
mod rules;
mod schedules;

use super::{
    report::{Faulty, Report, did_you_mean, quoted},
    settings::Config,
    tree::{Node, Segment},
};
use crate::{admin, capture, model::TableName, postgres, remote, routing, synchronize};
use url::Url;

/// Longer names would not fit the columns and logs that carry them.
const MAX_NAME: usize = 40;

/// Reports what is wrong and fills in the sources and remotes that may be left out. `config` may
/// lack parts that could not be read; the names of all of them are in the tree.
pub fn check(tree: &Node, config: &mut Config, report: &mut Report) {
    let faulty = report.faulty(tree);
    let mut check = Check { tree, report, faulty };
    for block in [&["sources"][..], &["remotes"], &["entities"], &["notify", "targets"]] {
        check.names(block);
    }
    for (name, source) in &config.sources {
        check.source(name, source);
        check.replay(name, source);
    }
    for (name, remote) in &config.remotes {
        check.remote(name, remote);
        if let Some(rules) = &remote.rules {
            check.rules(&["remotes", name, "rules"], rules, false);
        }
    }
    for (name, entity) in &mut config.entities {
        check.entity(name, entity);
        if let Some(rules) = &entity.rules {
            check.rules(&["entities", name, "rules"], rules, true);
        }
    }
    if let Some(rules) = &config.rules {
        check.rules(&["rules"], rules, false);
    }
    check.dependencies(&config.entities);
    if config.limits.memory.0 < 1 << 20 {
        check.say(&["limits", "memory"], "`limits.memory` must be at least 1MiB: a change has to fit in");
    }
    check.call_log(config);
    for fault in admin::check(&config.admin) {
        check.say(&[&["admin"][..], &fault.path].concat(), fault.message);
    }
    check.notify(config);
    check.log(&config.log);
}

struct Check<'a> {
    tree: &'a Node,
    report: &'a mut Report,
    faulty: Faulty,
}

impl Check<'_> {
    fn say(&mut self, path: &[&str], message: impl Into<String>) {
        let path: Vec<_> = path.iter().map(|it| Segment::Key((*it).to_owned())).collect();
        self.report.say_at(self.tree, &path, message);
    }

    fn names(&mut self, path: &[&str]) {
        let block = path.join(".");
        let names: Vec<String> = self.tree.names(path).into_iter().map(str::to_owned).collect();
        if names.is_empty() && self.tree.get(path).is_some_and(Node::is_empty) {
            self.say(path, format!("`{block}` is empty; name at least one"));
        }
        for name in names {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
            let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
            if !starts || !name.chars().all(good) || name.len() > MAX_NAME {
                let message = format!(
                    "`{name}` cannot be a name in {block}: use at most {MAX_NAME} of a–z, 0–9, `_` and `-`, \
                     beginning with a letter"
                );
                if let Some(entry) = self.tree.get(path).and_then(|it| it.entry(&name)) {
                    self.report.say(entry.area, message);
                }
            }
        }
    }

    fn source(&mut self, name: &str, source: &capture::Settings) {
        use secrecy::ExposeSecret;
        self.database(&["sources", name, "url"], source.url.expose_secret());
        if let Some(state) = &source.state {
            self.database(&["sources", name, "state", "url"], state.url.expose_secret());
        }
        let capture::Capture::Logical(logical) = &source.capture;
        let path = ["sources", name, "capture", "logical"];
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let slot = &logical.slot;
        if slot.is_empty() || slot.len() > 63 || !slot.chars().all(good) {
            let message = format!(
                "`{slot}` cannot be the name of a replication slot: Postgres takes at most 63 of a–z, 0–9 and `_`"
            );
            self.say(&[&path[..], &["slot"]].concat(), message);
        }
        if logical.publication.is_empty() || logical.publication.len() > 63 {
            self.say(&[&path[..], &["publication"]].concat(), "a publication's name has 1 to 63 characters");
        }
        if source.heartbeat.0.is_zero() {
            self.say(&["sources", name, "heartbeat"], "`heartbeat` must be longer than nothing");
        }
    }

    fn database(&mut self, path: &[&str], url: &str) {
        if is_split_password(url) {
            let message =
                "the password in this URL holds a `/`, `?` or `#`: write `%2F`, `%3F` or `%23` instead";
            self.say(path, message);
        } else if let Err(error) = url.parse::<postgres::Target>() {
            self.say(path, error.to_string());
        }
    }

    fn remote(&mut self, name: &str, remote: &remote::Settings) {
        if let Err(message) = remote_url(&remote.url, remote.allow_http) {
            self.say(&["remotes", name, "url"], message);
        }
        for key in remote.headers.keys() {
            if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
                self.say(&["remotes", name, "headers", key], format!("`{key}` is not the name of a header"));
            }
        }
        for fault in remote::check(remote) {
            self.say(&[&["remotes", name][..], &fault.path].concat(), fault.message);
        }
        for (key, span) in [("timeout", remote.timeout), ("connect_timeout", remote.connect_timeout)] {
            if span.0.is_zero() {
                self.say(&["remotes", name, key], format!("`{key}` must be longer than nothing"));
            }
        }
        self.limits(name, remote);
        let retry = &remote.retry;
        if retry.base > retry.max {
            let message = format!("`base` ({}) is longer than `max` ({})", retry.base, retry.max);
            let key =
                if self.tree.get(&["remotes", name, "retry", "base"]).is_some() { "base" } else { "max" };
            self.say(&["remotes", name, "retry", key], message);
        }
        if let Some(status) = retry.on.iter().find(|it| !(300..600).contains(*it)) {
            let message = format!("`{status}` is not a status to retry on: expected 300 to 599");
            self.say(&["remotes", name, "retry", "on"], message);
        }
    }

    fn entity(&mut self, name: &str, entity: &mut routing::EntitySettings) {
        let base = ["entities", name];
        let at = |key: &'static str| [&base[..], &[key]].concat();
        let table = self.table(&at("table"), &entity.table);
        for (child, settings) in &entity.tables {
            let path = [&base[..], &["tables", child]].concat();
            let parsed = self.table(&path, child);
            if parsed.is_some() && parsed == table {
                self.say(&path, format!("`{child}` is the entity's own table; `tables` is for further ones"));
            }
            self.key_columns(&[&path[..], &["key"]].concat(), &settings.key);
            if let Some(own) = &entity.key
                && own.0.len() != settings.key.0.len()
            {
                let (theirs, ours) = (settings.key.0.len(), own.0.len());
                let message =
                    format!("as many columns as in the entity's `key` are needed: {ours}, not {theirs}");
                self.say(&[&path[..], &["key"]].concat(), message);
            }
        }
        if let Some(key) = &entity.key {
            self.key_columns(&at("key"), key);
        }
        if let Some(source) = self.one_of("source", "sources", &at("source"), &base, entity.source.as_deref())
        {
            entity.source = Some(source);
        }
        self.schedules(name, entity);
        self.remotes(name, entity);
        if entity.remotes.len() > 1 && !entity.write_back.is_empty() {
            let message = format!(
                "entities.{name} has several remotes, which would write over each other's values: make it one entity for \
                 each remote, or leave `write_back` out"
            );
            self.say(&at("write_back"), message);
        }
        if let Some((key, message)) = entity.batch.and_then(|it| it.complaint()) {
            self.say(&[&base[..], &["batch", key]].concat(), message);
        }
        match (&entity.class, entity.has_sequences()) {
            (Some(class), true) if class != synchronize::DECLARED => {
                self.say(&at("class"), format!("entities.{name} has a `class` and sequences; keep one of them"));
            }
            (None, false) if !self.faulty.has("entities", name) => self.say(
                &base,
                format!(
                    "entities.{name} says nothing to its remote: give `insert`, `update`, `upsert` or `delete`, \
                     or a `class`"
                ),
            ),
            _ => {}
        }
        if entity.class.is_none() && !self.faulty.has("entities", name) && !entity.settings.is_null() {
            self.say(&at("settings"), "`settings` are for a `class`, and none is given");
        }
    }

    fn remotes(&mut self, name: &str, entity: &mut routing::EntitySettings) {
        let base = ["entities", name];
        let at = |key: &'static str| [&base[..], &[key]].concat();
        if entity.remotes.is_empty() {
            if let Some(remote) =
                self.one_of("remote", "remotes", &at("remote"), &base, entity.remote.as_deref())
            {
                entity.remotes = vec![remote];
            }
        } else {
            if entity.remote.is_some() {
                self.say(
                    &at("remote"),
                    format!("entities.{name} has `remote` and `remotes`; keep one of them"),
                );
            }
            let mut seen: Vec<&String> = Vec::new();
            for remote in &entity.remotes {
                if seen.contains(&remote) {
                    self.say(&at("remotes"), format!("`{remote}` is named twice"));
                }
                seen.push(remote);
                self.one_of("remote", "remotes", &at("remotes"), &base, Some(remote));
            }
        }
        entity.remote = None;
    }

    fn key_columns(&mut self, path: &[&str], key: &routing::KeyColumns) {
        let mut seen: Vec<&str> = Vec::new();
        for column in &key.0 {
            if column.is_empty() || seen.contains(&column.as_str()) {
                self.say(path, format!("`{column}` cannot be a column of the key: each is named once"));
            }
            seen.push(column);
        }
    }

    fn table(&mut self, path: &[&str], text: &str) -> Option<TableName> {
        match text.parse() {
            Ok(table) => Some(table),
            Err(error) => {
                self.say(path, format!("{error}"));
                None
            }
        }
    }

    /// The name given, if there is such a source or remote; the only one if none is given.
    fn one_of(
        &mut self,
        what: &str,
        block: &str,
        path: &[&str],
        owner: &[&str],
        given: Option<&str>,
    ) -> Option<String> {
        let known = self.tree.names(&[block]);
        match given {
            Some(given) if known.contains(&given) => Some(given.to_owned()),
            // Then the missing block is what to report.
            _ if known.is_empty() => None,
            Some(given) => {
                let message = match did_you_mean(given, known.iter().copied()) {
                    Some(meant) => format!("there is no {what} `{given}`; did you mean `{meant}`?"),
                    None => format!("there is no {what} `{given}`; known are {}", quoted(known)),
                };
                self.say(path, message);
                None
            }
            None if known.len() == 1 => Some(known[0].to_owned()),
            None if owner.last().is_some_and(|it| self.faulty.has("entities", it)) => None,
            None => {
                let message =
                    format!("{} must say which `{what}`: there are {}", owner.join("."), quoted(known));
                self.say(owner, message);
                None
            }
        }
    }
}

/// Whether what looks like the port of a URL is the beginning of a password: the parser's message
/// would show it (invariant 7).
fn is_split_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let port = authority.rsplit_once(':').map_or("", |it| it.1);
    !authority.contains('@') && behind.contains('@') && !port.bytes().all(|it| it.is_ascii_digit())
}

/// The base URL of a remote must be one that calls can be appended to, safely.
fn remote_url(url: &str, allow_http: bool) -> Result<(), String> {
    base_url(url, allow_http, "https://api.bank.example/v2", "put them under `auth`")
}

/// The same for whatever else is called; `example` shows such a URL, `cure` says where credentials belong.
fn base_url(url: &str, allow_http: bool, example: &str, cure: &str) -> Result<(), String> {
    let shape = format!("expected something like `{example}`");
    // Before an `@` there may be a password (invariant 7).
    let text = if url.contains('@') { "this" } else { &format!("`{url}`") };
    let url = Url::parse(url).map_err(|error| format!("{text} is not a URL ({error}); {shape}"))?;
    let Some(host) = url.host_str().filter(|it| !it.is_empty()) else {
        return Err(format!("{text} names no host; {shape}"));
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("credentials do not belong in the URL; {cure}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a base URL has no `?` or `#`: paths are appended to it".to_owned());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_http || is_loopback(host) => Ok(()),
        "http" => Err(format!(
            "plain HTTP to `{host}` would show everybody what is sent; use https, or set `allow_http: true`"
        )),
        other => Err(format!("`{other}` is not a scheme a remote is called by; {shape}")),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let local = bare == "localhost" || bare.ends_with(".localhost");
    local || bare.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}
