//! What tells whether a row has changed in anything that its `upsert` says.
//!
//! The calls of a sequence follow from what its expressions read and from what we know of the key
//! ourselves. So the hash is made of what is read, not of the calls: it is there before any call is
//! made, and it is the same whether the object is created or updated; unless a step's `if` looks at
//! the link, so that another step, which may say something else, is for either.

use super::plan::{Accepts, Content as Body, On, Plan, Sequence};
use crate::{
    mapping::Reads,
    model::{Answered, ContentHash},
    synchronize::{StepSettings, Work, scope},
};
use xxhash_rust::xxh3::xxh3_64;

/// Makes the content hashes of one sequence.
#[derive(Debug)]
pub(super) struct Content {
    reads: Reads,
    /// The sequence itself: where its configuration has changed, everything is sent again.
    fingerprint: u64,
    /// Other steps are taken for a key that is linked.
    tells_linked: bool,
}

impl Content {
    pub fn new(settings: &[StepSettings], sequence: &Sequence) -> Self {
        let mut reads = Reads::default();
        sequence.steps.iter().for_each(|step| collect(step, &mut reads));
        let mut conditions = Reads::default();
        sequence.steps.iter().for_each(|step| collect_conditions(step, &mut conditions));
        let tells_linked = conditions.reads_link();
        // Settings always serialise.
        let text = serde_json::to_vec(settings).unwrap_or_default();
        Self { reads, fingerprint: xxh3_64(&text), tells_linked }
    }

    /// `None` if it cannot be told what the remote has once these answers are in: what was found by
    /// a lookup may have been made by others, of other values.
    pub fn hash(&self, work: &Work<'_>, answers: &[Answered]) -> Option<ContentHash> {
        // The names of steps have no dot; those of their lookups do.
        let looked_up = answers.iter().any(|it| it.step.contains('.'));
        let linked = self.tells_linked && work.link.is_some();
        if looked_up { None } else { self.reads.hash(&scope(work), self.fingerprint ^ u64::from(linked)) }
    }
}

fn collect(step: &Plan, reads: &mut Reads) {
    let Plan { path, query, headers, body, condition, accept, save, on, lookup, for_each, .. } = step;
    path.reads(reads);
    headers.iter().for_each(|(_, text)| text.reads(reads));
    query.iter().chain(save).for_each(|(_, json)| json.reads(reads));
    match body {
        Body::Nothing => {}
        Body::Json(json) => json.reads(reads),
        Body::Form(values) => values.iter().for_each(|(_, json)| json.reads(reads)),
        Body::Text(text) => text.reads(reads),
    }
    condition.iter().chain(for_each.iter().map(|each| &each.list)).for_each(|it| it.reads(reads));
    match accept {
        Accepts::Statuses(_) => {}
        Accepts::Expression(expression) => expression.reads(reads),
    }
    for (_, on) in on {
        match on {
            On::Goto(_) | On::Lookup => {}
            On::Steps(steps) => steps.iter().for_each(|step| collect(step, reads)),
        }
    }
    lookup.iter().for_each(|step| collect(step, reads));
}

/// Whether a change takes these steps whenever it comes: none of them asks what is known of the key, and none
/// goes by what the remote has.
pub(super) fn is_steady(sequence: &Sequence) -> bool {
    let mut reads = Reads::default();
    for step in &sequence.steps {
        collect_conditions(step, &mut reads);
        step.for_each.iter().for_each(|each| each.list.reads(&mut reads));
    }
    !reads.reads_link() && sequence.steps.iter().all(|step| step.on.is_empty() && step.lookup.is_none())
}

fn collect_conditions(step: &Plan, reads: &mut Reads) {
    step.condition.iter().for_each(|it| it.reads(reads));
    for (_, on) in &step.on {
        if let On::Steps(steps) = on {
            steps.iter().for_each(|step| collect_conditions(step, reads));
        }
    }
}
