//! Keeps one token for everybody who calls a remote, and asks for the next one in time.
//!
//! However many calls wait, there is one request for a token under way; it belongs to nobody's
//! call, so that a call which is dropped takes it from no other. While a token is good, calls use
//! it and the next one is asked for behind their backs; a failure of that is nobody's until the
//! token is over. A failed request is not made again at once: who comes meanwhile hears of it.
//!
//! A 401 is about the token or about what was called with it, and does not say which. So a token
//! that others could call with serves them until the next one is there, and the next one is not
//! replaced at once.

use super::token::{Granted, NotGranted, Token, TokenSource};
use crate::remote::{CallError, TokenLife};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::Instant};

/// The wait after the first failed request; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that a token endpoint may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// How long a token that replaced a refused one is not replaced if it is refused itself: a remote
/// that takes no token, for anything or for one of its resources, would otherwise have one made for
/// every call.
const FRUITLESS: Duration = Duration::from_secs(10);

pub(in crate::remote) struct Keeper {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

struct Inner {
    source: Box<dyn TokenSource>,
    state: Mutex<State>,
    /// How many requests have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// Counts the requests that have ended.
    round: u64,
    token: Option<Arc<Token>>,
    failed: Option<Failed>,
    fetching: bool,
}

struct Failed {
    why: NotGranted,
    /// How many in a row.
    times: u32,
    until: Instant,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    pub(super) fn new(source: Box<dyn TokenSource>) -> Self {
        let inner = Inner { source, state: Mutex::default(), ended: watch::Sender::new(0) };
        Self { inner: Arc::new(inner), tasks: Mutex::default() }
    }

    /// A token that is good as far as we know.
    pub(super) async fn token(&self) -> Result<Arc<Token>, CallError> {
        self.good_token(None).await
    }

    /// Whether there is, after a 401 with this token, another one to call with.
    pub(super) async fn renew(&self, refused: &Token) -> Result<bool, CallError> {
        {
            let mut state = lock(&self.inner.state);
            match &state.token {
                Some(newer) if newer.round != refused.round => return Ok(true),
                _ if refused.is_fruitless(Instant::now(), FRUITLESS) => return Ok(false),
                _ if refused.is_accepted() => {}
                _ => state.token = None,
            }
        }
        self.good_token(Some(refused.round)).await.map(|_| true)
    }

    /// How long there has been a token, and how long it is good for.
    pub(super) fn token_life(&self) -> Option<TokenLife> {
        lock(&self.inner.state).token.as_ref().map(|it| it.life())
    }

    /// Asks for a token and says how that went.
    pub(super) async fn try_out(&self) -> Result<String, String> {
        let token = self.token().await.map_err(|error| error.to_string())?;
        let life = token.lifetime().map(|it| format!(", good for {} s", it.as_secs()));
        Ok(format!("{} gives a token{}", self.inner.source.place(), life.unwrap_or_default()))
    }

    /// A good one, and another than that of the fetch `refused`.
    async fn good_token(&self, refused: Option<u64>) -> Result<Arc<Token>, CallError> {
        let mut waited = None;
        loop {
            let round = {
                let mut state = lock(&self.inner.state);
                let now = Instant::now();
                // One that is over already is as good as any for those who waited for it.
                let is_good = |it: &Arc<Token>| {
                    refused.is_none_or(|round| it.round != round)
                        && (!it.is_over(now) || waited.is_some_and(|round| it.round > round))
                };
                if let Some(token) = state.token.clone().filter(is_good) {
                    if token.is_due(now) && !state.fetching && state.rests(now).is_none() {
                        self.fetch(&mut state, false);
                    }
                    return Ok(token);
                }
                let known = if waited.is_some() { state.failed.as_ref() } else { state.rests(now) };
                if let Some(failed) = known.filter(|_| !state.fetching) {
                    return Err(failed.error(self.inner.source.remote(), now));
                }
                if !state.fetching {
                    self.fetch(&mut state, refused.is_some());
                }
                state.round
            };
            let mut ended = self.inner.ended.subscribe();
            // The sender is ours, so it cannot be gone.
            let _ = ended.wait_for(|it| *it > round).await;
            waited = Some(round);
        }
    }

    fn fetch(&self, state: &mut State, renews: bool) {
        state.fetching = true;
        let inner = Arc::clone(&self.inner);
        let mut tasks = lock(&self.tasks);
        // Those that have ended are of no further use.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(fetch(inner, renews));
    }
}

impl State {
    /// The failure after which it is too early to ask again.
    fn rests(&self, now: Instant) -> Option<&Failed> {
        self.failed.as_ref().filter(|it| it.until > now)
    }
}

/// One request, to its end: also if that is a panic, or all would wait for ever.
async fn fetch(inner: Arc<Inner>, renews: bool) {
    let asked = Instant::now();
    let mut ending = Ending { inner: &inner, result: None, asked, renews };
    ending.result = Some(inner.source.fetch().await);
}

struct Ending<'a> {
    inner: &'a Inner,
    result: Option<Result<Granted, NotGranted>>,
    asked: Instant,
    renews: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        state.fetching = false;
        state.round += 1;
        match self.result.take() {
            Some(Ok(granted)) => {
                state.failed = None;
                let token = Token::new(granted, self.asked, state.round, self.renews);
                state.token = Some(Arc::new(token));
            }
            // A stop, which nobody waits through.
            None if !std::thread::panicking() => {}
            result => {
                let why = result.and_then(Result::err).unwrap_or_else(NotGranted::broken_off);
                let times = state.failed.as_ref().map_or(0, |it| it.times) + 1;
                let failed = Failed::new(why, times);
                tracing::warn!(
                    remote = self.inner.source.remote(),
                    again_in_ms = failed.until.duration_since(Instant::now()).as_millis() as u64,
                    error = failed.why.message,
                    "there is no new access token"
                );
                state.failed = Some(failed);
            }
        }
        // Before the next request can end: an older number behind a newer one would let who waits
        // for that wait on.
        self.inner.ended.send_replace(state.round);
    }
}

impl Failed {
    fn new(why: NotGranted, times: u32) -> Self {
        let own = FIRST_WAIT.saturating_mul(1 << (times - 1).min(10)).min(LONGEST_WAIT);
        let asked = why.retry_after.unwrap_or_default().min(LONGEST_ASKED);
        Self { why, times, until: Instant::now() + own.max(asked) }
    }

    fn error(&self, remote: &str, now: Instant) -> CallError {
        CallError::Token {
            remote: remote.to_owned(),
            message: self.why.message.clone(),
            trouble: self.why.trouble,
            wait: self.until.saturating_duration_since(now),
        }
    }
}

/// What a panicking thread left is whole: every change here is one assignment after another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
