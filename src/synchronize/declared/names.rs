//! Which names the steps of an entity bring into scope.

use crate::{
    mapping::At,
    synchronize::{BuildError, OnStatus, Sequences, StepSettings},
};
use std::{collections::BTreeSet, sync::Arc};

/// What `on: {409: lookup}` means the step's own lookup by.
pub(super) const LOOKUP: &str = "lookup";

/// The sequences with the key each stands under.
pub(super) fn sequences(all: &Sequences) -> [(&'static str, &Option<Vec<StepSettings>>); 5] {
    let Sequences { insert, update, delete, upsert, truncate } = all;
    [("insert", insert), ("update", update), ("upsert", upsert), ("delete", delete), ("truncate", truncate)]
}

/// Everything any step saves. One change's `link` holds what another's sequence saved, so these
/// are the entity's, not one sequence's.
pub fn saved(all: &Sequences) -> Arc<[Arc<str>]> {
    let mut names = BTreeSet::new();
    for step in sequences(all).into_iter().filter_map(|(_, steps)| steps.as_deref()).flatten() {
        collect_saved(step, &mut names);
    }
    names.into_iter().map(Into::into).collect()
}

/// Everything one step or a step below it saves.
pub(super) fn saved_by(step: &StepSettings) -> Vec<String> {
    let mut names = BTreeSet::new();
    collect_saved(step, &mut names);
    names.into_iter().map(str::to_owned).collect()
}

fn collect_saved<'s>(step: &'s StepSettings, names: &mut BTreeSet<&'s str>) {
    names.extend(step.save.keys().map(String::as_str));
    if let Some(lookup) = &step.lookup {
        collect_saved(lookup, names);
    }
    for steps in step.on.values() {
        if let OnStatus::Sequence(steps) = steps {
            steps.iter().for_each(|step| collect_saved(step, names));
        }
    }
}

/// The method and the path of a step, under each key that is given.
pub(super) fn requests(step: &StepSettings) -> impl Iterator<Item = (&'static str, &str)> {
    let StepSettings { get, post, put, patch, delete, .. } = step;
    let all = [("get", get), ("post", post), ("put", put), ("patch", patch), ("delete", delete)];
    all.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)))
}

/// The step's name: the one given, or its method.
pub(super) fn of(step: &StepSettings) -> Arc<str> {
    let method = || requests(step).next().map_or("step", |(key, _)| key);
    if step.name.is_empty() { method().into() } else { step.name.as_str().into() }
}

/// The names of all steps of a sequence, those below `on` included; complains about unusable ones.
pub(super) fn steps(steps: &[StepSettings], at: &At, errors: &mut Vec<BuildError>) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    collect_steps(steps, at, &mut names, errors);
    names
}

fn collect_steps(steps: &[StepSettings], at: &At, names: &mut Vec<Arc<str>>, errors: &mut Vec<BuildError>) {
    for (index, step) in steps.iter().enumerate() {
        let at = at.index(index);
        let name = of(step);
        if let Some(message) = complaint(&name, step, names) {
            errors.push(BuildError::new(&at.child("name"), message));
        } else {
            names.push(name);
        }
        for (status, on) in &step.on {
            if let OnStatus::Sequence(steps) = on {
                collect_steps(steps, &at.child("on").child(&status.to_string()), names, errors);
            }
        }
    }
}

fn complaint(name: &str, step: &StepSettings, taken: &[Arc<str>]) -> Option<String> {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name == LOOKUP {
        return Some("`lookup` means a step's own lookup: choose another name".to_owned());
    }
    if name.len() > 64 || !name.chars().all(usable) || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let hint =
            "a letter, then letters, digits, `_` and `-`, 64 at most: it becomes part of the idempotency key";
        return Some(format!("`{}` is not a step name: {hint}", name.escape_debug()));
    }
    if taken.iter().any(|it| **it == *name) {
        return Some(match step.name.is_empty() {
            true => format!("there is a step `{name}` already: give this one a `name` of its own"),
            false => format!("there is a step `{name}` already: names are unique within a sequence"),
        });
    }
    None
}
