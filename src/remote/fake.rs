//! A remote in memory, for tests: it answers by script and remembers what it was asked.

use super::{Attempt, CallError, Leave, RemoteClient, Shown, TokenLife, path};
use crate::model::{Answer, Call, CallKey};
use async_trait::async_trait;
use bytes::Bytes;
use std::{collections::VecDeque, sync::Arc, sync::Mutex, sync::MutexGuard, sync::PoisonError};
use tokio::sync::{Semaphore, watch};

/// One attempt that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenCall {
    /// What was asked.
    pub call: Call,
    /// Under which key.
    pub key: CallKey,
}

type Respond = dyn Fn(&Call, &CallKey) -> Result<Answer, CallError> + Send + Sync;

/// A [`RemoteClient`] that answers by script, and with an empty 200 when the script is used up.
///
/// A scripted error stands for the worse half of what it means: the call is remembered, as by a
/// remote that acted and whose answer was lost.
pub struct FakeRemote {
    script: Mutex<VecDeque<Result<Answer, CallError>>>,
    otherwise: Box<Respond>,
    seen: Mutex<Vec<SeenCall>>,
    arrived: watch::Sender<usize>,
    gate: Option<Semaphore>,
}

impl Default for FakeRemote {
    fn default() -> Self {
        Self::answering(|_, _| Ok(Answer { status: 200, ..Answer::default() }))
    }
}

impl FakeRemote {
    /// Answers everything with an empty 200 until something is scripted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers by a function of the call when nothing is scripted.
    pub fn answering(
        respond: impl Fn(&Call, &CallKey) -> Result<Answer, CallError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Mutex::default(),
            otherwise: Box::new(respond),
            seen: Mutex::default(),
            arrived: watch::Sender::new(0),
            gate: None,
        }
    }

    /// Calls arrive but are answered only as far as [`FakeRemote::release`] lets them.
    pub fn held(mut self) -> Self {
        self.gate = Some(Semaphore::new(0));
        self
    }

    /// Lets this many held calls be answered.
    pub fn release(&self, calls: usize) {
        if let Some(gate) = &self.gate {
            gate.add_permits(calls);
        }
    }

    /// The next unscripted call gets this status and body.
    pub fn answer(&self, status: u16, body: impl Into<Bytes>) -> &Self {
        self.reply(Ok(Answer { status, headers: [].into(), body: body.into() }))
    }

    /// The next unscripted call is made and its answer lost.
    pub fn break_off(&self) -> &Self {
        let (remote, message) = ("fake".to_owned(), "the connection broke".to_owned());
        self.reply(Err(CallError::Transport { remote, message }))
    }

    /// The next unscripted call gets this.
    pub fn reply(&self, reply: Result<Answer, CallError>) -> &Self {
        lock(&self.script).push_back(reply);
        self
    }

    /// Every attempt so far, in the order of arrival.
    pub fn seen(&self) -> Vec<SeenCall> {
        lock(&self.seen).clone()
    }

    /// Waits until this many attempts have arrived in all.
    pub async fn arrived(&self, calls: usize) {
        let mut arrived = self.arrived.subscribe();
        // The sender is ours, so it cannot be gone.
        let _ = arrived.wait_for(|count| *count >= calls).await;
    }
}

/// A test that panicked elsewhere is no reason to hide what arrived.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl RemoteClient for FakeRemote {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        path::check(&call.path)?;
        if !leave.begin() {
            return Ok(Attempt::Held);
        }
        if leave.watches() {
            leave.sends(Shown { url: format!("http://fake{}", call.path), headers: [].into() });
        }
        lock(&self.seen).push(SeenCall { call: call.clone(), key: key.clone() });
        let scripted = lock(&self.script).pop_front();
        self.arrived.send_modify(|count| *count += 1);
        if let Some(gate) = &self.gate {
            // The gate is never closed; each permit lets one call through for good.
            gate.acquire().await.into_iter().for_each(|permit| permit.forget());
        }
        scripted.unwrap_or_else(|| (self.otherwise)(call, key)).map(Attempt::Answered)
    }
}

#[async_trait]
impl<R: RemoteClient + ?Sized> RemoteClient for Arc<R> {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        (**self).attempt(call, key, leave).await
    }

    fn token_life(&self) -> Option<TokenLife> {
        (**self).token_life()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::conformance::{call, key};

    #[tokio::test]
    async fn a_held_call_arrives_and_waits_for_its_release() {
        let remote = FakeRemote::new().held();
        let (call, key) = (call(), key("a"));
        let under_way = remote.call(&call, &key);
        tokio::pin!(under_way);
        assert!(futures_util::poll!(under_way.as_mut()).is_pending());
        remote.arrived(1).await;
        remote.release(1);
        assert_eq!(under_way.await.expect("an answer").status, 200);
    }
}
