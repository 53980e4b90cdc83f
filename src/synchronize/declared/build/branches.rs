//! Where a step may lead besides to the next one: `on` and `lookup`.

use super::{Inside, Reader};
use crate::{
    mapping::{At, Names},
    synchronize::{
        OnStatus, StepSettings,
        declared::{
            names,
            plan::{Accepts, On, Plan},
        },
    },
};
use std::{collections::BTreeMap, sync::Arc};

impl Reader<'_> {
    pub(super) fn on(
        &mut self,
        step: &StepSettings,
        siblings: &[Arc<str>],
        index: usize,
        at: &At,
        names: &Names,
        accept: &Accepts,
    ) -> Vec<(u16, On)> {
        let mut plans = Vec::new();
        for (status, on) in &step.on {
            let at = &at.child("on").child(&status.to_string());
            self.status(*status, at);
            if accept.accepts(*status) {
                self.say(
                    at,
                    format!("{status} is accepted, so this is never reached: list `accept` without it"),
                );
            }
            let on = match on {
                OnStatus::Sequence(steps) => {
                    if steps.is_empty() {
                        self.say(at, format!("there are no steps: put {status} into `accept` to go on"));
                    }
                    Some(On::Steps(self.steps(steps, at, names, Inside::Sequence)))
                }
                OnStatus::Step(name) if name == names::LOOKUP => {
                    if step.lookup.is_none() {
                        self.say(at, "this step has no `lookup`: give it one, or name a step");
                    }
                    Some(On::Lookup)
                }
                OnStatus::Step(name) => self.target(name, siblings, index, step, at).map(On::Goto),
            };
            plans.extend(on.map(|on| (*status, on)));
        }
        plans
    }

    /// The position of the step that `on` names.
    fn target(
        &mut self,
        name: &str,
        siblings: &[Arc<str>],
        index: usize,
        step: &StepSettings,
        at: &At,
    ) -> Option<usize> {
        self.jumps = true;
        if step.for_each.is_some() {
            self.say(
                at,
                "a step with `for_each` cannot go to another: write the steps to run for that item here",
            );
        }
        match siblings.iter().position(|it| **it == *name) {
            Some(to) if to == index => {
                self.say(at, "the step would go to itself: calling again is for the remote's `retry`");
                None
            }
            Some(to) => Some(to),
            None => {
                let known = siblings.join("`, `");
                self.say(at, format!("there is no step `{name}` in this list: there are `{known}`"));
                None
            }
        }
    }

    pub(super) fn lookup(
        &mut self,
        step: &StepSettings,
        lookup: &StepSettings,
        name: &Arc<str>,
        at: &At,
        names: &Names,
    ) -> Option<Plan> {
        let unusable = [
            ("name", !lookup.name.is_empty()),
            ("if", lookup.condition.is_some()),
            ("on", !lookup.on.is_empty()),
            ("lookup", lookup.lookup.is_some()),
            ("for_each", lookup.for_each.is_some()),
        ];
        for (key, _) in unusable.into_iter().filter(|(_, given)| *given) {
            self.say(
                &at.child(key),
                format!("a lookup takes no `{key}`: it is one call, found or not found"),
            );
        }
        let lacking: Vec<&str> =
            step.save.keys().filter(|it| !lookup.save.contains_key(*it)).map(String::as_str).collect();
        if !lacking.is_empty() {
            let lacking = lacking.join("`, `");
            let message = format!("what is found must save what the step would: `{lacking}` is missing");
            self.say(&at.child("save"), message);
        }
        let plain = StepSettings { on: BTreeMap::new(), lookup: None, for_each: None, ..lookup.clone() };
        let name = format!("{name}.{}", names::LOOKUP).into();
        self.step(&plain, &[name], 0, at, names, Inside::Lookup)
    }
}
