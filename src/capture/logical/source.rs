use super::{
    assemble::{Assembler, Routed},
    link::Acknowledged,
    login::Session,
    pump::{Delivered, Pump},
    refusal::{self, Names},
    server::{Identity, broken, log_in},
    wire::{Wire, server_error},
};
use crate::{
    capture::{Budget, Captured, ChangeSource, SourceError},
    metrics::Pulse,
    model::Lsn,
    postgres::{Failure, Target},
    state::Saved,
};
use async_trait::async_trait;
use postgres_protocol::message::frontend;
use std::{convert::Infallible, io, sync::Arc, thread, time::Duration};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

/// How many batches may wait for the engine.
const QUEUE: usize = 8;

/// What to stream.
pub struct Options {
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// Everything that ends at or before this is settled; zero starts where the slot stands.
    pub start: Lsn,
    /// What the server may be told to be settled; no further than `start`.
    pub acknowledged: Lsn,
    /// Which tables are wanted.
    pub routed: Routed,
    /// The replication origin of our own writes, which are left out.
    pub origin: String,
    /// Charged with every change.
    pub budget: Budget,
    /// How often a position without changes is passed on.
    pub heartbeat: Duration,
    /// Felt by whoever watches over the stream.
    pub pulse: Arc<Pulse>,
}

/// The live stream of a replication slot.
#[derive(Debug)]
pub struct LogicalSource {
    batches: mpsc::Receiver<Delivered>,
    acknowledged: Arc<Acknowledged>,
    identity: Identity,
    /// Ends with the thread. Without a source it notices that nobody listens, says goodbye to the
    /// server, and ends by itself.
    ended: mpsc::Receiver<Infallible>,
}

type Opened = (mpsc::Receiver<Delivered>, Arc<Acknowledged>, Identity);

impl LogicalSource {
    /// Connects, checks server, slot and publication, and starts to stream.
    pub async fn open(target: &Target, options: Options) -> Result<Self, SourceError> {
        let (mut opened, opening) = oneshot::channel();
        let (ending, ended) = mpsc::channel(1);
        let target = target.clone();
        let failed = |error: io::Error| broken("starting the capture thread", &Failure::Broken(error));
        // A runtime of its own, so that the server's deadlines are kept however busy the others
        // are, and so that the pump may rest without anyone being woken by what arrives meanwhile.
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let stream = async move {
            let begun = tokio::select! {
                begun = begin(target, options) => begun,
                () = opened.closed() => return,
            };
            match begun {
                Ok((pump, wire, source)) => {
                    // If nobody waits for it any more, the pump notices.
                    let _ = opened.send(Ok(source));
                    pump.run(wire).await;
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        let run = move || {
            runtime.block_on(stream);
            drop(ending);
        };
        thread::Builder::new().name("capture".to_owned()).spawn(run).map_err(failed)?;
        let gone = || failed(io::Error::other("it ended at once"));
        let (batches, acknowledged, identity) = opening.await.map_err(|_| gone())??;
        Ok(Self { batches, acknowledged, identity, ended })
    }

    /// Who the server is that this streams from.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[async_trait]
impl ChangeSource for LogicalSource {
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError> {
        match self.batches.recv().await {
            Some(delivered) => delivered.map(|delivery| Some(delivery.take())),
            // The stream never ends by itself: the error that ended it has been given, or its
            // task is gone.
            None => Err(SourceError::Connection {
                doing: "reading the replication stream".to_owned(),
                message: "it has ended".to_owned(),
            }),
        }
    }

    fn acknowledge(&mut self, saved: &Saved) {
        self.acknowledged.advance(saved.through());
    }

    async fn close(&mut self) {
        self.batches.close();
        while self.batches.recv().await.is_some() {}
        let None = self.ended.recv().await; // Nothing is ever sent: it ends with the thread.
    }
}

async fn begin(target: Target, options: Options) -> Result<(Pump, Wire, Opened), SourceError> {
    let (mut session, identity) = log_in(&target).await?;
    let names = Names { slot: options.slot, publication: options.publication };
    check(&mut session, &names, &target, options.start).await?;
    let server_limit = sender_timeout(&mut session).await?;
    let wire = start(session, &names, options.start).await?;
    let acknowledged = Arc::new(Acknowledged::new(options.acknowledged));
    let (out, batches) = mpsc::channel(QUEUE);
    let pump = Pump {
        target,
        names,
        assembler: Assembler::new(options.routed, options.origin),
        budget: options.budget,
        heartbeat: options.heartbeat,
        out,
        acknowledged: acknowledged.clone(),
        pulse: options.pulse,
        server_limit,
    };
    Ok((pump, wire, (batches, acknowledged, identity)))
}

/// Looks at the slot and the publication, for messages better than the server's.
async fn check(session: &mut Session, names: &Names, target: &Target, start: Lsn) -> Result<(), SourceError> {
    let Names { slot, publication } = names;
    let query = format!(
        "select coalesce(plugin::text, ''), coalesce(database::text, ''), coalesce(wal_status, ''), \
         coalesce(confirmed_flush_lsn, '0/0')::text from pg_catalog.pg_replication_slots where slot_name = {}",
        literal(slot)
    );
    let rows = session.query(&query).await.map_err(|failure| refused(&failure, names))?;
    let Some([Some(plugin), Some(database), Some(status), Some(confirmed)]) = rows.first().map(Vec::as_slice)
    else {
        return Err(refusal::missing_slot(slot));
    };
    if plugin != "pgoutput" {
        let kind = if plugin.is_empty() { "a physical one".to_owned() } else { format!("of `{plugin}`") };
        return Err(SourceError::Final(format!(
            "replication slot `{slot}` is {kind}, and Rowcall reads `pgoutput`: name another slot"
        )));
    }
    if *database != target.database {
        return Err(SourceError::Final(format!(
            "replication slot `{slot}` belongs to database `{database}`, not `{}`: slots are shared by all databases of a \
             server, so name another",
            target.database
        )));
    }
    if status == "lost" {
        let (lost, anew) = (refusal::lost_slot(slot), refusal::SLOT_ANEW);
        return Err(SourceError::Final(format!("{lost}: {anew}")));
    }
    let confirmed: Lsn = confirmed.parse().unwrap_or_default();
    if start != Lsn::ZERO && confirmed > start {
        return Err(SourceError::Final(format!(
            "replication slot `{slot}` has moved on to {confirmed}, past the checkpoint at {start}: the state was restored \
             from an older copy, or someone else read from the slot, and the changes between are not in the stream any \
             more: run `rowcall init --rebind`, which goes on from there, and bring over what changed in between yourself"
        )));
    }
    let query = format!("select 1 from pg_catalog.pg_publication where pubname = {}", literal(publication));
    let found = session.query(&query).await.map_err(|failure| refused(&failure, names))?;
    if found.is_empty() { Err(refusal::missing_publication(publication)) } else { Ok(()) }
}

/// How long the server waits for a sign of life.
async fn sender_timeout(session: &mut Session) -> Result<Option<Duration>, SourceError> {
    let query = "select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'";
    let rows =
        session.query(query).await.map_err(|failure| broken("asking for wal_sender_timeout", &failure))?;
    let millis = rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok()).unwrap_or(0);
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

async fn start(mut session: Session, names: &Names, start: Lsn) -> Result<Wire, SourceError> {
    let publications = literal(&identifier(&names.publication));
    let command = format!(
        "START_REPLICATION SLOT {} LOGICAL {start} (proto_version '1', publication_names {publications}, messages 'true')",
        identifier(&names.slot),
    );
    let failed = |error: std::io::Error| broken("starting the replication stream", &Failure::Broken(error));
    session.wire.send(|out| frontend::query(&command, out)).await.map_err(failed)?;
    loop {
        let frame = session.wire.next().await.map_err(failed)?;
        match frame.tag {
            b'W' => return Ok(session.wire),
            b'E' => return Err(refusal::of(&server_error(frame.body), names)),
            _ => {}
        }
    }
}

fn refused(failure: &Failure, names: &Names) -> SourceError {
    match failure {
        Failure::Server(error) => refusal::of(error, names),
        failure => broken("looking at the replication slot", failure),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
