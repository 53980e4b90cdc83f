//! Takes spans and lines, and sends them.

use super::{
    Lines, Settings,
    otlp::{self, Kind},
    queue::Queue,
};
use crate::{
    call_log::Record,
    remote::{Clock, HttpRemote, RemoteError},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

/// What may wait in memory, of each kind.
const LIMIT: usize = 4 << 20;
/// How long a span waits for others to travel with.
const LINGER: Duration = Duration::from_secs(1);
/// The longest wait between two tries while the collector is away.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long what is left may take to go out at a stop.
const FLUSH: Duration = Duration::from_secs(2);

/// The way to the collector. It takes spans and lines at any time; they leave while [`Exporter::run`] does.
#[derive(Clone, Debug)]
pub struct Exporter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    clock: Clock,
    spans: Queue,
    lines: Queue,
}

/// Why something was not taken.
enum Refusal {
    /// Another try may do.
    Passing(String),
    /// It would be refused again.
    Lasting(String),
}

impl Exporter {
    /// Nothing is connected yet.
    pub fn new(settings: Settings, clock: Clock) -> Self {
        Self(Arc::new(Shared { settings, clock, spans: Queue::new(LIMIT), lines: Queue::new(LIMIT) }))
    }

    /// Takes the span of an attempt. What the record must not say was taken out of it.
    pub fn span(&self, record: &Record<'_>) {
        self.0.spans.push(otlp::span(record));
    }

    pub(super) fn line(&self, line: String) {
        self.0.lines.push(line);
    }

    /// What listens to the log, if its lines are sent.
    pub fn lines(&self) -> Option<Lines> {
        self.0.settings.lines.then(|| Lines(self.clone()))
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        (self.0.clock)()
    }

    /// The collector, ready to be called.
    pub fn collector(&self) -> Result<HttpRemote, String> {
        HttpRemote::new("log.otlp", &self.0.settings.remote(), self.0.clock).map_err(|error| match error {
            RemoteError::Url { message, .. } => format!("log.otlp.endpoint: {message}"),
            RemoteError::Wrong { fault, .. } => format!("log.otlp.{fault}"),
            RemoteError::Header { source, .. } => format!("log.otlp.headers: {source}"),
        })
    }

    /// Sends until `stop` becomes true or its sender is gone, and then what is left, within a bound.
    pub async fn run(&self, collector: HttpRemote, stop: watch::Receiver<bool>) {
        let way = |kind, queue| Way { kind, queue, collector: &collector, service: &self.0.settings.service };
        let spans = way(Kind::Spans, &self.0.spans).run(stop.clone());
        let lines = async {
            if self.0.settings.lines {
                way(Kind::Lines, &self.0.lines).run(stop).await;
            }
        };
        tokio::join!(spans, lines);
    }
}

/// The way of one kind.
struct Way<'a> {
    kind: Kind,
    queue: &'a Queue,
    collector: &'a HttpRemote,
    service: &'a str,
}

impl Way<'_> {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut health = Health { kind: self.kind, wait: None, dropping: false };
        loop {
            let round = async {
                match health.wait {
                    Some(wait) => sleep(wait).await,
                    None => tokio::select! {
                        () = self.queue.bell.notified() => {}
                        () = sleep(LINGER) => {}
                    },
                }
                self.send_all(&mut health).await;
            };
            tokio::select! {
                // A stop comes first: what is under way then is sent again.
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = round => {}
            }
        }
        let end = Instant::now() + FLUSH;
        let _ = timeout_at(end, self.send_all(&mut health)).await;
        let left = self.queue.len() as u64 + self.queue.take_dropped();
        if left > 0 {
            tracing::warn!(left, "the last {left} {} were not sent to `log.otlp`", self.kind.name());
        }
    }

    /// Sends what waits, or until something is not taken.
    async fn send_all(&self, health: &mut Health) {
        while let Some(items) = self.queue.batch() {
            match self.send(&items).await {
                Ok(()) => {
                    self.queue.done(true);
                    health.works(self.queue.take_dropped());
                }
                Err(Refusal::Passing(why)) => {
                    let meanwhile = format!("they wait; beyond {} MiB the oldest are dropped", LIMIT >> 20);
                    return health.fails(&why, &meanwhile);
                }
                Err(Refusal::Lasting(why)) => {
                    self.queue.done(false);
                    return health.fails(&why, "what it refuses is dropped");
                }
            }
        }
    }

    async fn send(&self, items: &str) -> Result<(), Refusal> {
        let body = otlp::envelope(self.kind, self.service, items);
        let answer = self.collector.post_json(self.kind.path(), body.into(), None).await;
        let answer = answer.map_err(|error| Refusal::Passing(error.to_string()))?;
        let why = || format!("{} was answered with {}", self.kind.path(), answer.status);
        match answer.status {
            200..300 => Ok(()),
            // As OTLP has it: what it answers otherwise it would answer again.
            408 | 429 | 502..=504 => Err(Refusal::Passing(why())),
            404 if self.kind == Kind::Lines => {
                Err(Refusal::Lasting(format!("{}; `lines: false` sends spans alone", why())))
            }
            _ => Err(Refusal::Lasting(why())),
        }
    }
}

/// Says once that the collector is away, and once that it is back.
struct Health {
    kind: Kind,
    /// Until the next try, while it is away.
    wait: Option<Duration>,
    /// More comes than it takes.
    dropping: bool,
}

impl Health {
    fn fails(&mut self, why: &str, meanwhile: &str) {
        let kind = self.kind.name();
        match &mut self.wait {
            Some(wait) => {
                *wait = (*wait * 2).min(LONGEST_WAIT);
                tracing::debug!(error = why, "{kind} still cannot be sent to `log.otlp`");
            }
            None => {
                self.wait = Some(LINGER);
                tracing::warn!(error = why, "{kind} cannot be sent to `log.otlp`: {meanwhile}");
            }
        }
    }

    fn works(&mut self, dropped: u64) {
        let kind = self.kind.name();
        if self.wait.take().is_some() {
            tracing::info!(dropped, "{kind} are sent to `log.otlp` again; {dropped} were dropped");
        } else if dropped > 0 && !self.dropping {
            tracing::warn!(
                dropped,
                "`log.otlp` takes {kind} more slowly than they come: {dropped} were dropped"
            );
        }
        self.dropping = dropped > 0;
    }
}

#[cfg(test)]
mod tests;
