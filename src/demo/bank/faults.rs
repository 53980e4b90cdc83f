use axum::http::Method;
use serde::{Deserialize, Serialize};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// This status, nothing applied.
    Status(u16),
    /// 429 with `Retry-After: n`, nothing applied.
    TooMany {
        /// The seconds to wait.
        retry_after: u32,
    },
    /// 413 if the body is longer than this many bytes, nothing applied.
    TooLarge(usize),
    /// The answer comes this much later, in milliseconds.
    Delay(u64),
    /// Nothing happens until the faults are cleared; then it is as if there had been none.
    Hold,
    /// The connection breaks, nothing applied.
    DropBefore,
    /// Applied; then the connection breaks and the answer is lost.
    DropAfter,
    /// Applied; the connection breaks in the middle of the answer's body.
    Truncate,
    /// Applied; the answer's body comes byte by byte, over so many milliseconds in all.
    SlowBody(u64),
    /// Applied; the answer's body is not JSON.
    BadJson,
    /// 307 to this address, nothing applied.
    Redirect(String),
}

/// A fault and the requests it befalls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only requests of this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only requests whose path starts with this.
    #[serde(default)]
    pub path: String,
    /// How many requests it befalls before it is spent; for ever unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Only every n-th request that would match.
    #[serde(default = "one")]
    pub every: u64,
    #[serde(skip)]
    seen: u64,
}

fn one() -> u64 {
    1
}

impl Rule {
    /// A rule for every request, for ever.
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, path: String::new(), times: None, every: 1, seen: 0 }
    }

    /// Only for requests of this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only for paths that start with this.
    pub fn path(mut self, prefix: &str) -> Self {
        self.path = prefix.to_owned();
        self
    }

    /// Spent after this many.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only every n-th request that would match.
    pub fn every(mut self, n: u64) -> Self {
        self.every = n;
        self
    }

    fn befalls(&mut self, method: &Method, path: &str) -> bool {
        if self.method.as_deref().is_some_and(|wanted| wanted != method.as_str())
            || !path.starts_with(&self.path)
        {
            return false;
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every.max(1)) {
            return false;
        }
        match &mut self.times {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

/// The rules in force. The first that befalls a request decides.
#[derive(Debug, Default)]
pub struct Faults {
    any: AtomicBool,
    rules: Mutex<Vec<Rule>>,
    /// How often they were cleared.
    cleared: watch::Sender<u64>,
}

impl Faults {
    /// Puts a rule behind those in force.
    pub fn add(&self, rule: Rule) {
        let mut rules = self.lock();
        rules.push(rule);
        self.any.store(true, Ordering::Release);
    }

    /// Everything works again.
    pub fn clear(&self) {
        let mut rules = self.lock();
        rules.clear();
        self.any.store(false, Ordering::Release);
        self.cleared.send_modify(|times| *times += 1);
    }

    /// Waits until everything works again.
    pub(super) async fn cleared(&self) {
        let mut cleared = self.cleared.subscribe();
        if self.any.load(Ordering::Acquire) {
            // The sender is ours, so it cannot be gone.
            let _ = cleared.changed().await;
        }
    }

    /// The rules with what is left of their counts.
    pub fn rules(&self) -> Vec<Rule> {
        self.lock().clone()
    }

    pub(super) fn strike(&self, method: &Method, path: &str) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.lock().iter_mut().find_map(|rule| rule.befalls(method, path).then(|| rule.fault.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
