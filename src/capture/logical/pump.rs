//! The thread that owns the socket: frames in, batches out, and the server kept content whatever
//! the engine does.

use super::{
    assemble::{Assembler, Batch, Described},
    cursor::{Cursor, DecodeError},
    link::{Acknowledged, Link},
    refusal,
    wire::{Wire, server_error},
};
use crate::{
    capture::{
        Budget, Captured, SourceError,
        catalog::{self, Types},
    },
    metrics::Pulse,
    model::{Column, Lsn, Table},
    postgres::{self, Target},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// A batch is handed over when it is this large, or when there is nothing more to read.
const BATCH_ITEMS: usize = 512;
const BATCH_BYTES: usize = 64 << 10;
/// A server that asks for an answer may be waiting for us to let it stop.
const URGENT: Duration = Duration::from_millis(100);

/// What is handed to the engine. Unless it is taken, its charge is given back.
#[derive(Debug)]
pub(super) struct Delivery {
    items: Vec<Captured>,
    bytes: usize,
    budget: Budget,
}

impl Delivery {
    /// From here on whoever settles the changes frees them.
    pub(super) fn take(mut self) -> Vec<Captured> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

pub(super) type Delivered = Result<Delivery, SourceError>;

/// Everything the task needs besides the wire.
pub(super) struct Pump {
    pub(super) target: Target,
    pub(super) names: refusal::Names,
    pub(super) assembler: Assembler,
    pub(super) budget: Budget,
    pub(super) heartbeat: Duration,
    pub(super) out: mpsc::Sender<Delivered>,
    pub(super) acknowledged: Arc<Acknowledged>,
    pub(super) pulse: Arc<Pulse>,
    /// The server's `wal_sender_timeout`.
    pub(super) server_limit: Option<Duration>,
}

/// Why the pump stopped.
enum Stop {
    /// Nobody listens any more.
    Closed,
    Failed(SourceError),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        let doing = "reading the replication stream".to_owned();
        Self::Failed(SourceError::Connection { doing, message: error.to_string() })
    }
}

impl From<DecodeError> for Stop {
    fn from(error: DecodeError) -> Self {
        Self::Failed(SourceError::Final(format!("the replication stream cannot be read: {error}")))
    }
}

/// What the buffered frames left to do.
enum Left {
    /// Read more.
    Nothing,
    /// The batch is full.
    More,
    /// The catalog has to be asked before the next frame.
    Catalog(Described),
}

/// The server waits for changes to be settled before it stops, however long the remote takes.
fn gives_way() -> SourceError {
    SourceError::Connection {
        doing: "streaming changes".to_owned(),
        message: "the server is stopping; changes that are not settled yet will be read again".to_owned(),
    }
}

struct Running<'a> {
    pump: Pump,
    link: Link<'a>,
    batch: Batch,
    types: Types,
    /// When a position without changes may be passed on again.
    idle_at: Instant,
    /// The end of the last thing handed over.
    handed: Lsn,
    /// How far the server has read its log.
    server: u64,
    /// It has come on since that was last told.
    moved: bool,
}

impl Pump {
    /// Streams until the receiver is gone or the stream fails.
    pub(super) async fn run(self, wire: Wire) {
        let acknowledged = self.acknowledged.clone();
        let link = Link::new(wire, &acknowledged, self.server_limit);
        let idle_at = Instant::now() + self.heartbeat;
        let (batch, types) = (Batch::default(), Types::default());
        let mut running =
            Running { pump: self, link, batch, types, idle_at, handed: Lsn::ZERO, server: 0, moved: false };
        let Err(stop) = running.stream().await;
        match stop {
            Stop::Closed => running.link.farewell().await,
            // If nobody listens any more, nobody needs to know.
            Stop::Failed(error) => drop(running.pump.out.send(Err(error)).await),
        }
    }
}

impl Running<'_> {
    async fn stream(&mut self) -> Result<std::convert::Infallible, Stop> {
        loop {
            let left = self.take_frames()?;
            if std::mem::take(&mut self.moved) {
                self.pump.pulse.moves(Instant::now());
            }
            match left {
                Left::More => self.hand_over().await?,
                Left::Catalog(described) => self.look_up(described).await?,
                Left::Nothing => {
                    self.add_idle();
                    self.hand_over().await?;
                    self.wait().await?;
                }
            }
        }
    }

    /// Works through what has been read already.
    fn take_frames(&mut self) -> Result<Left, Stop> {
        while let Some(frame) = self.link.frame()? {
            match frame.tag {
                b'd' => match frame.body.split_first() {
                    // Start, end and the server's clock come before the message itself.
                    Some((b'w', rest)) => {
                        self.moved = true;
                        let message = rest.get(24..).ok_or(DecodeError("a frame is too short"))?;
                        if let Some(described) = self.pump.assembler.apply(message, &mut self.batch)?
                            && let Some(left) = self.describe(described)
                        {
                            return Ok(left);
                        }
                    }
                    Some((b'k', rest)) => {
                        let mut cursor = Cursor::new(rest);
                        let (end, _, answer) = (cursor.u64()?, cursor.u64()?, cursor.u8()?);
                        self.moved |= end > self.server;
                        self.server = self.server.max(end);
                        self.pump.assembler.pass(Lsn::new(end));
                        if answer == 1 {
                            self.idle_at = self.idle_at.min(Instant::now() + URGENT);
                            if !self.link.answer() {
                                return Err(gives_way().into());
                            }
                        }
                    }
                    _ => return Err(DecodeError("a frame is of an unknown kind").into()),
                },
                b'E' => {
                    let error = server_error(frame.body);
                    return Err(refusal::of(&error, &self.pump.names).into());
                }
                b'N' => {
                    let notice = server_error(frame.body);
                    tracing::warn!(%notice, "the server sends a notice with the replication stream");
                    if let Some(error) = refusal::of_notice(&notice, &self.pump.names) {
                        return Err(error.into());
                    }
                }
                b'c' | b'C' | b'Z' => {
                    let message = "the server ended the stream".to_owned();
                    let doing = "reading the replication stream".to_owned();
                    return Err(SourceError::Connection { doing, message }.into());
                }
                _ => {}
            }
            if self.batch.items.len() >= BATCH_ITEMS || self.batch.bytes >= BATCH_BYTES {
                return Ok(Left::More);
            }
        }
        Ok(Left::Nothing)
    }

    /// Takes a table's description in, unless it needs the catalog.
    fn describe(&mut self, described: Described) -> Option<Left> {
        let oids = described.columns.iter().map(|(_, oid, _)| *oid);
        if described.changed {
            self.types.forget();
        }
        if !described.keyed || !self.types.know(oids) {
            return Some(Left::Catalog(described));
        }
        self.know(described, &[]);
        None
    }

    fn know(&mut self, described: Described, key: &[String]) {
        let Described { id, name, keyed, columns, .. } = described;
        let column = |(name, oid, identity): (Arc<str>, u32, bool)| {
            let identity = if keyed { identity } else { key.iter().any(|it| **it == *name) };
            Column { name, ty: self.types.get(oid), identity }
        };
        let columns = columns.into_iter().map(column).collect();
        self.pump.assembler.know(Table { id, name, columns });
    }

    async fn look_up(&mut self, described: Described) -> Result<(), Stop> {
        let oids: Vec<u32> = described.columns.iter().map(|(_, oid, _)| *oid).collect();
        let asked = async {
            let client = postgres::connect(&self.pump.target).await.map_err(|error| error.to_string())?;
            let explained = |error| postgres::explain(&error);
            self.types.read(&client, &oids).await.map_err(explained)?;
            if described.keyed {
                return Ok(Vec::new());
            }
            catalog::primary_key(&client, described.id).await.map_err(explained)
        };
        let key = tokio::select! {
            key = self.link.meanwhile(asked) => key?,
            () = self.pump.out.closed() => return Err(Stop::Closed),
        };
        let key = key.map_err(|message: String| {
            let doing = format!("reading the description of table {}", described.name);
            SourceError::Connection { doing, message }
        })?;
        self.know(described, &key);
        Ok(())
    }

    /// Lets the slot move while nothing concerns us.
    fn add_idle(&mut self) {
        if Instant::now() >= self.idle_at
            && let Some(position) = self.pump.assembler.take_idle()
        {
            self.idle_at = Instant::now() + self.pump.heartbeat;
            if position > self.handed {
                self.batch.items.push(Captured::Idle(position));
            }
        }
    }

    /// Charges the batch and hands it over, as soon as there is room (invariant 5).
    async fn hand_over(&mut self) -> Result<(), Stop> {
        if self.batch.items.is_empty() {
            return Ok(());
        }
        let Pump { budget, out, .. } = &self.pump;
        let room = async {
            let permit = out.reserve().await;
            // Even a full budget is worth no wait once nobody listens.
            tokio::select! {
                () = budget.room() => permit,
                () = out.closed() => Err(mpsc::error::SendError(())),
            }
        };
        let pulse = Arc::clone(&self.pump.pulse);
        let waits = out.capacity() == 0 || !budget.has_room();
        if waits {
            pulse.holds(true, Instant::now());
        }
        let permit = self.link.meanwhile(room).await?.map_err(|_| Stop::Closed)?;
        if waits {
            pulse.holds(false, Instant::now());
        }
        let length = self.batch.items.len().max(16);
        let batch = std::mem::take(&mut self.batch);
        self.batch.items.reserve(length);
        match batch.items.last() {
            Some(Captured::Commit(commit)) => self.handed = commit.end,
            Some(Captured::Idle(position)) => self.handed = *position,
            _ => {}
        }
        budget.charge(batch.bytes);
        permit.send(Ok(Delivery { items: batch.items, bytes: batch.bytes, budget: budget.clone() }));
        Ok(())
    }

    /// Waits for more to read, for the time of the next idle position, or for the end.
    async fn wait(&mut self) -> Result<(), Stop> {
        let idle = self.pump.assembler.is_idle();
        tokio::select! {
            // The end first: after it nothing else matters. Then reading, which looks after the
            // server's deadlines itself.
            biased;
            () = self.pump.out.closed() => return Err(Stop::Closed),
            read = self.link.fill() => read?,
            () = sleep_until(self.idle_at), if idle => {}
        }
        Ok(())
    }
}
