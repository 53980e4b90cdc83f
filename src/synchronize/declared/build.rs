//! From settings to a sequence. Everything that is wrong is said at once, each with its place.

mod batched;
mod branches;

use super::{
    names,
    plan::{self, Accepts, Content, Each, Plan, Sequence},
};
use crate::{
    mapping::{About, At, Escape, Expression, Json, MappingError, Names, Text},
    model::Method,
    synchronize::{Accept, BuildError, StepSettings},
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Reads one sequence. `names` knows what the whole entity has in scope.
pub(super) fn sequence(
    steps: &[StepSettings],
    at: &At,
    names: &Names,
    errors: &mut Vec<BuildError>,
) -> Sequence {
    let known = names::steps(steps, at, errors);
    let names = Names { steps: known.into(), ..names.clone() };
    if steps.is_empty() {
        errors.push(BuildError::new(at, "there are no steps: leave the key out to do nothing"));
    }
    let mut reader = Reader { errors, jumps: false };
    if names.about == About::Batch {
        reader.batch(steps, at);
    }
    let steps = reader.steps(steps, at, &names, Inside::Sequence);
    Sequence { jumps: reader.jumps, steps }
}

/// Reads one step that belongs to no sequence.
pub(super) fn single(
    step: &StepSettings,
    at: &At,
    names: &Names,
    errors: &mut Vec<BuildError>,
) -> Option<Plan> {
    let mut reader = Reader { errors, jumps: false };
    reader.step(step, &[names::of(step)], 0, at, names, Inside::Sequence)
}

/// Reads which answers are meant.
pub(super) fn accepts(
    accept: Option<&Accept>,
    at: &At,
    names: &Names,
    errors: &mut Vec<BuildError>,
) -> Accepts {
    Reader { errors, jumps: false }.accept(accept, at, &names.clone().with_answer())
}

/// Where a step stands, which decides what it may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Sequence,
    /// It is another step's `lookup`.
    Lookup,
}

struct Reader<'e> {
    errors: &'e mut Vec<BuildError>,
    jumps: bool,
}

impl Reader<'_> {
    fn steps(&mut self, steps: &[StepSettings], at: &At, names: &Names, inside: Inside) -> Vec<Plan> {
        let siblings: Vec<Arc<str>> = steps.iter().map(names::of).collect();
        let read = |(index, step)| self.step(step, &siblings, index, &at.index(index), names, inside);
        steps.iter().enumerate().filter_map(read).collect()
    }

    fn step(
        &mut self,
        step: &StepSettings,
        siblings: &[Arc<str>],
        index: usize,
        at: &At,
        outer: &Names,
        inside: Inside,
    ) -> Option<Plan> {
        let item = outer.item || step.for_each.is_some();
        let names = &Names { item, ..outer.clone() };
        let (method, path) = self.request(step, at, names)?;
        let text = |text, at: &At, escape| Text::parse(text, at, names, escape);
        let at_path = at.child(key(method));
        let gaps = plan::has_gap(path);
        let path = self.took(text(path, &at_path, Escape::Path));
        let headers = step.headers.iter().filter_map(|(name, value)| {
            let at = at.child("headers").child(name);
            self.header(name, &at);
            Some((Arc::from(name.as_str()), self.took(text(value, &at, Escape::None))?))
        });
        let headers = headers.collect();
        let query = self.values(&step.query, &at.child("query"), names);
        let body = self.content(step, method, at, names);
        let condition = step.condition.as_ref().and_then(|it| {
            let read = Expression::parse(it, &at.child("if"), outer);
            self.took(read)
        });
        let for_each = step.for_each.as_ref().and_then(|it| {
            let list = self.took(Expression::parse(it, &at.child("for_each"), outer))?;
            Some(Each { list, saves: names::saved_by(step) })
        });
        let answered = &Names { answer: true, ..names.clone() };
        let accept = self.accept(step.accept.as_ref(), &at.child("accept"), answered);
        let each = &match names.about {
            About::Row => answered.clone(),
            _ => answered.clone().about(About::Member),
        };
        let save = self.values(&step.save, &at.child("save"), each);
        let failed = self.failed(step, at, each);
        let name = siblings.get(index)?.clone();
        let lookup = step
            .lookup
            .as_ref()
            .and_then(|lookup| self.lookup(step, lookup, &name, &at.child("lookup"), names).map(Box::new));
        let on = self.on(step, siblings, index, at, names, &accept);
        let handles = match inside {
            Inside::Sequence => on.iter().map(|(status, _)| *status).collect(),
            // A lookup that finds nothing is an answer, not a failure.
            Inside::Lookup => super::NOT_FOUND.iter().copied().filter(|it| !accept.accepts(*it)).collect(),
        };
        let path = path?;
        Some(Plan {
            name,
            method,
            path,
            gaps,
            at: at_path,
            query,
            headers,
            body,
            condition,
            accept,
            save,
            on,
            handles,
            lookup,
            for_each,
            failed,
        })
    }

    fn request<'s>(&mut self, step: &'s StepSettings, at: &At, _: &Names) -> Option<(Method, &'s str)> {
        let mut given = names::requests(step);
        let Some((first, path)) = given.next() else {
            self.say(at, "a step needs one of `get`, `post`, `put`, `patch` and `delete`, with a path");
            return None;
        };
        if let Some((second, _)) = given.next() {
            self.say(
                at,
                format!(
                    "a step makes one call, but this one has `{first}` and `{second}`: make it two steps"
                ),
            );
        }
        if !path.starts_with('/') {
            let message =
                format!("the path `{path}` must start with `/`: it is appended to the remote's `url`");
            self.say(&at.child(first), message);
        }
        let method = match first {
            "get" => Method::Get,
            "post" => Method::Post,
            "put" => Method::Put,
            "patch" => Method::Patch,
            _ => Method::Delete,
        };
        Some((method, path))
    }

    fn header(&mut self, name: &str, at: &At) {
        let usable = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(usable) {
            self.say(at, format!("`{}` is not a header name: letters, digits and `-`", name.escape_debug()));
        }
        let ours =
            ["idempotency-key", "host", "content-length", "transfer-encoding", "connection", "user-agent"];
        if ours.iter().any(|it| name.eq_ignore_ascii_case(it)) {
            self.say(at, format!("the header `{name}` is set by rowcall itself: leave it out"));
        }
        if name.eq_ignore_ascii_case("authorization") {
            self.say(at, "credentials belong to the remote: write them under its `auth`");
        }
    }

    fn content(&mut self, step: &StepSettings, method: Method, at: &At, names: &Names) -> Content {
        let StepSettings { body, form, text, .. } = step;
        let given =
            [body.as_ref().map(|_| "body"), form.as_ref().map(|_| "form"), text.as_ref().map(|_| "text")];
        let given: Vec<&str> = given.into_iter().flatten().collect();
        if let [first, second, ..] = given[..] {
            self.say(
                at,
                format!("a step sends one body, but this one has `{first}` and `{second}`: keep one"),
            );
        }
        if let (Method::Get, Some(first)) = (method, given.first()) {
            self.say(&at.child(first), "a GET has no body: put the values into `query`");
        }
        let content = match (body, form, text) {
            (Some(body), ..) => self.took(Json::parse(body, &at.child("body"), names)).map(Content::Json),
            (_, Some(form), _) => Some(Content::Form(self.values(form, &at.child("form"), names))),
            (.., Some(text)) => {
                self.took(Text::parse(text, &at.child("text"), names, Escape::None)).map(Content::Text)
            }
            _ => None,
        };
        content.unwrap_or(Content::Nothing)
    }

    fn values(&mut self, values: &BTreeMap<String, Value>, at: &At, names: &Names) -> Vec<(String, Json)> {
        let read = |(name, value): (&String, &Value)| {
            Some((name.clone(), self.took(Json::parse(value, &at.child(name), names))?))
        };
        values.iter().filter_map(read).collect()
    }

    fn accept(&mut self, accept: Option<&Accept>, at: &At, names: &Names) -> Accepts {
        match accept {
            None => Accepts::Statuses(Vec::new()),
            Some(Accept::Statuses(statuses)) => {
                if statuses.is_empty() {
                    self.say(at, "no status would be accepted: leave the key out for any 2xx");
                }
                statuses.iter().for_each(|status| self.status(*status, at));
                Accepts::Statuses(statuses.clone())
            }
            Some(Accept::Expression(text)) => match self.took(Expression::parse(text, at, names)) {
                Some(expression) => Accepts::Expression(expression),
                None => Accepts::Statuses(Vec::new()),
            },
        }
    }

    fn status(&mut self, status: u16, at: &At) {
        if !(100..=599).contains(&status) {
            self.say(at, format!("{status} is not an HTTP status: 100 to 599"));
        }
    }

    fn took<T>(&mut self, read: Result<T, MappingError>) -> Option<T> {
        read.map_err(|error| self.errors.push(error.into())).ok()
    }

    fn say(&mut self, at: &At, message: impl Into<String>) {
        self.errors.push(BuildError::new(at, message));
    }
}

fn key(method: Method) -> &'static str {
    match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    }
}
