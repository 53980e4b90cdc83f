//! Why a source, a remote or the log of calls is not well.

use super::{Health, Trouble, cure};
use crate::{
    admin::{
        dashboard::{pieces::url, say},
        view::{CallLogLine, SourceLine, Status, Trouble as Broken},
    },
    model::HaltOf,
};
use jiff::Timestamp;

pub(super) fn of(status: &Status) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = status.sources.iter().flat_map(source).collect();
    for halt in status.halts.iter().filter(|it| it.what == HaltOf::Remote) {
        let why = halt.reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        troubles.push(Trouble {
            health: Health::Paused,
            what: format!("remote {}", halt.name),
            reason: format!("Paused by {}{why}. Nothing is sent to it.", halt.who),
            since: Some(halt.since),
            cure: cure("Resume this remote", format!("/do/remotes.resume?remote={}", url(&halt.name))),
        });
    }
    let now = status.read_at.unwrap_or_default();
    for remote in &status.remotes {
        if remote.gate != "halted"
            && let Some((health, reason)) = super::route::blocked(remote, now)
        {
            troubles.push(Trouble {
                health,
                what: format!("remote {}", remote.remote),
                reason,
                since: remote.since,
                cure: cure("See the remote", "/remotes"),
            });
        }
    }
    troubles.extend(status.call_logs.iter().flat_map(call_log));
    troubles
}

fn source(line: &SourceLine) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut add = |health, reason: String, since: Option<Timestamp>| {
        let what = format!("source {}", line.source);
        troubles.push(Trouble { health, what, reason, since, cure: None });
    };
    for problem in [&line.problem, &line.danger].into_iter().flatten() {
        add(Health::Stuck, problem.clone(), None);
    }
    match line.state.as_ref().map(|it| &it.instance) {
        None => add(Health::Stuck, "It was never started: `rowcall run` streams it.".to_owned(), None),
        Some(None) => add(Health::Stuck, "No instance has been at work on it yet.".to_owned(), None),
        Some(Some(instance)) if instance.state == "running" && instance.alive => {}
        Some(Some(instance)) => {
            let name = &instance.name;
            let reason = match instance.state.as_str() {
                "running" => format!("Instance {name} has not been heard of lately: it may have crashed."),
                "reconnecting" => {
                    format!("Instance {name} tries to reach the source again; its log says why.")
                }
                _ => format!("Nobody is at work on it: instance {name} was stopped."),
            };
            add(Health::Stuck, reason, Some(instance.since));
        }
    }
    troubles
}

fn call_log(line: &CallLogLine) -> Vec<Trouble> {
    let status = &line.status;
    let mut troubles = Vec::new();
    let mut add = |reason: String, since: Option<Timestamp>| {
        let what = format!("log of calls {}", line.source);
        troubles.push(Trouble { health: Health::Behind, what, reason, since, cure: None });
    };
    let said = |what: &str, it: &Broken| format!("{what}: {}", say::line(&it.error));
    let large = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
    if let Some(it) = &status.trouble {
        add(said(&format!("Records are not taken by {}", status.goes_to), it), it.since);
    }
    if let Some(it) = status.spool.as_ref().and_then(|it| it.trouble.as_ref()) {
        add(said("The spool does not work", it), it.since);
    }
    if let Some(it) = status.keeper.as_ref().and_then(|it| it.trouble.as_ref()) {
        add(said("The log keeper cannot work", it), it.since);
    }
    if status.held > 0 {
        let held = say::of(large(status.held), "call waits", "calls wait");
        add(format!("{held} until there is room for what is recorded of them."), None);
    }
    if status.dropped > 0 {
        let dropped = say::count(large(status.dropped));
        add(format!("{dropped} records were dropped: there was no room for them."), None);
    }
    troubles
}
