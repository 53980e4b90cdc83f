use super::store::Request;
use axum::http::Method;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Objects that need others: whoever breaks such a relation is refused.
#[derive(Debug, Default)]
pub struct Family {
    any: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
pub struct Kept {
    relations: Vec<Relation>,
    /// What each object depends on, by the place of the relation.
    parents: HashMap<String, HashMap<usize, String>>,
    /// How many objects depend on one.
    children: HashMap<String, u64>,
    /// The requests that were refused for that.
    pub broken: Vec<OutOfOrder>,
}

/// A request that was refused since it broke a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfOrder {
    /// Such as `POST /loans`, with its `Idempotency-Key`.
    pub request: String,
    /// The object that was not there, or that depends on the one to be deleted.
    pub other: String,
    /// After how many effects it came.
    pub after: u64,
}

#[derive(Debug)]
struct Relation {
    child: String,
    member: String,
    parent: String,
}

impl Family {
    /// From now on, what is below `child` and has this member needs the object of that name below
    /// `parent`.
    pub fn relate(&self, child: &str, member: &str, parent: &str) {
        let relation = Relation { child: child.into(), member: member.into(), parent: parent.into() };
        self.lock().relations.push(relation);
        self.any.store(true, Ordering::Release);
    }

    /// What is known of it, if there is any relation at all. While it is held, no other request
    /// changes an object.
    pub fn hold(&self) -> Option<MutexGuard<'_, Kept>> {
        self.any.load(Ordering::Acquire).then(|| self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// An object that depends on this one.
    pub fn child(&self, path: &str) -> Option<String> {
        self.children.get(path).filter(|count| **count > 0)?;
        let mut parents = self.parents.iter();
        parents.find(|(_, parents)| parents.values().any(|it| it == path)).map(|(child, _)| child.clone())
    }

    /// What the request makes its object depend on, by the place of the relation.
    pub fn named(&self, request: &Request<'_>) -> HashMap<usize, String> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let below = |it: &Relation| {
            request.path.strip_prefix(&*it.child).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let named = |it: &Relation| match &body[it.member.as_str()] {
            Value::Null => None,
            Value::String(name) if name.is_empty() => None,
            Value::String(name) => Some(format!("{}/{name}", it.parent)),
            other => Some(format!("{}/{other}", it.parent)),
        };
        let relations = self.relations.iter().enumerate().filter(|(_, it)| below(it));
        relations.filter_map(|(at, it)| Some((at, named(it)?))).collect()
    }

    /// A request was done on the object of this path.
    pub fn done(&mut self, method: &Method, path: &str, named: HashMap<usize, String>) {
        let mut now = match *method {
            // What a patch leaves out stays.
            Method::PATCH => self.parents.get(path).cloned().unwrap_or_default(),
            _ => HashMap::new(),
        };
        now.extend(named);
        now.values().for_each(|parent| *self.children.entry(parent.clone()).or_default() += 1);
        let before = if now.is_empty() {
            self.parents.remove(path)
        } else {
            self.parents.insert(path.to_owned(), now)
        };
        for parent in before.into_iter().flat_map(HashMap::into_values) {
            if let Some(count) = self.children.get_mut(&parent) {
                *count -= 1;
            }
        }
    }
}
