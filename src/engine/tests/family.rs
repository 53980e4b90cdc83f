//! Parents before children, and children deleted before parents, against a remote that refuses
//! anything else.

use super::*;
use crate::{
    mapping::{At, Expression, Names},
    routing::Parent,
    synchronize::{Classes, Declaration, Sequences},
};
use futures_util::FutureExt;
use serde_json::json;
use std::{collections::BTreeSet, sync::Mutex};

mod doubts;
mod held;
mod histories;
mod lives;
mod moves;
mod office;
mod order;
mod replays;

use held::Held;

struct Family {
    held: Arc<Mutex<Held>>,
    rig: Rig,
    depends_on: &'static [(&'static str, &'static str)],
    when: Option<&'static str>,
    /// Something is read before a change is sent.
    fetches: bool,
    /// The remote draws the ids of loans, which take two calls.
    drawn: bool,
    /// How long the source takes for each transaction; all come at once if for none.
    pace: Duration,
}

/// The row's own columns: `id`, `customer`, `above`, `v`.
fn of(table: &str, id: u32) -> Arc<Table> {
    let column = |name: &str| Column { name: name.into(), ty: Type::Text, identity: name == "id" };
    let columns = ["id", "customer", "above", "v"].map(column).into();
    Arc::new(Table { id: TableId(id), name: format!("public.{table}").parse().expect("a name"), columns })
}

const ROUTES: &[&str] = &["customer", "loan", "tree"];

impl Family {
    fn new() -> Self {
        Self::with(FakeRemote::answering)
    }

    fn with(
        remote: impl FnOnce(Box<dyn Fn(&Call, &crate::model::CallKey) -> Reply + Send + Sync>) -> FakeRemote,
    ) -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let its = Arc::clone(&held);
        let answer = move |call: &Call, _: &crate::model::CallKey| {
            let status = its.lock().expect("whole").answer(call);
            let body = json!({ "id": format!("remote-{}", call.path) }).to_string();
            Ok(Answer { status, headers: [].into(), body: body.into() })
        };
        let rig = Rig::new(remote(Box::new(answer)));
        let depends_on = &[("loan", "{{ row.customer }}"), ("tree", "{{ row.above }}")];
        Self { held, rig, depends_on, when: None, fetches: false, drawn: false, pace: Duration::ZERO }
    }

    fn route(&self, at: usize) -> Route {
        let name = ROUTES[at];
        let columns: Arc<[Arc<str>]> = of(name, 0).columns.iter().map(|it| Arc::clone(&it.name)).collect();
        let of_its_own_key = json!({
            "upsert": [{
                "put": format!("/{name}/{{{{ key }}}}"),
                "body": { "customer": "{{ row.customer }}", "above": "{{ row.above }}", "v": "{{ row.v }}",
                          "parent": if name == "loan" { "{{ parent.?customer }}" } else { "" } },
                "save": { "remote_id": "{{ answer.body.id }}" },
            }],
            "delete": [{ "delete": format!("/{name}/{{{{ key }}}}") }],
        });
        let drawn = json!({
            "upsert": [
                { "name": "create", "if": "{{ !has(link.drawn) }}", "post": "/loan",
                  "body": { "ref": "{{ key }}", "customer": "{{ row.customer }}", "v": "{{ row.v }}" },
                  "save": { "drawn": "{{ answer.body.id }}" } },
                { "name": "update", "if": "{{ has(link.drawn) }}", "patch": "/loan/{{ link.drawn }}",
                  "body": { "ref": "{{ key }}", "customer": "{{ row.customer }}", "v": "{{ row.v }}" },
                  "on": { "404": "create" } },
                { "name": "second", "post": "/loan/{{ saved.?drawn.orValue(link.?drawn.orValue('')) }}/second",
                  "body": { "v": "{{ row.v }}" } },
            ],
            "delete": [{ "delete": "/loan/{{ link.drawn }}", "if": "{{ has(link.drawn) }}" }],
        });
        let sequences = if self.drawn && name == "loan" { drawn } else { of_its_own_key };
        let sequences: Sequences = serde_json::from_value(sequences).expect("sequences");
        let parent_names = crate::mapping::ParentNames { entity: "customer".into(), saved: None };
        let declaration = Declaration {
            entity: name,
            sequences: &sequences,
            settings: &Value::Null,
            when: self.when.filter(|_| name == "loan"),
            validate: &[],
            rules: &[],
            always: false,
            at: At::default(),
            columns: Some(Arc::clone(&columns)),
            batched: false,
            fetched: false,
            parents: if name == "loan" { [parent_names].into() } else { [].into() },
        };
        let names = Names { columns: Some(columns), ..Names::default() };
        let parent = |(_, key): &(&str, &str)| {
            let (entity, route) = if name == "loan" { ("customer", 0) } else { (name, at) };
            let key = Arc::new(Expression::parse(key, &At::default(), &names).expect("an expression"));
            Parent {
                entity: entity.into(),
                route: crate::routing::RouteId(route as u16),
                key,
                at: At::default(),
            }
        };
        Route {
            name: name.into(),
            table: format!("public.{name}").parse().expect("a name"),
            key: vec!["id".to_owned()],
            further: Vec::new(),
            parents: self.depends_on.iter().filter(|(entity, _)| *entity == name).map(parent).collect(),
            waited_for: false,
            deleted_last: false,
            told_to: 0,
            remote: RemoteId(0),
            priority: 5,
            fetch: self.fetches.then(|| crate::routing::Fetch::Sql("select".to_owned())),
            batch: None,
            coalesce: self.rig.coalesce,
            on_dead: crate::routing::OnDead::Hold,
            synchronizer: Classes::standard().build(None, &declaration).expect("a synchronizer"),
            write_back: None,
        }
    }

    fn engine(&self) -> Engine {
        self.rig.engine_from((0..ROUTES.len()).map(|at| self.route(at)), Arc::new(NoRows), self.resume())
    }

    /// Where the source goes on.
    fn resume(&self) -> Lsn {
        let checkpoint = self.rig.store.checkpoint().now_or_never().expect("at once").expect("an answer");
        checkpoint.map_or(Lsn::ZERO, |it| it.lsn)
    }

    fn source(&self, batch: &[Captured]) -> Paced {
        let mut script = self.rig.source(Stream { batch: batch.to_vec(), ..Stream::new() }, false);
        if !self.pace.is_zero() {
            let transactions = batch.split_inclusive(|it| matches!(it, Captured::Commit(_)));
            script.batches = transactions.map(<[Captured]>::to_vec).collect();
        }
        Paced { script, pace: self.pace, next: Instant::now() + self.pace }
    }

    /// Runs until the stream is settled and nothing is left to be done by itself.
    async fn run(&self, stream: Rows) {
        let ends = stream.batch.iter().filter_map(|it| match it {
            Captured::Commit(commit) => Some(commit.end),
            _ => None,
        });
        let end = ends.max().unwrap_or_default();
        let (go, mut stop) = watch::channel(false);
        let mut source = self.source(&stream.batch);
        let acknowledged = source.script.acknowledged.subscribe();
        let mut quiet = 0;
        {
            let run = self.engine().run(&mut source, &mut stop);
            tokio::pin!(run);
            meanwhile(run.as_mut(), async {
                // The engine looks once a second; the clock runs as fast as it may.
                let began = Instant::now();
                while quiet < 30 {
                    let acknowledged = *acknowledged.borrow();
                    let long = began.elapsed() > Duration::from_secs(1_000);
                    assert!(!long, "it never ends: {acknowledged} of {end}, {:?}", self.parked());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let due = self.parked().iter().any(|it| it.contains("retrying"));
                    quiet = if due || acknowledged < end { 0 } else { quiet + 1 };
                }
            })
            .await;
            go.send_replace(true);
            run.await.expect("it runs");
        }
        assert_eq!(self.rig.budget.used(), 0, "everything is freed");
    }

    /// Runs until so many more calls have arrived, or nothing happens any more, and drops everything
    /// in the middle. What was settled does not come again.
    /// `written`: so much of the rows is there by then.
    async fn run_until_killed(&mut self, rows: &mut Rows, calls: usize, written: Lsn) {
        let calls = self.rig.remote.seen().len() + calls;
        let (_go, mut stop) = watch::channel(false);
        let there = rows.batch.iter().filter(|it| match it {
            Captured::Change(change) => change.id.commit < written,
            Captured::Commit(commit) => commit.lsn < written,
            Captured::Idle(_) | Captured::Mark(_) => true,
        });
        let mut source = self.source(&there.cloned().collect::<Vec<_>>());
        {
            let run = self.engine().run(&mut source, &mut stop);
            tokio::pin!(run);
            let patience = tokio::time::sleep(Duration::from_secs(20));
            meanwhile(run.as_mut(), async {
                tokio::select! {
                    () = self.rig.remote.arrived(calls) => {}
                    () = patience => {}
                }
            })
            .await;
        }
        let settled = self.resume();
        rows.batch.retain(|it| match it {
            Captured::Change(change) => change.id.commit >= settled,
            Captured::Commit(commit) => commit.end > settled,
            Captured::Idle(_) | Captured::Mark(_) => true,
        });
        self.rig.sent_before = written;
        self.rig.budget = Budget::new(1 << 20);
    }

    /// What an outage leaves behind: all of it is parked, and nothing was sent.
    async fn put_aside(&self, rows: Rows) {
        let mut parkings: Vec<crate::state::Parking> = Vec::new();
        for captured in rows.batch {
            let Captured::Change(change) = captured else { continue };
            let row = change.image.row().or(match &change.image {
                Image::Delete { old } => Some(old),
                _ => None,
            });
            let Some(Cell::Text(key)) = row.and_then(|row| row.get("id")) else { panic!("no key") };
            let at = RouteKey { route: ROUTES[change.table.id.0 as usize - 1].into(), key: key.into() };
            let behind = parkings.iter().any(|it| it.at == at);
            let parked = Parked {
                state: if behind { ParkedState::Queued } else { ParkedState::Retrying },
                reason: ParkReason::Outage,
                message: String::new(),
                answers: Vec::new(),
                attempts: 0,
                requests: 0,
                called: change.id,
                wait: Duration::ZERO,
                doubt: false,
                waits_for: None,
            };
            let change = Arc::new(change);
            let (again, lets_pass, merges, born, parents) = (false, false, false, false, Vec::new());
            parkings.push(crate::state::Parking {
                at,
                change,
                parked,
                again,
                lets_pass,
                merges,
                born,
                parents,
                replayed: None,
            });
        }
        let settlement = crate::state::Settlement { parkings, ..Default::default() };
        let _ = self.rig.store.settle(settlement).await.expect("a settlement");
    }

    /// `PUT /loan/5`, in the order of arrival.
    fn calls(&self) -> Vec<String> {
        let seen = self.rig.remote.seen();
        seen.iter().map(|it| format!("{} {}", it.call.method.name(), it.call.path)).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        let seen = self.rig.remote.seen();
        seen.iter().filter_map(|it| serde_json::from_slice(it.call.body.bytes()?).ok()).collect()
    }

    fn parked(&self) -> Vec<String> {
        let line = |(at, _, parked): (RouteKey, ChangeId, Parked)| {
            format!("{} {} {} {}", at.route, at.key, parked.state.name(), parked.reason.name())
        };
        self.rig.store.parked().into_iter().map(line).collect()
    }

    fn refused(&self) -> Vec<String> {
        self.held.lock().expect("whole").refused.clone()
    }

    fn objects(&self) -> Vec<String> {
        self.held.lock().expect("whole").objects.keys().cloned().collect()
    }

    fn retry(&self, route: &str, key: &str) {
        let at = RouteKey { route: route.into(), key: key.into() };
        let (_, id, _) =
            self.rig.store.parked().into_iter().find(|(it, ..)| *it == at).expect("it is parked");
        self.rig.store.retry(&at, id);
    }
}

type Reply = Result<Answer, crate::remote::CallError>;

/// A script that is read at a pace.
struct Paced {
    script: Script,
    pace: Duration,
    next: Instant,
}

#[async_trait]
impl ChangeSource for Paced {
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError> {
        tokio::time::sleep_until(self.next).await;
        self.next = Instant::now() + self.pace;
        self.script.next().await
    }

    fn acknowledge(&mut self, saved: &Saved) {
        self.script.acknowledge(saved);
    }
}

/// Changes of the three tables.
struct Rows {
    tables: Vec<Arc<Table>>,
    batch: Vec<Captured>,
    commit: u64,
    ordinal: u64,
}

impl Rows {
    fn from(commit: u64) -> Self {
        let tables = ROUTES.iter().enumerate().map(|(at, name)| of(name, at as u32 + 1)).collect();
        Self { tables, batch: Vec::new(), commit, ordinal: 0 }
    }

    fn new() -> Self {
        Self::from(100)
    }

    fn row(&self, at: usize, cells: [Cell<'_>; 4]) -> Row {
        let mut row = RowBuilder::default();
        cells.into_iter().for_each(|cell| row.push(cell));
        row.finish(Arc::clone(&self.tables[at]))
    }

    fn change(mut self, at: usize, image: Image) -> Self {
        let id = ChangeId { commit: Lsn::new(self.commit), ordinal: self.ordinal };
        self.ordinal += 2;
        let table = Arc::clone(&self.tables[at]);
        let change = Change { id, table, image, committed_at: Timestamp::UNIX_EPOCH, transaction: None };
        self.batch.push(Captured::Change(change));
        self
    }

    fn image(&self, at: usize, id: &str, parent: Option<&str>, v: &str) -> Row {
        let parent = parent.map_or(Cell::Null, Cell::Text);
        let (customer, above) = if at == 1 { (parent, Cell::Null) } else { (Cell::Null, parent) };
        self.row(at, [Cell::Text(id), customer, above, Cell::Text(v)])
    }

    fn put(self, at: usize, id: &str, parent: Option<&str>, v: &str) -> Self {
        let new = self.image(at, id, parent, v);
        self.change(at, Image::Insert { new })
    }

    fn customer(self, id: &str) -> Self {
        self.put(0, id, None, "a")
    }

    fn loan(self, id: &str, customer: &str) -> Self {
        self.put(1, id, Some(customer), "a")
    }

    fn tree(self, id: &str, above: Option<&str>) -> Self {
        self.put(2, id, above, "a")
    }

    fn update(self, at: usize, id: &str, parent: Option<&str>, v: &str) -> Self {
        let new = self.image(at, id, parent, v);
        self.change(at, Image::Update { old: None, new })
    }

    fn delete(self, at: usize, id: &str) -> Self {
        let old = self.row(at, [Cell::Text(id), Cell::Unchanged, Cell::Unchanged, Cell::Unchanged]);
        self.change(at, Image::Delete { old })
    }

    /// What capture makes of an update that changes the key.
    fn rename(self, at: usize, from: &str, to: &str) -> Self {
        self.rename_below(at, (from, to), None, "a")
    }

    fn rename_below(mut self, at: usize, (from, to): (&str, &str), parent: Option<&str>, v: &str) -> Self {
        self = self.delete(at, from);
        self.ordinal -= 1;
        self = self.put(at, to, parent, v);
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
