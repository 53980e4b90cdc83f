use super::{
    Options,
    address::Address,
    family::{Family, Kept, OutOfOrder},
    journal::{Entry, Journal},
};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use xxhash_rust::xxh3::xxh3_64;

/// What the bank keeps, and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

/// One change as it arrives.
pub struct Request<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    /// Its `Idempotency-Key`.
    pub key: Option<&'a str>,
    pub body: Bytes,
}

/// The counts of `/_stats`.
#[derive(Debug, Default)]
pub struct Counts {
    pub requests: AtomicU64,
    pub applied: AtomicU64,
    pub duplicates: AtomicU64,
    pub mismatched: AtomicU64,
    pub refused: AtomicU64,
    pub out_of_order: AtomicU64,
    pub faults: AtomicU64,
}

/// The first answer to an idempotency key.
struct Remembered {
    request: u64,
    reply: Reply,
}

const SHARDS: usize = 32;

type Shards<T> = [Mutex<HashMap<Box<str>, T>>; SHARDS];

/// Objects by path, answers by idempotency key, and the journal. Everything that concerns one
/// object happens under its shard's lock, so the journal has an object's effects in their order.
pub struct Store {
    objects: Shards<Bytes>,
    /// Otherwise a created object is acknowledged and forgotten.
    keep: bool,
    /// `None`: keys are not remembered.
    answers: Option<Shards<Remembered>>,
    /// `None`: no journal is kept.
    journal: Option<Mutex<Journal>>,
    drawn: AtomicU64,
    pub family: Family,
    pub counts: Counts,
}

impl Store {
    pub fn new(options: Options) -> Self {
        Self {
            objects: Default::default(),
            keep: options.objects,
            answers: options.idempotency.then(Default::default),
            journal: options.journal.then(Default::default),
            drawn: AtomicU64::new(0),
            family: Family::default(),
            counts: Counts::default(),
        }
    }

    /// Applies a request, or answers as the first time if its key was seen.
    pub fn apply(&self, request: &Request<'_>) -> Reply {
        let (Some(answers), Some(key)) = (&self.answers, request.key) else {
            return self.apply_new(request);
        };
        // Held throughout: of two requests with one key, one is a duplicate. Answers are locked
        // before objects, everywhere.
        let mut answers = lock(&answers[shard(key)]);
        let hash = xxh3_64(&request.body) ^ xxh3_64(request.path.as_bytes()).rotate_left(1);
        if let Some(first) = answers.get(key) {
            self.counts.duplicates.fetch_add(1, Relaxed);
            if first.request != hash {
                self.counts.mismatched.fetch_add(1, Relaxed);
            }
            self.record(request, request.path, first.reply.status, false);
            return first.reply.clone();
        }
        let reply = self.apply_new(request);
        if reply.status.is_success() {
            answers.insert(key.into(), Remembered { request: hash, reply: reply.clone() });
        }
        reply
    }

    fn apply_new(&self, request: &Request<'_>) -> Reply {
        let Some(address) = Address::of(request.path) else {
            return self.refuse(StatusCode::NOT_FOUND, "there is nothing at this path");
        };
        let has_body = !matches!(*request.method, Method::DELETE);
        if has_body && serde_json::from_slice::<IgnoredAny>(&request.body).is_err() {
            return self.refuse(StatusCode::BAD_REQUEST, "the body is not JSON");
        }
        match self.family.hold() {
            Some(mut family) => self.act_within(&mut family, request, address),
            None => self.act(request, address),
        }
    }

    fn act(&self, request: &Request<'_>, address: Address<'_>) -> Reply {
        match address {
            Address::Collection { parent, letter } => self.create(request, parent, letter),
            Address::Object { drawn } => self.change(request, drawn),
            Address::Batch { collection, removes } => self.batch(request, collection, removes),
            Address::Part { object, name } => self.attach(request, object, name),
        }
    }

    /// The same where objects need others.
    fn act_within(&self, family: &mut Kept, request: &Request<'_>, address: Address<'_>) -> Reply {
        if *request.method == Method::DELETE
            && let Some(child) = family.child(request.path)
        {
            self.out_of_order(family, request, &child);
            return self.refuse(StatusCode::CONFLICT, "objects depend on it");
        }
        if let Address::Part { .. } = address {
            return self.act(request, address);
        }
        let named = family.named(request);
        let is_there = |path: &str| lock(&self.objects[shard(path)]).contains_key(path);
        if let Some(missing) = named.values().find(|parent| !is_there(parent)) {
            let message = format!("it needs {missing}, which does not exist");
            self.out_of_order(family, request, missing);
            return self.refuse(StatusCode::UNPROCESSABLE_ENTITY, &message);
        }
        let reply = self.act(request, address);
        if reply.status.is_success() {
            let made = || serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
            match address {
                Address::Collection { .. } => {
                    let path = format!("{}/{}", request.path, made()["id"].as_str().unwrap_or_default());
                    family.done(request.method, &path, named);
                }
                _ => family.done(request.method, request.path, named),
            }
        }
        reply
    }

    fn out_of_order(&self, family: &mut Kept, request: &Request<'_>, other: &str) {
        let after = self.journal.as_ref().map_or(0, |it| lock(it).count());
        let Request { method, path, key, .. } = request;
        let request = format!("{method} {path} {}", key.unwrap_or_default());
        family.broken.push(OutOfOrder { request, other: other.to_owned(), after });
        self.counts.out_of_order.fetch_add(1, Relaxed);
    }

    fn create(&self, request: &Request<'_>, parent: Option<&str>, letter: char) -> Reply {
        if *request.method != Method::POST {
            return self.refuse(StatusCode::METHOD_NOT_ALLOWED, "a collection takes POST and GET");
        }
        if parent.is_some_and(|parent| !lock(&self.objects[shard(parent)]).contains_key(parent)) {
            return self.refuse(StatusCode::NOT_FOUND, "its parent does not exist");
        }
        let number = self.drawn.fetch_add(1, Relaxed) + 1;
        let path = format!("{}/{letter}{number}", request.path);
        let mut objects = lock(&self.objects[shard(&path)]);
        if self.keep {
            objects.insert(path.as_str().into(), request.body.clone());
        }
        self.applied(request, &path, StatusCode::CREATED, format!("{{\"id\":\"{letter}{number}\"}}").into())
    }

    pub(super) fn change(&self, request: &Request<'_>, drawn: bool) -> Reply {
        let path = request.path;
        let mut objects = lock(&self.objects[shard(path)]);
        let known = objects.contains_key(path);
        let status = match *request.method {
            Method::PUT | Method::POST if drawn => {
                return self.refuse(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "the bank draws these ids: post to the collection",
                );
            }
            Method::POST if known => return self.refuse(StatusCode::CONFLICT, "it exists already"),
            Method::PATCH | Method::DELETE if !known => {
                return self.refuse(StatusCode::NOT_FOUND, "it does not exist");
            }
            Method::PUT | Method::POST => {
                if self.keep {
                    objects.insert(path.into(), request.body.clone());
                }
                if known { StatusCode::OK } else { StatusCode::CREATED }
            }
            Method::PATCH => {
                let Some(merged) = merge(objects.get(path), &request.body) else {
                    return self.refuse(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        "only an object can be patched, with an object",
                    );
                };
                objects.insert(path.into(), merged);
                StatusCode::OK
            }
            Method::DELETE => {
                objects.remove(path);
                StatusCode::NO_CONTENT
            }
            _ => {
                return self.refuse(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "an object takes GET, PUT, PATCH, POST and DELETE",
                );
            }
        };
        let body = if status == StatusCode::NO_CONTENT {
            Bytes::new()
        } else {
            Bytes::from_static(b"{\"ok\":true}")
        };
        self.applied(request, path, status, body)
    }

    /// Puts the body into the object as a member of its own.
    fn attach(&self, request: &Request<'_>, object: &str, name: &str) -> Reply {
        if !matches!(*request.method, Method::POST | Method::PUT) {
            return self.refuse(StatusCode::METHOD_NOT_ALLOWED, "this takes POST and PUT");
        }
        let mut objects = lock(&self.objects[shard(object)]);
        if !objects.contains_key(object) {
            return self.refuse(StatusCode::NOT_FOUND, "it does not exist");
        }
        let Ok(part) = serde_json::from_slice::<Value>(&request.body) else {
            return self.refuse(StatusCode::BAD_REQUEST, "the body is not JSON");
        };
        let member = Bytes::from(json!({ name: part }).to_string());
        let Some(merged) = merge(objects.get(object), &member) else {
            return self.refuse(StatusCode::UNPROCESSABLE_ENTITY, "only an object can have parts");
        };
        objects.insert(object.into(), merged);
        self.applied(request, object, StatusCode::CREATED, Bytes::from_static(b"{\"ok\":true}"))
    }

    /// Call it while the object's lock is held.
    fn applied(&self, request: &Request<'_>, object: &str, status: StatusCode, body: Bytes) -> Reply {
        self.counts.applied.fetch_add(1, Relaxed);
        self.record(request, object, status, true);
        Reply { status, body }
    }

    fn record(&self, request: &Request<'_>, object: &str, status: StatusCode, applied: bool) {
        if let Some(journal) = &self.journal {
            lock(journal).push(request, object, status, applied);
        }
    }

    pub(super) fn refuse(&self, status: StatusCode, why: &str) -> Reply {
        self.counts.refused.fetch_add(1, Relaxed);
        Reply { status, body: json!({ "error": why }).to_string().into() }
    }

    /// An object as it is now, with its id; or the objects of a collection that have these members.
    pub fn get(&self, path: &str, wanted: &[(String, String)]) -> Reply {
        match Address::of(path) {
            Some(Address::Object { .. }) => match lock(&self.objects[shard(path)]).get(path) {
                Some(body) => Reply { status: StatusCode::OK, body: with_id(path, body).to_string().into() },
                None => self.refuse(StatusCode::NOT_FOUND, "it does not exist"),
            },
            Some(Address::Collection { .. }) => {
                let items = self.search(path, wanted);
                Reply { status: StatusCode::OK, body: json!({ "items": items }).to_string().into() }
            }
            _ => self.refuse(StatusCode::NOT_FOUND, "there is nothing at this path"),
        }
    }

    fn search(&self, path: &str, wanted: &[(String, String)]) -> Vec<Value> {
        let inside = |object: &str| object.rsplit_once('/').is_some_and(|(above, _)| above == path);
        let matches = |value: &Value| {
            wanted.iter().all(|(name, text)| match &value[name.as_str()] {
                Value::String(found) => found == text,
                Value::Null => false,
                other => text.parse().is_ok_and(|wanted: Value| wanted == *other),
            })
        };
        self.dump()
            .iter()
            .filter(|(object, _)| inside(object))
            .map(|(object, value)| named(object, value.clone()))
            .filter(matches)
            .collect()
    }

    pub fn dump(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for shard in &self.objects {
            for (path, body) in lock(shard).iter() {
                all.insert(path.to_string(), serde_json::from_slice(body).unwrap_or(Value::Null));
            }
        }
        all
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.iter().map(|shard| lock(shard).len()).sum()
    }

    /// The journal from this sequence number on.
    pub fn journal(&self, from: u64) -> Vec<Entry> {
        self.journal.as_ref().map(|journal| lock(journal).from(from)).unwrap_or_default()
    }

    /// A request came that names itself like this.
    pub fn came(&self, traceparent: Option<&str>) {
        if let (Some(journal), Some(span)) = (&self.journal, traceparent.and_then(|it| it.split('-').nth(2)))
        {
            lock(journal).spans.push(span.into());
        }
    }

    pub fn spans(&self) -> Vec<Arc<str>> {
        self.journal.as_ref().map(|journal| lock(journal).spans.clone()).unwrap_or_default()
    }

    pub fn take_journal(&self) -> Vec<Entry> {
        self.journal.as_ref().map(|journal| lock(journal).take()).unwrap_or_default()
    }
}

fn shard(name: &str) -> usize {
    xxh3_64(name.as_bytes()) as usize % SHARDS
}

/// What a panicking thread left is whole: every change here is one map operation.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The members of both, the newer ones first in right; `None` unless both are objects.
fn merge(old: Option<&Bytes>, new: &Bytes) -> Option<Bytes> {
    let mut merged: Map<String, Value> = serde_json::from_slice(old?).ok()?;
    merged.extend(serde_json::from_slice::<Map<String, Value>>(new).ok()?);
    Some(Value::Object(merged).to_string().into())
}

fn with_id(path: &str, body: &Bytes) -> Value {
    named(path, serde_json::from_slice(body).unwrap_or(Value::Null))
}

/// The value with its id as a member, unless it has one.
fn named(path: &str, mut value: Value) -> Value {
    if let (Value::Object(members), Some((_, id))) = (&mut value, path.rsplit_once('/')) {
        members.entry("id").or_insert_with(|| id.into());
    }
    value
}
