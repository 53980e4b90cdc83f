//! The server's side of the stream: reading it, and telling it in time how far we are.

use super::wire::{Frame, Wire};
use crate::model::Lsn;
use bytes::BufMut;
use postgres_protocol::message::frontend;
use std::{
    future::Future,
    io,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};

/// How far everything is settled: written by whoever acknowledges, read by the link.
#[derive(Debug)]
pub(super) struct Acknowledged {
    position: AtomicU64,
    moved: Notify,
}

impl Acknowledged {
    pub(super) fn new(start: Lsn) -> Self {
        Self { position: AtomicU64::new(start.raw()), moved: Notify::new() }
    }

    pub(super) fn advance(&self, to: Lsn) {
        if self.position.fetch_max(to.raw(), Ordering::AcqRel) < to.raw() {
            self.moved.notify_one();
        }
    }

    pub(super) fn position(&self) -> Lsn {
        Lsn::new(self.position.load(Ordering::Acquire))
    }
}

/// An acknowledged position waits at most this long before the server hears of it.
const PROMPT: Duration = Duration::from_secs(1);
/// Without anything to say, the server hears from us this often, or three times within its limit.
const OFTEN: Duration = Duration::from_secs(5);
/// Whether we outrun the server is judged anew this often.
const WINDOW: Duration = Duration::from_millis(10);
/// That many reads in a window: we take small bites.
const BITES: u32 = 8;
/// That many bytes in a window: there is enough to wait for.
const PLENTY: usize = 16 << 10;
/// Long enough for some fifty rows to gather. A unix socket holds fewer than three hundred of them,
/// and a server that finds it full stops and waits.
const REST: Duration = Duration::from_micros(200);
/// A server that asks again this soon behind an answer is stopping.
const PRESSING: Duration = Duration::from_millis(200);
/// How many such questions, one a tick, are answered before we give way.
const PATIENCE: u32 = 5;
/// How long an orderly goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// The streaming connection.
#[derive(Debug)]
pub(super) struct Link<'a> {
    wire: Wire,
    acknowledged: &'a Acknowledged,
    ticker: Interval,
    often: Duration,
    told: Option<(Lsn, Instant)>,
    /// The server wants to hear from us now.
    asked: bool,
    /// It wants to hear from us at the next tick.
    owed: bool,
    /// How often in a row it asked right behind an answer.
    pressed: u32,
    /// It asked, and has not been told of anything new since.
    waited_for: bool,
    pace: Pace,
}

/// Whether to rest before a read, so that it finds more.
#[derive(Debug)]
struct Pace {
    since: Instant,
    reads: u32,
    bytes: usize,
    rest: bool,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), reads: 0, bytes: 0, rest: false }
    }

    fn count(&mut self, bytes: usize) {
        self.reads += 1;
        self.bytes += bytes;
        if self.since.elapsed() >= WINDOW {
            // Resting makes the bites few and large, so from then on only the amount counts.
            let rest = self.bytes >= PLENTY && (self.rest || self.reads >= BITES);
            *self = Self { rest, ..Self::new() };
        }
    }
}

impl<'a> Link<'a> {
    /// `server_limit`: the server's `wal_sender_timeout`, if it has one.
    pub(super) fn new(wire: Wire, acknowledged: &'a Acknowledged, server_limit: Option<Duration>) -> Self {
        let often = server_limit.map_or(OFTEN, |limit| OFTEN.min(limit / 3)).max(Duration::from_millis(10));
        let mut ticker = interval(often.min(PROMPT));
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            wire,
            acknowledged,
            ticker,
            often,
            told: None,
            asked: false,
            owed: false,
            pressed: 0,
            waited_for: false,
            pace: Pace::new(),
        }
    }

    /// Waits for `work` and keeps the server content meanwhile, however long that takes.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        tokio::pin!(work);
        loop {
            self.tell_if_asked().await?;
            tokio::select! {
                // The work first: a due tick is only late by as long as the work is ready.
                biased;
                done = &mut work => return Ok(done),
                _ = self.ticker.tick() => self.tell_if_due().await?,
                () = self.acknowledged.moved.notified(), if self.waited_for => self.asked = true,
            }
        }
    }

    /// Reads once. Cancel safe.
    ///
    /// While we outrun the server, small reads are made fewer and larger by a short rest: the
    /// server would otherwise be woken for each of them.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        if self.pace.rest {
            // The thread is ours alone (`source.rs`). A timer would rest for up to two milliseconds
            // and be woken by every write of the server.
            thread::sleep(REST);
        }
        let count = loop {
            self.tell_if_asked().await?;
            tokio::select! {
                // Due ticks first: a busy stream must not keep the server from hearing of us.
                biased;
                _ = self.ticker.tick() => self.tell_if_due().await?,
                () = self.acknowledged.moved.notified(), if self.waited_for => self.asked = true,
                count = self.wire.fill() => break count?,
            }
        };
        self.pace.count(count);
        Ok(())
    }

    pub(super) fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.wire.frame()
    }

    /// The server asks how far we are: it is told before the next wait, and again as soon as that
    /// changes, because it may be waiting for us to let it stop.
    ///
    /// A server that stops asks again at every answer, until all it sent is settled: the answers
    /// then wait for the ticker. `false` once that has gone on for too long: whoever holds up a
    /// stopping server should leave and read the rest again.
    pub(super) fn answer(&mut self) -> bool {
        let pressing = self.told.is_some_and(|(_, at)| at.elapsed() < PRESSING);
        self.pressed = if pressing { self.pressed + 1 } else { 0 };
        self.asked = !pressing;
        self.owed = pressing;
        self.waited_for = true;
        self.pressed <= PATIENCE
    }

    async fn tell_if_asked(&mut self) -> io::Result<()> {
        if self.asked { self.tell().await } else { Ok(()) }
    }

    async fn tell_if_due(&mut self) -> io::Result<()> {
        let position = self.acknowledged.position();
        match self.told {
            Some((told, at)) if !self.owed && told == position && at.elapsed() < self.often => Ok(()),
            _ => self.tell().await,
        }
    }

    /// Sends how far we are: written, flushed and applied are the one thing we promise, settled.
    pub(super) async fn tell(&mut self) -> io::Result<()> {
        let position = self.acknowledged.position();
        self.wire
            .send(|out| {
                let mut status = Vec::with_capacity(34);
                status.put_u8(b'r');
                status.put_u64(position.raw());
                status.put_u64(position.raw());
                status.put_u64(position.raw());
                // The server only shows our clock; it decides nothing by it.
                status.put_i64(0);
                // It is to answer how far it has read: from silence alone nobody could tell whether it
                // works through its log or is gone.
                status.put_u8(1);
                frontend::CopyData::new(status.as_slice())?.write(out);
                Ok(())
            })
            .await?;
        self.waited_for &= self.told.is_none_or(|(told, _)| told == position);
        (self.asked, self.owed) = (false, false);
        self.told = Some((position, Instant::now()));
        Ok(())
    }

    /// The final status, then the end of the copy, then whatever the server still had under way.
    pub(super) async fn farewell(mut self) {
        let orderly = async {
            self.tell().await?;
            self.wire
                .send(|out| {
                    frontend::copy_done(out);
                    Ok(())
                })
                .await?;
            while self.wire.next().await?.tag != b'Z' {}
            self.wire.terminate().await
        };
        match timeout(FAREWELL, orderly).await {
            Ok(Ok(())) => tracing::debug!("the replication stream ended in order"),
            Ok(Err(error)) => tracing::debug!(%error, "the server did not take the end of the stream"),
            Err(_) => tracing::debug!("the server was still sending; closed without its answer"),
        }
    }
}
