//! What waits for a target, in its order, and what it was told. Pure.

use super::{Subject, Told};
use crate::{health::State, model::RunId};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use tokio::time::Instant;

/// So many notices wait for a target; beyond them the oldest are dropped.
pub(super) const LIMIT: usize = 1_000;

/// A notice that is to be told.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) subject: Subject,
}

#[derive(Debug)]
struct Waiting {
    item: Arc<Item>,
    came: Instant,
}

/// What the target knows of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    state: State,
    since: Timestamp,
    at: Timestamp,
    /// The state database has it.
    is_saved: bool,
    /// It may have heard something else, but has not answered.
    in_doubt: bool,
}

impl Default for Known {
    fn default() -> Self {
        let (since, at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Self { state: State::Ok, since, at, is_saved: true, in_doubt: false }
    }
}

/// The notices of one target.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    waiting: VecDeque<Waiting>,
    /// The first of them is being told.
    under_way: bool,
    known: BTreeMap<String, Known>,
    /// The runs whose end was taken over, and which the state database does not know.
    runs: BTreeSet<(Arc<str>, RunId)>,
    /// Those of them that are done with.
    done_runs: BTreeSet<(Arc<str>, RunId)>,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        let (waiting, known) = (VecDeque::new(), BTreeMap::new());
        Self { limit, waiting, under_way: false, known, runs: BTreeSet::new(), done_runs: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a notice over. `false` if the oldest that waits was dropped for it.
    pub(super) fn push(&mut self, item: Item, now: Instant) -> bool {
        if let Subject::Run(run) = &item.subject
            && !self.runs.insert((Arc::clone(&run.source), run.id))
        {
            return true;
        }
        if let Subject::Check { name, .. } = &item.subject {
            let first = usize::from(self.under_way);
            let mut at = 0;
            self.waiting.retain(|it| {
                at += 1;
                at <= first || !is_of(&it.item, name)
            });
        }
        self.waiting.push_back(Waiting { item: Arc::new(item), came: now });
        if self.waiting.len() <= self.limit {
            return true;
        }
        if let Some(dropped) = self.waiting.remove(usize::from(self.under_way)) {
            self.is_done_with(&dropped.item);
        }
        false
    }

    /// What is to be told next, and what the target was told of that last. What was overtaken, or says what it knows
    /// already, is left out.
    pub(super) fn next(&mut self) -> Option<(Arc<Item>, State)> {
        loop {
            let front = Arc::clone(&self.waiting.front()?.item);
            let mut was = State::Ok;
            if let Subject::Check { name, state, .. } = &front.subject {
                let known = self.known.get(name).cloned().unwrap_or_default();
                let is_overtaken = self.waiting.iter().skip(1).any(|it| is_of(&it.item, name));
                if is_overtaken || (known.state == *state && !known.in_doubt) {
                    self.waiting.pop_front();
                    continue;
                }
                was = known.state;
            }
            self.under_way = true;
            return Some((front, was));
        }
    }

    /// Since when what is being told has waited.
    pub(super) fn came(&self) -> Option<Instant> {
        self.waiting.front().map(|it| it.came)
    }

    /// The target took what was being told.
    pub(super) fn delivered(&mut self, at: Timestamp) {
        let Some(front) = self.take() else { return };
        if let Subject::Check { name, state, since, .. } = &front.subject {
            let known = Known { state: *state, since: *since, at, is_saved: false, in_doubt: false };
            self.known.insert(name.clone(), known);
        }
    }

    /// What was being told is not told any more.
    pub(super) fn given_up(&mut self) {
        self.take();
    }

    /// What was being told is to be told again; the target may have heard it.
    pub(super) fn again(&mut self, heard: bool) {
        self.under_way = false;
        if let Some(Waiting { item, .. }) = self.waiting.front()
            && let Subject::Check { name, .. } = &item.subject
            && heard
        {
            self.known.entry(name.clone()).or_default().in_doubt = true;
        }
    }

    fn take(&mut self) -> Option<Arc<Item>> {
        self.under_way = false;
        let front = self.waiting.pop_front()?.item;
        self.is_done_with(&front);
        Some(front)
    }

    fn is_done_with(&mut self, item: &Item) {
        if let Subject::Run(run) = &item.subject {
            self.done_runs.insert((Arc::clone(&run.source), run.id));
        }
    }

    /// What was told and is not known to the state database.
    pub(super) fn unsaved(&self, target: &str) -> Vec<Told> {
        let unsaved = self.known.iter().filter(|(_, it)| !it.is_saved);
        let told = |(name, it): (&String, &Known)| Told {
            target: target.to_owned(),
            name: name.clone(),
            state: it.state,
            since: it.since,
            at: it.at,
        };
        unsaved.map(told).collect()
    }

    /// The state database knows this.
    pub(super) fn saved(&mut self, told: &Told) {
        if let Some(known) = self.known.get_mut(&told.name)
            && (known.state, known.at) == (told.state, told.at)
        {
            known.is_saved = true;
        }
    }

    /// The state database says that the target was told this. `true` if that is news, and nothing of it waits.
    pub(super) fn learn(&mut self, told: &Told) -> bool {
        let known = self.known.entry(told.name.clone()).or_default();
        if !known.is_saved || known.state == told.state {
            return false;
        }
        let Told { state, since, at, .. } = *told;
        *known = Known { state, since, at, is_saved: true, in_doubt: known.in_doubt };
        !self.waiting.iter().any(|it| is_of(&it.item, &told.name))
    }

    /// The runs of a source whose end was told, which the state database does not know.
    pub(super) fn unsaved_runs(&self, source: &str) -> Vec<RunId> {
        self.done_runs.iter().filter(|(of, _)| **of == *source).map(|(_, run)| *run).collect()
    }

    /// The state database knows them.
    pub(super) fn saved_runs(&mut self, source: &str, runs: &[RunId]) {
        for known in [&mut self.runs, &mut self.done_runs] {
            known.retain(|(of, run)| **of != *source || !runs.contains(run));
        }
    }
}

fn is_of(item: &Item, check: &str) -> bool {
    matches!(&item.subject, Subject::Check { name, .. } if name == check)
}

#[cfg(test)]
mod tests;
