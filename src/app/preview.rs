//! `rowcall preview`: the calls a row would cause, none of them made.

use super::{App, AppError, plan::SourcePlan, state::check_schema};
use crate::{
    capture::{PostgresReader, RowReader},
    model::{Answer, Answered, Body, Call, Change, ChangeId, Image, Link, Op},
    postgres,
    routing::{Fetch, Route, split_key},
    state::{RouteKey, postgres::recall},
    synchronize::{Step, Work},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use std::sync::Arc;

/// What would happen for one route.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The route.
    pub route: String,
    /// What is known of the key at the remote.
    pub link: Option<Value>,
    /// What the row depends on.
    pub parents: Vec<PreviewedParent>,
    /// The calls, in order.
    pub calls: Vec<PreviewedCall>,
    /// How it would end, or why the calls beyond the last one cannot be told.
    pub then: String,
    /// An update that leaves the row as it is now would make none of the calls: the remote was told
    /// the same before.
    pub unchanged: bool,
}

/// A row that the previewed one depends on.
#[derive(Debug, Serialize)]
pub struct PreviewedParent {
    /// Its entity.
    pub entity: String,
    /// Its key.
    pub key: String,
    /// Whether the remote has it; else the row would wait for it.
    pub linked: bool,
}

/// One call that would be made.
#[derive(Debug, Serialize)]
pub struct PreviewedCall {
    /// The step.
    pub step: String,
    /// The method.
    pub method: &'static str,
    /// The path below the remote's URL.
    pub path: String,
    /// Headers of the step's own.
    pub headers: Vec<(String, String)>,
    /// The body as it would be sent.
    pub body: Option<Box<RawValue>>,
    /// The body, where it is not JSON.
    pub text: Option<String>,
}

/// More calls than this for one row are a loop, or too many to read.
const MOST_CALLS: usize = 100;

impl App {
    /// The calls that the present row of `key` would cause on each of the entity's routes.
    pub async fn preview(&self, entity: &str, key: &str) -> Result<Vec<Preview>, AppError> {
        let plans = self.plans()?;
        let Some((plan, _)) = plans.iter().find_map(|plan| Some((plan, plan.entity(entity)?))) else {
            let known: Vec<&str> = plans.iter().flat_map(|it| &it.entities).map(String::as_str).collect();
            let message = format!("there is no entity `{entity}`; there are: {}", known.join(", "));
            return Err(AppError::Failed(message));
        };
        let reader = PostgresReader::new(postgres::pool(&plan.target, 2));
        let described = plan.describe(&reader).await?;
        let routes = plan.routes(Some(&described)).map_err(AppError::Configuration)?;
        let mut previews = Vec::new();
        for route in &routes {
            if *route.name == *entity || route.name.starts_with(&format!("{entity}.")) {
                previews.push(preview(plan, route, &routes, &reader, key).await?);
            }
        }
        Ok(previews)
    }
}

async fn preview(
    plan: &SourcePlan,
    route: &Route,
    routes: &[Route],
    reader: &PostgresReader,
    key: &str,
) -> Result<Preview, AppError> {
    let parts = split_key(key);
    if parts.len() != route.key.len() {
        return Err(AppError::Failed(format!(
            "the key of route `{}` has {} columns ({}): give as many values, joined by commas",
            route.name,
            route.key.len(),
            route.key.join(", ")
        )));
    }
    let named: Vec<_> = route.key.iter().cloned().zip(parts.iter().cloned()).collect();
    let Some(new) = reader.row(&route.table, &named).await.map_err(AppError::failed)? else {
        return Err(AppError::Failed(format!("table {} has no row with the key {key}", route.table)));
    };
    let fetched = match &route.fetch {
        Some(Fetch::Sql(sql)) => reader.fetch(sql, &parts).await.map_err(AppError::failed)?,
        _ => None,
    };
    let link = links(plan, vec![at(route, key)]).await?.pop().flatten();
    let change = Change {
        id: ChangeId::default(),
        table: Arc::clone(&new.table),
        image: Image::Read { new: new.clone() },
        committed_at: jiff::Timestamp::UNIX_EPOCH,
        transaction: None,
    };
    debug_assert_eq!(change.op(), Op::Read);
    let work = Work {
        change: &change,
        key,
        link: link.as_ref(),
        fetched: fetched.as_ref(),
        parents: None,
        uncertain: false,
    };
    let (parents, saved) = parents(plan, route, routes, &work).await?;
    let work = Work { parents: Some(&saved), ..work };
    let missing = parents.iter().find(|it| !it.linked);
    let waits = missing.filter(|_| route.synchronizer.before_parents(&work).is_none());
    let (calls, then) = match waits {
        Some(PreviewedParent { entity, key, .. }) => {
            (Vec::new(), format!("it waits for `{entity}` {key}, which is not at the remote"))
        }
        None => walk(route, &work),
    };
    let update = Change { image: Image::Update { old: None, new }, ..change.clone() };
    let told = link.as_ref().and_then(|link| link.content);
    let unchanged = told.is_some() && told == route.content(&Work { change: &update, ..work }, &[]);
    let link = link.map(|link| Value::Object(link.saved));
    Ok(Preview { route: route.name.to_string(), link, parents, calls, then, unchanged })
}

/// What the row depends on, and what is saved of that.
async fn parents(
    plan: &SourcePlan,
    route: &Route,
    routes: &[Route],
    work: &Work<'_>,
) -> Result<(Vec<PreviewedParent>, Map<String, Value>), AppError> {
    let (mut previewed, mut saved) = (Vec::new(), Map::new());
    for parent in &route.parents {
        let of = &routes[usize::from(parent.route.0)];
        let found = parent.keys(work, &of.key).map_err(|error| AppError::Failed(error.to_string()))?;
        let keys: Vec<Arc<str>> =
            found.keys.into_iter().filter(|it| (&*of.name, &**it) != (&*route.name, work.key)).collect();
        let links = links(plan, keys.iter().map(|key| at(of, key)).collect()).await?;
        let mut values = Vec::new();
        for (key, link) in keys.iter().zip(links) {
            let (entity, key) = (parent.entity.to_string(), key.to_string());
            previewed.push(PreviewedParent { entity, key, linked: link.is_some() });
            values.extend(link.map(|link| Value::Object(link.saved)));
        }
        let value = if found.is_list { Some(Value::Array(values)) } else { values.pop() };
        saved.extend(value.map(|value| (parent.entity.to_string(), value)));
    }
    Ok((previewed, saved))
}

/// Follows the sequence as if every call were answered well, with an empty object: what is only
/// known from a real answer cannot be told.
fn walk(route: &Route, work: &Work<'_>) -> (Vec<PreviewedCall>, String) {
    let mut answers: Vec<Answered> = Vec::new();
    let mut calls: Vec<PreviewedCall> = Vec::new();
    loop {
        match route.synchronizer.next_step(work, &answers) {
            Step::Send(call) if calls.len() < MOST_CALLS => {
                let status = call.accept.first().copied().unwrap_or(200);
                let headers = [("content-type", "application/json")].into();
                let answer = Answer { status, headers, body: Bytes::from_static(b"{}") };
                answers.push(Answered { step: Arc::clone(&call.step), answer });
                calls.push(PreviewedCall::of(call));
            }
            Step::Send(_) => return (calls, format!("and so on: more than {MOST_CALLS} calls")),
            Step::Finish(_) => return (calls, "done".to_owned()),
            Step::Skip(reason) => return (calls, format!("skipped: {reason}")),
            Step::Reject { message, .. } if calls.is_empty() => return (calls, format!("parked: {message}")),
            Step::Reject { .. } => {
                let last = calls.last().map_or("", |call| &call.step);
                let then = format!("what follows depends on the answer to `{last}`");
                return (calls, then);
            }
        }
    }
}

impl PreviewedCall {
    fn of(call: Call) -> Self {
        let as_text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let (body, text) = match &call.body {
            Body::Empty => (None, None),
            Body::Json(bytes) => match RawValue::from_string(as_text(bytes)) {
                Ok(raw) => (Some(raw), None),
                Err(_) => (None, Some(as_text(bytes))),
            },
            Body::Form(bytes) | Body::Text(bytes) => (None, Some(as_text(bytes))),
        };
        Self {
            step: call.step.to_string(),
            method: call.method.name(),
            path: call.path,
            headers: call.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            body,
            text,
        }
    }
}

fn at(route: &Route, key: &str) -> RouteKey {
    RouteKey { route: Arc::clone(&route.name), key: Arc::from(key) }
}

/// What the state says of the keys; nothing where there is no state yet.
async fn links(plan: &SourcePlan, keys: Vec<RouteKey>) -> Result<Vec<Option<Link>>, AppError> {
    let client = postgres::connect(&plan.state).await.map_err(AppError::failed)?;
    if check_schema(plan, &client).await.is_err() {
        return Ok(keys.iter().map(|_| None).collect());
    }
    let known = recall(&client, &keys).await.map_err(|error| AppError::Failed(postgres::explain(&error)))?;
    Ok(known.into_iter().map(|known| known.link.filter(|link| !link.gone)).collect())
}
