//! Parents before children, and children deleted before parents, against a remote that refuses
//! anything else.

use super::*;
use crate::{
    mapping::{At, Expression, Names},
    routing::Parent,
    synchronize::{Classes, Declaration, Sequences},
};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeSet, sync::Mutex};

/// What the remote holds: the paths, and what each depends on. It refuses what has no parent, and
/// to delete what something depends on.
#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<String, Vec<String>>,
    refused: Vec<String>,
}

impl Held {
    fn answer(&mut self, call: &Call) -> u16 {
        let body: Value =
            call.body.bytes().map_or(Value::Null, |it| serde_json::from_slice(it).expect("JSON"));
        let path = call.path.clone();
        let of = |folder: &str, keys: &Value| -> Vec<String> {
            let keys = keys.as_str().into_iter().flat_map(|keys| keys.split('+'));
            keys.map(|key| format!("/{folder}/{key}")).filter(|parent| *parent != path).collect()
        };
        let parents = [of("customer", &body["customer"]), of("tree", &body["above"])].concat();
        if call.method == Method::Delete {
            if self.objects.values().any(|it| it.contains(&path)) {
                self.refused.push(format!("DELETE {path}"));
                return 409;
            }
            self.objects.remove(&path);
        } else {
            if let Some(missing) = parents.iter().find(|it| !self.objects.contains_key(*it)) {
                self.refused.push(format!("PUT {path} below {missing}"));
                return 422;
            }
            self.objects.insert(path, parents);
        }
        200
    }
}

struct Family {
    held: Arc<Mutex<Held>>,
    rig: Rig,
    depends_on: &'static [(&'static str, &'static str)],
    when: Option<&'static str>,
    /// Something is read before a change is sent.
    fetches: bool,
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
            Ok(Answer { status, headers: Vec::new(), body: body.into() })
        };
        let rig = Rig::new(remote(Box::new(answer)));
        let depends_on = &[("loan", "{{ row.customer }}"), ("tree", "{{ row.above }}")];
        Self { held, rig, depends_on, when: None, fetches: false }
    }

    fn route(&self, at: usize) -> Route {
        let name = ROUTES[at];
        let columns: Arc<[Arc<str>]> = of(name, 0).columns.iter().map(|it| Arc::clone(&it.name)).collect();
        let sequences: Sequences = serde_json::from_value(json!({
            "upsert": [{
                "put": format!("/{name}/{{{{ key }}}}"),
                "body": { "customer": "{{ row.customer }}", "above": "{{ row.above }}", "v": "{{ row.v }}",
                          "parent": if name == "loan" { "{{ parent.?customer }}" } else { "" } },
                "save": { "remote_id": "{{ answer.body.id }}" },
            }],
            "delete": [{ "delete": format!("/{name}/{{{{ key }}}}") }],
        }))
        .expect("sequences");
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
        self.rig.engine_of((0..ROUTES.len()).map(|at| self.route(at)), Arc::new(NoRows))
    }

    /// Runs until the stream is settled and nothing is left to be done by itself.
    async fn run(&self, stream: Rows) {
        let ends = stream.batch.iter().filter_map(|it| match it {
            Captured::Commit(commit) => Some(commit.end),
            _ => None,
        });
        let end = ends.max().unwrap_or_default();
        let (go, mut stop) = watch::channel(false);
        let mut source = self.rig.source(Stream { batch: stream.batch, ..Stream::new() }, false);
        let acknowledged = source.acknowledged.subscribe();
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
    /// in the middle. What was acknowledged does not come again.
    async fn run_until_killed(&mut self, rows: &mut Rows, calls: usize) {
        let calls = self.rig.remote.seen().len() + calls;
        let (_go, mut stop) = watch::channel(false);
        let mut source = self.rig.source(Stream { batch: rows.batch.clone(), ..Stream::new() }, false);
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
        let acknowledged = *source.acknowledged.borrow();
        rows.batch.retain(|it| match it {
            Captured::Change(change) => change.id.commit >= acknowledged,
            Captured::Commit(commit) => commit.end > acknowledged,
            Captured::Idle(_) | Captured::Mark(_) => true,
        });
        self.rig.sent_before = Lsn::new(rows.commit);
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
    fn rename(mut self, at: usize, from: &str, to: &str) -> Self {
        self = self.delete(at, from);
        self.ordinal -= 1;
        self = self.put(at, to, None, "a");
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

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_written_after_its_child_is_sent_before_it() {
    let family = Family::new();
    family.run(Rows::new().loan("5", "1").loan("6", "1").customer("1").commit()).await;
    assert_eq!(family.calls()[0], "PUT /customer/1");
    assert_eq!((family.calls().len(), family.refused(), family.parked()), (3, vec![], vec![]));
    let parent = json!({ "remote_id": "remote-/customer/1" });
    assert_eq!(family.bodies()[1..].iter().map(|it| &it["parent"]).collect::<Vec<_>>(), [&parent, &parent]);
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_for_its_parents_answer_and_nothing_else_waits_for_the_child() {
    let family = Family {
        rig: Rig { governor: governor(1, None), ..Family::with(|it| FakeRemote::answering(it).held()).rig },
        ..Family::new()
    };
    let rows = Rows::new().customer("1").loan("5", "1").customer("2").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source = family.rig.source(Stream { batch: rows.batch, ..Stream::new() }, true);
    let run = family.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), family.rig.remote.arrived(1)).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    family.rig.remote.release(1);
    // The only slot is free for others, and the child is not forgotten.
    meanwhile(run.as_mut(), family.rig.remote.arrived(2)).await;
    family.rig.remote.release(9);
    run.await.expect("it runs");
    let mut calls = family.calls();
    calls.sort();
    assert_eq!(calls, ["PUT /customer/1", "PUT /customer/2", "PUT /loan/5"]);
    assert_eq!(family.parked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_child_of_a_parked_parent_is_parked_and_goes_on_in_order_once_that_is_sent() {
    let family = Family::new();
    family.rig.remote.answer(422, "{}");
    let rows =
        Rows::new().customer("1").commit().loan("5", "1").commit().update(1, "5", Some("1"), "b").commit();
    family.run(rows).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    assert_eq!(
        family.parked(),
        ["customer 1 rejected refused", "loan 5 waiting parent", "loan 5 queued behind"],
        "the stream has moved on"
    );
    let (_, _, parked) = family.rig.store.parked().remove(1);
    assert!(parked.message.contains("key 1 of route `customer`"), "{}", parked.message);
    // Trying the child again is in vain.
    family.retry("loan", "5");
    family.run(Rows::from(400).commit()).await;
    assert_eq!(family.calls(), ["PUT /customer/1"]);
    family.retry("customer", "1");
    family.run(Rows::from(500).commit()).await;
    assert_eq!(family.calls()[1..], ["PUT /customer/1", "PUT /loan/5", "PUT /loan/5"]);
    assert_eq!(family.bodies().iter().map(|it| &it["v"]).collect::<Vec<_>>(), ["a", "a", "a", "b"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn children_are_deleted_before_their_parents_whatever_the_log_says() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").loan("6", "1").commit()).await;
    family.run(Rows::from(200).delete(0, "1").delete(1, "5").delete(1, "6").commit()).await;
    assert_eq!(family.calls().last().map(String::as_str), Some("DELETE /customer/1"));
    assert_eq!((family.refused(), family.parked(), family.objects()), (vec![], vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_is_not_deleted_while_a_child_is_linked_and_says_so() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    family.run(Rows::from(200).delete(0, "1").commit()).await;
    assert_eq!(family.parked(), ["customer 1 waiting children"]);
    let (_, _, parked) = family.rig.store.parked().remove(0);
    assert!(parked.message.contains("1 of route `loan`"), "{}", parked.message);
    // The child moves to another parent.
    family.run(Rows::from(300).customer("2").update(1, "5", Some("2"), "b").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_and_written_again_goes_in_the_order_of_parents_each_time() {
    let family = Family::new();
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    let rows = Rows::from(200).delete(0, "1").delete(1, "5").commit();
    family.run(rows.customer("1").loan("5", "1").commit()).await;
    assert_eq!(
        family.calls()[2..],
        ["DELETE /loan/5", "DELETE /customer/1", "PUT /customer/1", "PUT /loan/5"]
    );
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

/// `update customer set id = 2`, with `on update cascade`.
#[tokio::test(start_paused = true)]
async fn a_parent_changes_its_key_and_its_children_move_along() {
    let renamed = || Rows::from(200).rename(0, "1", "2").update(1, "5", Some("2"), "b").commit();
    for parked in [false, true] {
        let family = Family::new();
        family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
        if parked {
            family.put_aside(renamed()).await;
            family.run(Rows::from(300).commit()).await;
        } else {
            family.run(renamed()).await;
        }
        assert_eq!(family.calls()[2..], ["PUT /customer/2", "PUT /loan/5", "DELETE /customer/1"], "{parked}");
        assert_eq!((family.refused(), family.parked()), (vec![], vec![]), "{parked}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_name_other_parents_do_not_merge() {
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.run(Rows::new().customer("1").loan("5", "9").commit()).await;
    let rows = Rows::from(200).update(1, "5", Some("1"), "b").update(1, "5", Some("1"), "c");
    family.run(rows.rename(0, "1", "2").update(1, "5", Some("2"), "d").commit()).await;
    let queued = "loan 5 queued behind";
    let parked = ["customer 1 waiting children", "loan 5 waiting parent", queued, queued];
    assert_eq!(family.parked(), parked, "not even where they are parked");
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.run(Rows::new().customer("1").loan("5", "1").commit()).await;
    let rows = Rows::from(200).update(1, "5", Some("1"), "b").update(1, "5", Some("1"), "c");
    family.run(rows.rename(0, "1", "2").update(1, "5", Some("2"), "d").commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
    let told: Vec<Value> = family.bodies().iter().map(|it| it["v"].clone()).collect();
    assert_eq!(told.iter().filter(|v| *v == "b").count(), 0, "{told:?}");
    assert_eq!(told.iter().filter(|v| *v == "c").count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_came_and_went_is_sent_where_a_child_needs_it_in_between() {
    let mut family = Family::new();
    family.rig.coalesce = true;
    family.run(Rows::new().customer("2").commit()).await;
    let rows = Rows::from(200).customer("1").loan("5", "1").update(1, "5", Some("2"), "b").delete(0, "1");
    family.run(rows.commit()).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/customer/2", "/loan/5"]);
}

#[tokio::test(start_paused = true)]
async fn a_tree_is_built_from_its_root_and_taken_down_from_its_leaves() {
    let family = Family::new();
    let rows =
        Rows::new().tree("4", Some("3")).tree("3", Some("2")).tree("2", Some("1")).tree("1", Some("1"));
    family.run(rows.commit()).await;
    assert_eq!(family.calls(), ["PUT /tree/1", "PUT /tree/2", "PUT /tree/3", "PUT /tree/4"]);
    let rows = Rows::from(200).delete(2, "1").delete(2, "2").delete(2, "3").delete(2, "4");
    family.run(rows.commit()).await;
    assert_eq!(family.calls()[4..], ["DELETE /tree/4", "DELETE /tree/3", "DELETE /tree/2", "DELETE /tree/1"]);
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_is_not_deleted_while_a_child_that_needs_it_is_queued() {
    let family = Family::new();
    let rows = Rows::new().tree("2", None).tree("0", Some("2")).commit();
    // Deleting 2 waits for 0, so that everything else of 2 is parked behind it.
    let rows = rows.delete(2, "2").delete(2, "0").commit();
    let rows = rows.tree("0", None).tree("2", Some("0")).commit();
    let rows = rows.update(2, "2", None, "b").commit().delete(2, "0").commit();
    family.run(rows).await;
    assert_eq!((family.refused(), family.parked()), (vec![], vec![]));
    assert_eq!(family.objects(), ["/tree/2"]);
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_for_each_other_hold_up_nothing_else() {
    let family = Family::new();
    let rows = Rows::new().tree("1", Some("2")).tree("2", Some("1")).tree("3", Some("2")).tree("4", None);
    family.run(rows.commit()).await;
    assert_eq!(family.calls(), ["PUT /tree/4"]);
    assert_eq!(family.parked(), ["tree 1 waiting parent", "tree 2 waiting parent", "tree 3 waiting parent"]);
}

#[tokio::test(start_paused = true)]
async fn all_of_several_parents_have_to_be_there_and_none_is_no_reason_to_wait() {
    let family = Family {
        depends_on: &[("loan", "{{ row.customer == null ? null : row.customer.split('+') }}")],
        ..Family::new()
    };
    family.run(Rows::new().loan("5", "1+2").put(1, "6", None, "a").commit()).await;
    assert_eq!(family.calls(), ["PUT /loan/6"]);
    family.run(Rows::from(200).customer("1").commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent"]);
    family.run(Rows::from(300).customer("2").commit()).await;
    assert_eq!(family.parked(), [""; 0]);
    let body = family.bodies().pop().expect("a body");
    assert_eq!(
        body["parent"],
        json!([{ "remote_id": "remote-/customer/1" }, { "remote_id": "remote-/customer/2" }])
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_sent_waits_for_nobody() {
    let family = Family { when: Some("{{ row.v != 'draft' }}"), ..Family::new() };
    family.run(Rows::new().put(1, "5", Some("1"), "draft").commit()).await;
    assert_eq!((family.calls(), family.parked()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_somebody_else_wrote_is_found() {
    let family = Family::new();
    family.run(Rows::new().loan("5", "1").commit()).await;
    assert_eq!(family.parked(), ["loan 5 waiting parent"]);
    let at = RouteKey { route: "customer".into(), key: "1".into() };
    family.held.lock().expect("whole").objects.insert("/customer/1".to_owned(), Vec::new());
    let links = vec![(at, Arc::new(Link::default()))];
    let _ = family.rig.store.settle(crate::state::Settlement { links, ..Default::default() }).await;
    family.run(Rows::from(200).commit()).await;
    assert_eq!((family.calls(), family.parked()), (vec!["PUT /loan/5".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_a_waiting_child_to_come_again() {
    let family = Family { rig: Family::with(|it| FakeRemote::answering(it).held()).rig, ..Family::new() };
    let rows = Rows::new().customer("1").loan("5", "1").commit();
    let (go, mut stop) = watch::channel(false);
    let mut source = family.rig.source(Stream { batch: rows.batch, ..Stream::new() }, false);
    let acknowledged = source.acknowledged.subscribe();
    let run = family.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), family.rig.remote.arrived(1)).await;
    go.send_replace(true);
    assert!(futures_util::poll!(run.as_mut()).is_pending());
    family.rig.remote.release(9);
    run.await.expect("it stops");
    assert_eq!((family.calls().len(), family.parked()), (1, vec![]));
    assert_eq!(*acknowledged.borrow(), Lsn::ZERO, "the transaction comes again");
}

/// One statement of a database that holds its foreign keys.
#[derive(Clone, Copy, Debug)]
enum Statement {
    Put { table: usize, id: u8, parent: u8 },
    Delete { table: usize, id: u8 },
}

fn statements() -> impl Strategy<Value = Vec<Vec<Statement>>> {
    let put =
        (0usize..3, 0u8..4, 0u8..5).prop_map(|(table, id, parent)| Statement::Put { table, id, parent });
    let delete = (0usize..3, 0u8..4).prop_map(|(table, id)| Statement::Delete { table, id });
    let statement = prop_oneof![3 => put, 2 => delete];
    prop::collection::vec(prop::collection::vec(statement, 1..6), 1..12)
}

/// The rows there are: per table and id, the parent.
type Present = BTreeMap<(usize, u8), Option<u8>>;

/// Writes a statement and what follows from it by foreign keys, as the log has it: a parent's delete
/// comes before its children's.
fn write(mut rows: Rows, present: &mut Present, statement: Statement, v: &str) -> Rows {
    let above = |table: usize| if table == 1 { 0 } else { table };
    match statement {
        Statement::Put { table, id, parent } => {
            let parent = (table > 0 && parent < 4).then_some(parent);
            let exists = |it: &u8| *it == id && table == 2 || present.contains_key(&(above(table), *it));
            let parent = parent.filter(exists);
            // No circles, which no remote could be told of.
            let mut up = parent.filter(|it| table == 2 && *it != id);
            while let Some(at) = up {
                if at == id {
                    return rows;
                }
                up = present.get(&(2, at)).copied().flatten().filter(|next| *next != at);
            }
            let (id_text, parent_text) = (id.to_string(), parent.map(|it| it.to_string()));
            rows = match present.insert((table, id), parent) {
                None => rows.put(table, &id_text, parent_text.as_deref(), v),
                Some(_) => rows.update(table, &id_text, parent_text.as_deref(), v),
            };
        }
        Statement::Delete { table, id } => {
            if present.remove(&(table, id)).is_none() {
                return rows;
            }
            rows = rows.delete(table, &id.to_string());
            let child = if table == 0 { 1 } else { table };
            let below: Vec<u8> = present
                .iter()
                .filter(|((at, _), parent)| table != 1 && *at == child && **parent == Some(id))
                .map(|((_, it), _)| *it)
                .collect();
            for id in below {
                rows = write(rows, present, Statement::Delete { table: child, id }, v);
            }
        }
    }
    rows
}

proptest! {
    // Each case is a world of its own.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Whatever a database with foreign keys writes, the remote never sees a child without its
    /// parent, nothing is left behind, and the end is the same on both sides.
    #[test]
    fn a_remote_with_foreign_keys_never_has_to_refuse(
        transactions in statements(),
        concurrency in 1u32..5,
        coalesce in any::<bool>(),
        stumbles in prop::collection::vec(0u8..4, 0..20),
        kills in prop::collection::vec(1usize..12, 0..3),
        fetches in prop::bool::weighted(0.2),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut family = Family::new();
            family.rig.governor = governor(concurrency, None);
            family.rig.coalesce = coalesce;
            family.rig.attempts = 100;
            family.fetches = fetches;
            let stumbles = Mutex::new(stumbles);
            let held = Arc::clone(&family.held);
            let seen = Mutex::new(BTreeMap::new());
            family.rig.remote = Arc::new(FakeRemote::answering(move |call, key| {
                if stumbles.lock().expect("whole").pop() == Some(0) {
                    return status(503);
                }
                let mut seen = seen.lock().expect("whole");
                let status = *seen.entry(key.to_string()).or_insert_with(|| held.lock().expect("whole").answer(call));
                let body = json!({ "id": 1 }).to_string();
                Ok(Answer { status, headers: Vec::new(), body: body.into() })
            }));
            let (mut rows, mut present) = (Rows::new(), Present::new());
            for (number, transaction) in transactions.iter().enumerate() {
                for statement in transaction {
                    rows = write(rows, &mut present, *statement, &number.to_string());
                }
                rows = rows.commit();
            }
            for kill in kills {
                family.run_until_killed(&mut rows, kill).await;
            }
            family.run(rows).await;
            prop_assert_eq!(family.refused(), [""; 0]);
            prop_assert_eq!(family.parked(), [""; 0]);
            let expected: BTreeSet<String> =
                present.keys().map(|(table, id)| format!("/{}/{id}", ROUTES[*table])).collect();
            prop_assert_eq!(family.objects(), expected.into_iter().collect::<Vec<_>>());
            Ok(())
        })?;
    }
}
