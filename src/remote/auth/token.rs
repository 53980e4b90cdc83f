//! A token and the life it has.

use crate::remote::{TokenLife, echo::Echoes};
use async_trait::async_trait;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// Where tokens come from.
#[async_trait]
pub(super) trait TokenSource: Send + Sync {
    /// Asks for a token, once.
    async fn fetch(&self) -> Result<Granted, NotGranted>;

    /// The remote the tokens are for, for messages.
    fn remote(&self) -> &str;

    /// The endpoint's host, for messages.
    fn place(&self) -> &str;
}

/// What a token endpoint gave.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) text: SecretString,
    /// The same as a header, marked so that nothing prints it.
    pub(super) header: HeaderValue,
    /// How long it is good for, from when it was asked for; as long as it is taken if not said.
    pub(super) lifetime: Option<Duration>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NotGranted {
    pub(super) trouble: Trouble,
    /// What was said, with the endpoint's name and without a secret.
    pub(super) message: String,
    /// When to ask again, if the endpoint said so.
    pub(super) retry_after: Option<Duration>,
}

/// What kind of trouble there is with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The endpoint cannot be asked, or cannot answer now.
    Unreachable,
    /// The endpoint refuses, or gives what is no token: a person has to change something.
    Refused,
}

/// A token in use.
#[derive(Debug)]
pub(in crate::remote) struct Token {
    granted: Granted,
    /// What must not come back in an answer.
    echoes: Echoes,
    asked: Instant,
    /// Which fetch brought it.
    pub(super) round: u64,
    /// It was asked for because the one before was not taken.
    renewed: bool,
    accepted: AtomicBool,
}

impl Token {
    pub(super) fn new(granted: Granted, asked: Instant, round: u64, renewed: bool) -> Self {
        let echoes = Echoes::new(vec![granted.text.expose_secret().to_owned()]);
        Self { granted, echoes, asked, round, renewed, accepted: AtomicBool::new(false) }
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.granted.header
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        self.granted.text.expose_secret()
    }

    /// The token, as it may come back.
    pub(in crate::remote) fn echoes(&self) -> &Echoes {
        &self.echoes
    }

    /// The remote took it.
    pub(in crate::remote) fn accept(&self) {
        self.accepted.store(true, Relaxed);
    }

    /// Whether the remote ever took it.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.load(Relaxed)
    }

    /// Whether it replaced a refused one within this time.
    pub(super) fn is_fruitless(&self, now: Instant, within: Duration) -> bool {
        self.renewed && self.age(now) < within
    }

    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.granted.lifetime
    }

    pub(super) fn life(&self) -> TokenLife {
        TokenLife { asked: self.asked, lasts: self.granted.lifetime }
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.asked)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.granted.lifetime.is_some_and(|lifetime| self.age(now) >= lifetime)
    }

    /// Whether it is time to ask for the next one.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.granted.lifetime.is_some_and(|lifetime| self.age(now) >= lifetime - ahead(lifetime))
    }
}

impl NotGranted {
    /// The request ended without a result.
    pub(super) fn broken_off() -> Self {
        let message = "the request for a token broke off".to_owned();
        Self { trouble: Trouble::Unreachable, message, retry_after: None }
    }
}

/// How long before a token's end the next one is asked for: a minute, or a fifth of a short life.
fn ahead(lifetime: Duration) -> Duration {
    (lifetime / 5).min(Duration::from_secs(60))
}
