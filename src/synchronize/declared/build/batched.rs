//! What is different about a step whose call carries many rows.

use super::Reader;
use crate::{
    mapping::{About, At, Expression, Names},
    synchronize::StepSettings,
};

impl Reader<'_> {
    /// A batch is one call, and what is decided row by row is decided before it.
    pub(super) fn batch(&mut self, steps: &[StepSettings], at: &At) {
        if steps.len() > 1 {
            self.say(
                &at.index(1),
                "the entity has a `batch`, so this sequence is one call for many rows and takes one step: say it \
                 all in one body, or leave `batch` out",
            );
        }
        for (index, step) in steps.iter().enumerate() {
            let unusable = [
                ("if", step.condition.is_some(), "whether a row is sent at all is for the entity's `when`"),
                (
                    "lookup",
                    step.lookup.is_some(),
                    "let the call replace what is there by its key, so that it may be made twice",
                ),
                ("for_each", step.for_each.is_some(), "write `{ each: … }` where the list of rows belongs"),
                ("on", !step.on.is_empty(), "what the answer says about one row is for `failed`"),
            ];
            for (key, _, instead) in unusable.into_iter().filter(|(_, given, _)| *given) {
                let message = format!("a call for a batch of rows takes no `{key}`: {instead}");
                self.say(&at.index(index).child(key), message);
            }
        }
    }

    pub(super) fn failed(&mut self, step: &StepSettings, at: &At, names: &Names) -> Option<Expression> {
        let failed = step.failed.as_ref()?;
        let at = at.child("failed");
        if names.about == About::Row {
            self.say(
                &at,
                "`failed` is asked for each row of a `batch`, and the entity has none: whether a call went well is \
                 for `accept`",
            );
            return None;
        }
        self.took(Expression::parse(failed, &at, names))
    }
}
