//! The checks that notices are made of: those of `/livez`, `/readyz` and `/healthz` that this instance can speak for.
//!
//! Left out are those of a source that another instance holds, of remotes that only such sources call first, and of
//! the log of calls while another instance holds the first source. So is what says that all is well only because
//! nothing has been tried yet: what an earlier process, or another instance, has seen fail may fail still.

use super::{SourceVitals, Vitals};
use crate::{
    app::App,
    health::{Check, State},
    metrics::Class,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};

/// How much had worked when this instance began to speak for something.
pub(super) type Proofs = BTreeMap<String, u64>;

impl App {
    /// The checks as they are now, as far as this instance can say.
    pub(in crate::app) fn watched(&self) -> Vec<Check> {
        let vitals = &self.vitals;
        let sources = vitals.parts().sources.clone();
        let ours: Vec<&Arc<SourceVitals>> = sources.iter().filter(|it| !it.is_standby()).collect();
        let mut checks = Vec::new();
        for source in &ours {
            checks.push(source.turning());
            checks.push(source.readiness());
            let lag = format!("source.{}.lag", source.name);
            let is_sure = |it: &Check| it.state != State::Ok || it.name != lag || source.has_caught_up();
            checks.extend(source.health().into_iter().filter(is_sure));
        }
        let holds = |name: &str| ours.iter().any(|it| it.name == name);
        let callers = vitals.parts().callers.clone();
        for check in vitals.remotes() {
            let remote = check.name.strip_prefix("remote.").unwrap_or_default();
            let is_ours = callers.get(remote).is_some_and(|it| holds(it));
            let works = vitals.answered(remote);
            checks.extend(vitals.proven(check, is_ours, Some(works)));
        }
        let is_first = sources.first().is_some_and(|it| holds(&it.name));
        for check in vitals.log(&self.loaded.config.admin.health) {
            let works = vitals.taken(&check.name);
            checks.extend(vitals.proven(check, is_first, works));
        }
        vitals.dated(checks).checks
    }

    /// The sources that no other instance is known to hold.
    pub(in crate::app) fn ours(&self) -> BTreeSet<String> {
        let parts = self.vitals.parts();
        parts.sources.iter().filter(|it| !it.is_standby()).map(|it| it.name.clone()).collect()
    }
}

impl Vitals {
    /// Requests that the remote has dealt with.
    fn answered(&self, remote: &str) -> u64 {
        let meter = self.meters.remote(remote);
        [Class::Answered, Class::Conflict, Class::Refused].iter().map(|it| meter.attempts(*it).get()).sum()
    }

    /// How often something of the log of calls has worked, where its check says so only since then.
    fn taken(&self, check: &str) -> Option<u64> {
        let log = self.parts().log.clone()?;
        match check {
            "call_log" => Some(log.pipeline.gauges().sent),
            "call_log.keeper" => log.keeper.as_ref().map(|(_, counts)| counts.batches()),
            _ => None,
        }
    }

    /// The check, if it is for this instance to tell and what is well has been seen to work since it is.
    fn proven(&self, check: Check, is_ours: bool, works: Option<u64>) -> Option<Check> {
        let Some(works) = works else { return is_ours.then_some(check) };
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_ours {
            proofs.insert(check.name, works);
            return None;
        }
        let before = proofs.get(&check.name).copied().unwrap_or_default();
        (check.state != State::Ok || works > before).then_some(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_is_believed_once_it_has_worked_since_it_is_ours() {
        let vitals = Vitals::default();
        let proven = |state, is_ours, works| {
            vitals.proven(Check::new("remote.bank", state, "so"), is_ours, Some(works)).is_some()
        };
        assert!(!proven(State::Ok, true, 0) && proven(State::Fail, true, 0) && proven(State::Ok, true, 1));
        assert!(!proven(State::Fail, false, 5), "another instance tells it");
        assert!(!proven(State::Ok, true, 5) && proven(State::Ok, true, 6));
    }
}
