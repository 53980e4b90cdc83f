//! The engine against a scripted source and remote, a store in memory, and a clock that is paused.

use super::*;
use crate::{
    call_log::MemoryCallLog,
    capture::{Captured, Commit},
    model::{
        Answer, Body, Call, Cell, Change, Column, Image, Link, LinkUpdate, Lsn, Method, Row, RowBuilder,
        Span, Table, TableId, TableName, Type,
    },
    remote::{Breaker, FakeRemote, Governor, Rate, RemoteClient, Retry, RetryPolicy},
    routing::{OnDead, RemoteId, Route},
    state::{MemoryStore, RouteKey, Saved},
    synchronize::{self, Step, Synchronizer},
};
use async_trait::async_trait;
use jiff::Timestamp;
use runs::FakeTable;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, collections::VecDeque, num::NonZeroU32, pin::Pin};
use tokio::sync::watch;

mod aside;
mod batches;
mod clocks;
mod counting;
mod family;
mod fed;
mod flow;
mod halts;
mod heard_of;
mod keep;
mod limits;
mod lines;
mod lives;
mod lives_again;
mod log;
mod order;
mod outage;
mod parking;
mod reading;
mod recovery;
mod replay;
mod runs;
mod store;
mod tokens;
mod unchanged;

/// Yields what it was given, then waits for ever, or ends.
struct Script {
    budget: Budget,
    batches: VecDeque<Vec<Captured>>,
    ends: bool,
    acknowledged: watch::Sender<Lsn>,
}

#[async_trait]
impl ChangeSource for Script {
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError> {
        match self.batches.pop_front() {
            Some(batch) => {
                for captured in &batch {
                    if let Captured::Change(change) = captured {
                        self.budget.charge(change.bytes());
                    }
                }
                Ok(Some(batch))
            }
            None if self.ends => Ok(None),
            None => std::future::pending().await,
        }
    }

    fn acknowledge(&mut self, saved: &Saved) {
        self.acknowledged.send_replace(saved.through());
    }
}

struct NoRows;

#[async_trait]
impl RowReader for NoRows {
    async fn row(&self, _: &TableName, _: &[(String, String)]) -> Result<Option<Row>, SourceError> {
        Ok(None)
    }
    async fn fetch(&self, _: &str, _: &[String]) -> Result<Option<Value>, SourceError> {
        Ok(None)
    }
}

/// `POST /create` and `PATCH /update` with the row's `v`, `DELETE /delete`; two calls for the rows
/// whose `v` starts with `two`, `GET /look` before `POST /create` for `look`.
struct Mirror;

impl Synchronizer for Mirror {
    fn next_step(&self, work: &synchronize::Work<'_>, answers: &[crate::model::Answered]) -> Step {
        let value = |row: &Row| match row.get("v") {
            Some(Cell::Text(text)) => text.to_owned(),
            other => format!("{other:?}"),
        };
        let call = |step: &str, method, body: String| {
            Step::Send(Call {
                step: step.into(),
                method,
                path: format!("/{step}/{}", work.key),
                headers: Vec::new(),
                body: Body::Text(body.into()),
                handles: Vec::new(),
                accept: Vec::new(),
                lookup: None,
            })
        };
        let finish = || Step::Finish(LinkUpdate::Save(Map::from_iter([("id".to_owned(), Value::from(7))])));
        match (&work.change.image, answers.len()) {
            (Image::Delete { .. } | Image::Truncate, 0) => call("delete", Method::Delete, String::new()),
            (Image::Delete { .. } | Image::Truncate, _) => Step::Finish(LinkUpdate::Remove),
            (image, made) => match image.row().map(value) {
                Some(v) if v == "invalid" => {
                    Step::Reject { reason: ParkReason::Invalid, message: "v is invalid".to_owned() }
                }
                Some(v) if v == "panic" => panic!("a bug"),
                Some(v) if v == "look" && made == 0 => call("look", Method::Get, String::new()),
                Some(v) if v == "look" && made == 1 => match call("create", Method::Post, v) {
                    Step::Send(create) => Step::Send(Call { lookup: Some("look".into()), ..create }),
                    other => other,
                },
                Some(v) if made == 0 => match work.link {
                    None => call("create", Method::Post, v),
                    Some(_) => call("update", Method::Patch, v),
                },
                Some(v) if made == 1 && v.starts_with("two") => call("second", Method::Post, v),
                _ => finish(),
            },
        }
    }
}

fn table() -> Arc<Table> {
    let column = |name: &str, identity| Column { name: name.into(), ty: Type::Text, identity };
    let columns = vec![column("id", true), column("v", false), column("big", false)];
    Arc::new(Table { id: TableId(1), name: "public.t".parse().expect("a name"), columns })
}

/// Changes of one table, each transaction's commit at a multiple of 100, its end one behind.
struct Stream {
    table: Arc<Table>,
    batch: Vec<Captured>,
    commit: u64,
    ordinal: u64,
}

impl Stream {
    fn new() -> Self {
        Self { table: table(), batch: Vec::new(), commit: 100, ordinal: 0 }
    }

    fn row(&self, id: &str, v: Cell<'_>, big: Cell<'_>) -> Row {
        let mut row = RowBuilder::default();
        [Cell::Text(id), v, big].into_iter().for_each(|cell| row.push(cell));
        row.finish(Arc::clone(&self.table))
    }

    fn change(mut self, image: Image) -> Self {
        let id = ChangeId { commit: Lsn::new(self.commit), ordinal: self.ordinal };
        self.ordinal += 2;
        let table = Arc::clone(&self.table);
        let change = Change { id, table, image, committed_at: Timestamp::UNIX_EPOCH, transaction: None };
        self.batch.push(Captured::Change(change));
        self
    }

    fn insert(self, id: &str, v: &str) -> Self {
        let new = self.row(id, Cell::Text(v), Cell::Text("big"));
        self.change(Image::Insert { new })
    }

    fn update(self, id: &str, v: &str) -> Self {
        let new = self.row(id, Cell::Text(v), Cell::Unchanged);
        self.change(Image::Update { old: None, new })
    }

    fn delete(self, id: &str) -> Self {
        let old = self.row(id, Cell::Unchanged, Cell::Unchanged);
        self.change(Image::Delete { old })
    }

    /// What capture makes of an update that changes the key.
    fn rename(mut self, from: &str, to: &str, v: &str) -> Self {
        self = self.delete(from);
        self.ordinal -= 1;
        self = self.insert(to, v);
        self.ordinal += 1;
        self
    }

    fn commit(mut self) -> Self {
        let lsn = Lsn::new(self.commit);
        let end = Lsn::new(self.commit + 1);
        self.batch.push(Captured::Commit(Commit { lsn, end, at: Timestamp::UNIX_EPOCH }));
        self.commit += 100;
        self.ordinal = 0;
        self
    }
}

/// One route `t` at one remote, and the ends to watch it by.
struct Rig {
    remote: Arc<FakeRemote>,
    store: Arc<MemoryStore>,
    log: Arc<MemoryCallLog>,
    budget: Budget,
    coalesce: bool,
    governor: Arc<Governor>,
    meter: Arc<crate::metrics::SourceMeter>,
    remote_meter: Arc<crate::metrics::RemoteMeter>,
    attempts: u32,
    sent_before: Lsn,
    nonce: u64,
    on_dead: OnDead,
    guard: WalGuard,
    kept: watch::Sender<Option<KeptLog>>,
    halts: watch::Sender<Vec<Halt>>,
}

impl Rig {
    fn new(remote: FakeRemote) -> Self {
        Self {
            remote: Arc::new(remote),
            store: Arc::default(),
            log: Arc::default(),
            budget: Budget::new(1 << 20),
            coalesce: false,
            governor: governor(8, None),
            meter: Arc::default(),
            remote_meter: Arc::default(),
            attempts: 3,
            sent_before: Lsn::ZERO,
            nonce: 7,
            on_dead: OnDead::Hold,
            guard: WalGuard::default(),
            kept: watch::Sender::new(None),
            halts: watch::Sender::new(Vec::new()),
        }
    }

    fn engine(&self) -> Engine {
        self.engine_with(|_| {}, Arc::new(NoRows))
    }

    fn engine_with(&self, route: impl FnOnce(&mut Route), reader: Arc<dyn RowReader>) -> Engine {
        let mut on = self.route();
        route(&mut on);
        self.engine_of([on], reader)
    }

    fn route(&self) -> Route {
        Route {
            name: "t".into(),
            table: "public.t".parse().expect("a name"),
            key: vec!["id".to_owned()],
            further: Vec::new(),
            parents: Vec::new(),
            waited_for: false,
            deleted_last: false,
            told_to: 0,
            remote: RemoteId(0),
            fetch: None,
            priority: 5,
            coalesce: self.coalesce,
            on_dead: self.on_dead,
            batch: None,
            synchronizer: Arc::new(Mirror),
            write_back: None,
        }
    }

    fn engine_of(&self, routes: impl IntoIterator<Item = Route>, reader: Arc<dyn RowReader>) -> Engine {
        Engine::new(self.parts(routes, reader), Lsn::ZERO)
    }

    fn engine_from(
        &self,
        routes: impl IntoIterator<Item = Route>,
        reader: Arc<dyn RowReader>,
        resume: Lsn,
    ) -> Engine {
        Engine::new(self.parts(routes, reader), resume)
    }

    fn parts(&self, routes: impl IntoIterator<Item = Route>, reader: Arc<dyn RowReader>) -> Parts {
        let retry = Retry {
            attempts: NonZeroU32::new(self.attempts).expect("not zero"),
            base: Span(Duration::from_secs(1)),
            ..Retry::default()
        };
        let remote = Remote {
            name: "fake".into(),
            client: Arc::new(Arc::clone(&self.remote)),
            retry: RetryPolicy::new(&retry),
            governor: Arc::clone(&self.governor),
            meter: Arc::clone(&self.remote_meter),
        };
        let store: Arc<dyn StateStore> = Arc::clone(&self.store) as _;
        Parts {
            router: Router::new(routes),
            remotes: vec![remote],
            store,
            reader,
            budget: self.budget.clone(),
            call_log: Some(Arc::clone(&self.log) as _),
            clock: || Timestamp::UNIX_EPOCH,
            limits: Limits::default(),
            origin: 7,
            sent_before: self.sent_before,
            guard: self.guard.clone(),
            kept: self.kept.subscribe(),
            halts: self.halts.subscribe(),
            chunks: FakeTable::new(&[]).0,
            orders: mpsc::unbounded_channel().1,
            resumed: None,
            replaying: Vec::new(),
            nonce: self.nonce,
            meter: Arc::clone(&self.meter),
        }
    }

    /// Runs the stream to its end and returns how far it was acknowledged.
    async fn run(&self, stream: Stream) -> Lsn {
        let (_go, mut stop) = watch::channel(false);
        let mut source = self.source(stream, true);
        self.engine().run(&mut source, &mut stop).await.expect("it runs");
        *source.acknowledged.borrow()
    }

    fn source(&self, stream: Stream, ends: bool) -> Script {
        let (budget, batches) = (self.budget.clone(), VecDeque::from([stream.batch]));
        Script { budget, batches, ends, acknowledged: watch::Sender::new(Lsn::ZERO) }
    }

    /// `POST /create/1 v`, in the order of arrival.
    fn calls(&self) -> Vec<String> {
        let line = |it: crate::remote::SeenCall| {
            let body = it.call.body.bytes().map(|body| String::from_utf8_lossy(body).into_owned());
            format!("{} {} {}", it.call.method.name(), it.call.path, body.unwrap_or_default())
                .trim_end()
                .to_owned()
        };
        self.remote.seen().into_iter().map(line).collect()
    }

    fn calls_of(&self, key: &str) -> Vec<String> {
        let suffix = format!("/{key}");
        self.calls()
            .into_iter()
            .filter(|it| it.split(' ').nth(1).is_some_and(|p| p.ends_with(&suffix)))
            .collect()
    }

    fn keys(&self) -> Vec<String> {
        self.remote.seen().into_iter().map(|it| it.key.to_string()).collect()
    }

    fn link(&self, key: &str) -> Option<Link> {
        let links: BTreeMap<RouteKey, Link> = self.store.links();
        links.get(&at(key)).cloned()
    }

    fn parked(&self) -> Vec<(String, u64, ParkedState, ParkReason)> {
        let line = |(at, id, parked): (RouteKey, ChangeId, Parked)| {
            (at.key.to_string(), id.commit.raw(), parked.state, parked.reason)
        };
        self.store.parked().into_iter().map(line).collect()
    }
}

fn governor(concurrency: u32, rate: Option<Rate>) -> Arc<Governor> {
    Governor::new("fake", concurrency, rate.as_ref(), &Breaker::default())
}

/// Lets the engine run until something has happened; it does not end by itself before that.
async fn meanwhile<T>(run: Pin<&mut impl Future<Output = T>>, happened: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        _ = run => panic!("it ended too early"),
        () = happened => {}
    }
}

fn at(key: &str) -> RouteKey {
    RouteKey { route: "t".into(), key: key.into() }
}

fn id(commit: u64) -> ChangeId {
    ChangeId { commit: Lsn::new(commit), ordinal: 0 }
}

fn status(status: u16) -> Result<Answer, crate::remote::CallError> {
    Ok(Answer { status, ..Answer::default() })
}
