use super::{Governor, Quota, breaker::Way};
use std::sync::Arc;
use tokio::time::Instant;

/// Whether calls go through to a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They do.
    Ready,
    /// The remote asked for a pause, or its quota is used up.
    Paused,
    /// The breaker is open: the remote does nothing but fail.
    Open,
    /// One call is about to see, or seeing, whether it is back.
    HalfOpen,
    /// A person has stopped everything.
    Halted,
}

impl Gate {
    /// The name used in the database, on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Halted => "halted",
        }
    }
}

/// How a remote stands with us.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whether calls go through.
    pub gate: Gate,
    /// Since when they do not.
    pub since: Option<Instant>,
    /// Until when at least.
    pub until: Option<Instant>,
    /// What the remote did.
    pub why: Option<Arc<str>>,
}

impl Standing {
    /// Whether the remote is down as far as we know, not only asking for a pause.
    pub fn is_down(&self) -> bool {
        matches!(self.gate, Gate::Open | Gate::HalfOpen)
    }
}

/// What a person looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauges {
    /// Whether calls go through.
    pub standing: Standing,
    /// What the remote last said of its quota.
    pub quota: Option<Quota>,
    /// How many changes may be under way at once now.
    pub width: u32,
    /// How many at most.
    pub concurrency: u32,
    /// How many are.
    pub in_flight: u32,
}

impl Governor {
    /// The remote's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the remote stands.
    pub fn standing(&self, now: Instant) -> Standing {
        self.lock().standing(now)
    }

    /// All of it.
    pub fn gauges(&self, now: Instant) -> Gauges {
        let state = self.lock();
        Gauges {
            standing: state.standing(now),
            quota: state.pause.quota(now),
            width: state.window.width(),
            concurrency: self.concurrency,
            in_flight: state.taken,
        }
    }
}

impl super::State {
    fn standing(&self, now: Instant) -> Standing {
        if let Some(open) = self.breaker.open() {
            let shut = matches!(self.breaker.way(now), Way::ShutUntil(_));
            return Standing {
                gate: if shut { Gate::Open } else { Gate::HalfOpen },
                since: Some(open.since),
                until: shut.then_some(open.until),
                why: Some(Arc::clone(&open.why)),
            };
        }
        match self.pause.now(now) {
            Some(pause) => Standing {
                gate: Gate::Paused,
                since: Some(pause.since),
                until: Some(pause.until),
                why: Some(Arc::clone(&pause.why)),
            },
            None => Standing { gate: Gate::Ready, since: None, until: None, why: None },
        }
    }
}
