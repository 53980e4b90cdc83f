//! Changes, links and settlements for the tests of stores.

use rowcall::{
    model::{
        Cell, Change, ChangeId, Column, Image, Link, Lsn, ParkReason, Parked, ParkedState, Row, RowBuilder,
        RunCounts, RunId, RunKind, RunProgress, RunRequest, Table, TableId, Type,
    },
    postgres::Target,
    state::{
        Binding, Checkpoint, Known, Parking, RouteKey, Settlement, StateStore, Wanted,
        postgres::{Lease, PostgresStore},
    },
};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

pub fn ask(kind: RunKind, entity: Option<&str>) -> RunRequest {
    RunRequest { kind, entity: entity.map(Arc::from), options: Map::new(), origin: "command".into() }
}

pub fn counts([read, applied, skipped, parked]: [u64; 4]) -> RunCounts {
    RunCounts { read, applied, skipped, parked }
}

pub fn progress(run: RunId, of: [u64; 4]) -> RunProgress {
    RunProgress { run, cursor: None, counts: counts(of), expected: None, report: None, end: None }
}

pub async fn settle_runs(store: &dyn StateStore, runs: impl IntoIterator<Item = RunProgress>) {
    let runs = runs.into_iter().collect();
    let _ = store.settle(Settlement { runs, ..Settlement::default() }).await.expect("a settlement");
}

pub fn deleting(it: Parking) -> Parking {
    let id = it.change.id;
    let image = Image::Delete { old: row("1", Cell::Unchanged) };
    Parking { change: Arc::new(Change { image, ..change(id.commit.raw()) }), ..it }
}

pub fn customer(key: &str) -> RouteKey {
    RouteKey { route: "other".into(), key: key.into() }
}

pub async fn open(url: &str) -> PostgresStore {
    let target: Target = url.parse().expect("a URL");
    match PostgresStore::open(&target, "main").await.expect("a store") {
        Lease::Held(store) => *store,
        Lease::Taken => panic!("somebody holds the lease of {url}"),
    }
}

pub fn begin() -> Checkpoint {
    let binding = Binding { system_id: "7".to_owned(), timeline: 1, slot: "rowcall".to_owned() };
    Checkpoint { binding, lsn: Lsn::new(100), committed_at: None }
}

pub async fn recall(store: &dyn StateStore, key: &str) -> Known {
    store.recall(&[at(key)]).await.expect("an answer").remove(0)
}

pub async fn due(store: &dyn StateStore) -> Vec<(String, u64)> {
    let due = store.due(&due_of_all(100)).await.expect("what is due");
    due.iter().map(|due| (due.at.key.to_string(), due.change.id.commit.raw())).collect()
}

pub fn through(lsn: u64) -> Settlement {
    Settlement { through: Some(Lsn::new(lsn)), ..Settlement::default() }
}

pub fn linked(key: &str, saved: Value, lsn: u64) -> Settlement {
    Settlement { links: vec![(at(key), link(saved, lsn))], ..Settlement::default() }
}

pub fn parked(parkings: impl IntoIterator<Item = Parking>) -> Settlement {
    Settlement { parkings: parkings.into_iter().collect(), ..Settlement::default() }
}

/// So many of what is due of each route the clauses use.
pub fn due_of_all(limit: usize) -> Vec<Wanted> {
    let wanted = |route: &str| Wanted { route: route.into(), after: None, limit, bytes: usize::MAX };
    ["loan", "other"].map(wanted).into()
}

pub fn at(key: &str) -> RouteKey {
    RouteKey { route: "loan".into(), key: key.into() }
}

pub fn id(lsn: u64) -> ChangeId {
    ChangeId { commit: Lsn::new(lsn), ordinal: 0 }
}

pub fn time(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).expect("a time")
}

pub fn link(saved: Value, lsn: u64) -> Arc<Link> {
    let saved: Map<String, Value> = saved.as_object().cloned().expect("an object");
    Arc::new(Link { saved, change: id(lsn), gone: false, parents: Vec::new(), content: None, replayed: None })
}

pub fn parking(key: &str, lsn: u64, state: ParkedState) -> Parking {
    let message = "the remote said no\0".to_owned();
    let parked = Parked {
        requests: 4,
        state,
        reason: ParkReason::Refused,
        message,
        answers: Vec::new(),
        attempts: 0,
        called: id(lsn),
        wait: Duration::ZERO,
        doubt: false,
        waits_for: None,
    };
    let change = Arc::new(change(lsn));
    Parking {
        at: at(key),
        change,
        parked,
        again: false,
        lets_pass: false,
        merges: false,
        born: false,
        parents: Vec::new(),
        replayed: None,
    }
}

pub fn change(lsn: u64) -> Change {
    let new = row("1", Cell::Null);
    Change {
        id: id(lsn),
        table: Arc::clone(&new.table),
        image: Image::Insert { new },
        committed_at: time(1),
        transaction: None,
    }
}

pub fn row(id: &str, notes: Cell<'_>) -> Row {
    let column = |name: &str, ty| Column { name: name.into(), ty, identity: name == "id" };
    let columns = vec![column("id", Type::Int), column("notes", Type::Text)];
    let table = Arc::new(Table { id: TableId(1), name: "public.loans".parse().expect("a name"), columns });
    let mut row = RowBuilder::default();
    row.push(Cell::Text(id));
    row.push(notes);
    row.finish(table)
}
