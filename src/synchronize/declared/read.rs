//! How the remote is asked for one object, and what is held against its answer.

use super::{
    build,
    plan::{Accepts, Plan},
    request,
};
use crate::{
    mapping::{At, Json, Names, Scope},
    model::{Answer, Call},
    synchronize::{
        Accept, BuildError, ReadSettings, StepSettings, Work,
        compare::{Difference, compare},
        scope,
    },
};
use serde_json::Value;

/// `entities.<name>.read`, read.
#[derive(Debug)]
pub struct ObjectRead {
    plan: Plan,
    missing: Accepts,
    expect: Json,
}

/// What an answer says of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// There is none.
    Missing,
    /// It is there.
    There {
        /// The answer's body.
        body: Value,
    },
    /// Neither can be told.
    Unclear(String),
}

impl ObjectRead {
    /// Reads the settings; on failure says all that is wrong with them. `names` knows the entity's.
    pub fn new(settings: &ReadSettings, at: &At, names: &Names) -> Result<Self, Vec<BuildError>> {
        let mut errors = Vec::new();
        let step = |accept: Option<&Accept>| StepSettings {
            name: "read".to_owned(),
            get: Some(settings.get.clone()),
            query: settings.query.clone(),
            headers: settings.headers.clone(),
            accept: accept.cloned(),
            ..StepSettings::default()
        };
        let plan = build::single(&step(settings.accept.as_ref()), at, names, &mut errors);
        let missing = build::accepts(settings.missing.as_ref(), &at.child("missing"), names, &mut errors);
        let expect = Json::parse(&settings.expect, &at.child("expect"), names);
        let expect = expect.map_err(|error| errors.push(error.into())).ok();
        match (plan, expect) {
            (Some(mut plan), Some(expect)) if errors.is_empty() => {
                let missing = match settings.missing {
                    Some(_) => missing,
                    None => Accepts::Statuses(super::NOT_FOUND.to_vec()),
                };
                plan.handles = missing.statuses().to_vec();
                Ok(Self { plan, missing, expect })
            }
            _ => Err(errors),
        }
    }

    /// The call that asks; or why it cannot be written.
    pub fn call(&self, work: &Work<'_>) -> Result<Call, String> {
        let written = request::write(&self.plan, self.plan.name.clone(), None, &scope(work));
        written.map_err(|error| error.message(&self.plan))
    }

    /// What the answer says; of a status that the call accepts or handles.
    pub fn hear(&self, work: &Work<'_>, answer: &Answer) -> Heard {
        let scope = Scope { answer: Some(answer), ..scope(work) };
        if self.missing.accepts(answer.status) {
            let Accepts::Expression(missing) = &self.missing else { return Heard::Missing };
            match missing.truth(&scope) {
                Ok(true) => return Heard::Missing,
                Ok(false) => {}
                Err(error) => return Heard::Unclear(error.to_string()),
            }
        }
        if let Accepts::Expression(accept) = &self.plan.accept {
            match accept.truth(&scope) {
                Ok(true) => {}
                Ok(false) => return Heard::Unclear("`accept` is false for the answer".to_owned()),
                Err(error) => return Heard::Unclear(error.to_string()),
            }
        }
        match serde_json::from_slice(&answer.body) {
            Ok(body) => Heard::There { body },
            Err(error) => Heard::Unclear(format!("the answer is no JSON: {error}")),
        }
    }

    /// In what the object differs from the row; or why that cannot be told.
    pub fn differences(&self, work: &Work<'_>, body: &Value) -> Result<Vec<Difference>, String> {
        let here = self.expect.value(&scope(work)).map_err(|error| error.to_string())?;
        Ok(here.map(|here| compare(&here, body)).unwrap_or_default())
    }
}
