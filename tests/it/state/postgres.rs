//! What the real store promises beyond the port: all or nothing.

use super::samples::{
    ask, at, begin, counts, due_of_all, id, linked, open, parking, progress, settle_runs, through,
};
use crate::harness::{Postgres, Version, eventually, wait::LONG};
use rowcall::{
    model::{ContentHash, Link, Lsn, ParkedState, RunEnd, RunKind, RunProgress, RunState},
    postgres::Target,
    state::{
        Checkpoint, Hold, Parking, RouteCounts, RouteKey, Run, RunCommand, Settlement, StateStore,
        postgres::{Filter, Page, ParkedDesk, PostgresStore, RunDesk, RunFilter, migrate},
    },
};
use serde_json::json;
use std::sync::Arc;

pub async fn server() -> Postgres {
    let postgres = Postgres::start(Version::V16).await;
    migrate(&mut rowcall::postgres::connect(&target(&postgres)).await.expect("a connection"))
        .await
        .expect("the schema");
    postgres
}

pub fn target(postgres: &Postgres) -> Target {
    postgres.url().parse().expect("a URL")
}

#[tokio::test]
async fn a_settlement_that_fails_leaves_nothing_and_the_next_one_works() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    // No statement but one can refuse this, and it is neither the first nor the last.
    postgres.execute("alter table rowcall.parked add constraint no check (key <> 'refused')").await;
    let good = parking("1", 5, ParkedState::Retrying);
    let bad = parking("refused", 6, ParkedState::Retrying);
    let settlement =
        Settlement { parkings: vec![good, bad], through: Some(Lsn::new(900)), ..linked("1", json!({}), 5) };
    let error = store.settle(settlement).await.expect_err("it is refused").to_string();
    assert!(error.contains("settling") && error.contains("\"no\""), "{error}");
    assert_eq!(store.checkpoint().await.expect("an answer"), Some(begin()));
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0);
    assert!(known.link.is_none() && known.hold == Hold::Free);
    store.settle(through(300)).await.expect("a settlement");
}

#[tokio::test]
async fn a_gone_link_is_forgotten_only_behind_the_checkpoint_and_what_is_parked() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let gone = |lsn| Arc::new(Link { change: id(lsn), gone: true, ..Link::default() });
    let another = RouteKey { route: "of another source".into(), key: "old".into() };
    let keys = [at("old"), at("next"), at("new"), at("dead"), another.clone()];
    let links: Vec<_> = keys.iter().cloned().zip([150, 200, 250, 150, 150].map(gone)).collect();
    let parkings = vec![parking("dead", 100, ParkedState::Dead)];
    let counts = vec![("loan".into(), RouteCounts::default())];
    store
        .settle(Settlement { links, parkings, counts, ..Settlement::default() })
        .await
        .expect("a settlement");
    // It is looked for now and then only.
    for _ in 0..200 {
        store.settle(through(200)).await.expect("a settlement");
    }
    let known = store.recall(&keys).await.expect("an answer");
    assert_eq!(known.iter().map(|it| it.link.is_some()).collect::<Vec<_>>(), [false, true, true, true, true]);
}

#[tokio::test]
async fn what_was_deleted_since_a_replay_began_is_remembered_until_that_is_over() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let run = store.ask_run(&ask(RunKind::Replay, None)).await.expect("a run");
    assert!(store.begin_run(run, Lsn::new(140)).await.expect("an answer"));
    let gone = |lsn| Link { change: id(lsn), gone: true, ..Link::default() };
    let again = Link { replayed: Some(run.anew(id(120))), ..gone(139) };
    let keys = [at("before"), at("since"), at("by it")];
    let links = keys.iter().cloned().zip([gone(139), gone(140), again].map(Arc::new)).collect();
    let counts = vec![("loan".into(), RouteCounts::default())];
    store.settle(Settlement { links, counts, ..Settlement::default() }).await.expect("a settlement");
    let known = async || {
        for _ in 0..200 {
            store.settle(through(200)).await.expect("a settlement");
        }
        let known = store.recall(&keys).await.expect("an answer");
        known.iter().map(|it| it.link.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(known().await, [false, true, true]);
    settle_runs(&store, [RunProgress { end: Some(RunEnd::Done), ..progress(run, [0; 4]) }]).await;
    assert_eq!(known().await, [false; 3]);
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_what_to_do() {
    let postgres = Postgres::start(Version::V16).await;
    let error = PostgresStore::open(&target(&postgres), "main").await.expect_err("no schema").to_string();
    assert!(error.contains("run `rowcall init`"), "{error}");
}

#[tokio::test]
async fn what_is_discarded_behind_an_older_parked_change_does_not_end_that_one() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let parkings = vec![parking("1", 5, ParkedState::Dead), parking("1", 6, ParkedState::Queued)];
    store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
    let mut client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let mut desk = ParkedDesk { client: &mut client };
    let newer = Filter { state: Some(ParkedState::Queued), ..Filter::default() };
    assert_eq!(desk.discard(&newer).await.expect("to discard"), 1);
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0);
    assert!(known.hold == Hold::Held && known.link.is_none(), "the older one is still to be sent");
    assert_eq!(desk.discard(&Filter::default()).await.expect("to discard"), 1);
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0);
    assert_eq!((known.hold, known.link.map(|link| link.change)), (Hold::Free, Some(id(5))));
}

#[tokio::test]
async fn what_queued_behind_a_discarded_change_goes_on_past_those_that_let_it() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let passing = Parking { lets_pass: true, ..parking("1", 5, ParkedState::Dead) };
    let parkings =
        vec![passing, parking("1", 8, ParkedState::Rejected), parking("1", 9, ParkedState::Queued)];
    let told = Link { change: id(2), content: Some(ContentHash(7)), ..Link::default() };
    let links = vec![(at("1"), Arc::new(told.clone())), (at("2"), Arc::new(told))];
    let parkings = [parkings, vec![parking("2", 8, ParkedState::Rejected)]].concat();
    store.settle(Settlement { links, parkings, ..Settlement::default() }).await.expect("a settlement");
    let mut client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let filter = Filter { state: Some(ParkedState::Rejected), ..Filter::default() };
    assert_eq!(ParkedDesk { client: &mut client }.discard(&filter).await.expect("to discard"), 2);
    let due = store.due(&due_of_all(9)).await.expect("what is due");
    assert_eq!(due.iter().map(|it| it.change.id).collect::<Vec<_>>(), [id(9)]);
    let known = store.recall(&[at("2")]).await.expect("an answer").remove(0);
    let link = known.link.expect("a link");
    assert_eq!((link.change, link.content), (id(8), None), "it may have been sent");
}

#[tokio::test]
async fn what_is_parked_while_the_one_before_it_is_discarded_does_not_stay_queued() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let park = |lsn, state| Settlement { parkings: vec![parking("1", lsn, state)], ..Settlement::default() };
    store.settle(park(5, ParkedState::Dead)).await.expect("a settlement");
    // A settlement as far as it gets before its commit.
    let slow = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    slow.batch_execute(
        "begin; insert into rowcall.parked (source, route, key, commit_lsn, ordinal, change, state, reason, message,
             called_lsn, called_ordinal)
         select source, route, key, '0/6', ordinal, change, 'queued', 'behind', message, '0/6', called_ordinal
         from rowcall.parked",
    )
    .await
    .expect("to park");
    let mut client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let mut desk = ParkedDesk { client: &mut client };
    let oldest = Filter { state: Some(ParkedState::Dead), ..Filter::default() };
    let discard = desk.discard(&oldest);
    tokio::pin!(discard);
    let waiting = "select count(*)::text from pg_locks where not granted";
    tokio::select! {
        _ = &mut discard => panic!("it saw nothing of what is being parked"),
        () = eventually("discarding waits", LONG, async || {
            if postgres.text(waiting).await.as_deref() == Some("0") { Err(()) } else { Ok(()) }
        }) => {}
    }
    slow.batch_execute("commit").await.expect("to commit");
    assert_eq!(discard.await.expect("to discard"), 1);
    assert_eq!(store.due(&due_of_all(10)).await.expect("what is due").len(), 1, "it has become the oldest");
}

#[tokio::test]
async fn what_is_bound_to_another_database_forgets_the_positions_of_the_former_one() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let counts = vec![("loan".into(), RouteCounts { applied: 1, ..RouteCounts::default() })];
    store.settle(Settlement { counts, ..linked("1", json!({ "id": 7 }), 500) }).await.expect("a settlement");
    store.bind(&begin()).await.expect("to bind");
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0).link.expect("a link");
    assert_eq!(known.change, id(500), "the same database");
    let mut other = begin();
    other.binding.system_id = "8".to_owned();
    store.bind(&other).await.expect("to bind");
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0).link.expect("a link");
    assert_eq!((known.change, known.saved["id"].clone()), (id(0), json!(7)));
    // An older copy of the same database.
    store.settle(linked("1", json!({ "id": 7 }), 500)).await.expect("a settlement");
    store.bind(&Checkpoint { lsn: Lsn::new(90), ..other }).await.expect("to bind");
    let known = store.recall(&[at("1")]).await.expect("an answer").remove(0).link.expect("a link");
    assert_eq!(known.change, id(0));
}

#[tokio::test]
async fn what_a_person_has_cancelled_stays_so_but_for_its_counts() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let desk = RunDesk { client: &client };
    let run = store.ask_run(&ask(RunKind::Snapshot, Some("loan"))).await.expect("a run");
    assert!(store.begin_run(run, Lsn::new(700)).await.expect("an answer"));
    desk.command(run, RunCommand::Cancel).await.expect("to cancel");
    let was = desk.show(run).await.expect("an answer").expect("a run");
    assert!(was.state == RunState::Cancelled && was.finished_at.is_some());
    for end in [None, Some(RunEnd::Done), Some(RunEnd::Failed("late".to_owned()))] {
        let (cursor, expected) = (Some(json!(9)), Some(9));
        settle_runs(&store, [RunProgress { cursor, expected, end, ..progress(run, [4, 3, 1, 0]) }]).await;
    }
    let is = desk.show(run).await.expect("an answer").expect("a run");
    assert_eq!(is, Run { counts: counts([12, 9, 3, 0]), updated_at: is.updated_at, ..was });
}

#[tokio::test]
async fn a_paused_run_comes_on_by_what_was_under_way_and_is_begun_only_once() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let desk = RunDesk { client: &client };
    let run = store.ask_run(&ask(RunKind::Snapshot, Some("loan"))).await.expect("a run");
    assert_eq!(desk.command(run, RunCommand::Pause).await.expect("to pause"), RunState::Paused);
    assert!(!store.begin_run(run, Lsn::new(700)).await.expect("an answer"), "it is to wait");
    assert_eq!(desk.command(run, RunCommand::Resume).await.expect("to resume"), RunState::Requested);
    assert!(store.begin_run(run, Lsn::new(700)).await.expect("an answer"));
    desk.command(run, RunCommand::Pause).await.expect("to pause");
    settle_runs(&store, [RunProgress { cursor: Some(json!(9)), ..progress(run, [4, 3, 1, 0]) }]).await;
    let paused = store.runs().await.expect("the runs").remove(0);
    assert_eq!(
        (paused.state, paused.cursor, paused.counts),
        (RunState::Paused, Some(json!(9)), counts([4, 3, 1, 0]))
    );
    assert_eq!(desk.command(run, RunCommand::Resume).await.expect("to resume"), RunState::Running);
    assert!(!store.begin_run(run, Lsn::new(900)).await.expect("an answer"));
    let end = Some(RunEnd::Failed("no such column".to_owned()));
    settle_runs(&store, [RunProgress { end, ..progress(run, [0; 4]) }]).await;
    let failed = desk.show(run).await.expect("an answer").expect("a run");
    assert_eq!((failed.state, failed.base), (RunState::Failed, Some(Lsn::new(700))));
    assert_eq!(failed.error.as_deref(), Some("no such column"));
    let refused = desk.command(run, RunCommand::Resume).await.expect_err("it is over").to_string();
    assert_eq!(refused, format!("run {run} has failed already"));
}

#[tokio::test]
async fn the_runs_of_another_source_are_not_touched() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let desk = RunDesk { client: &client };
    let request = ask(RunKind::Snapshot, Some("loan"));
    let other = desk.request("other", &request).await.expect("a run");
    assert!(store.runs().await.expect("the runs").is_empty());
    assert!(!store.was_asked(RunKind::Snapshot, Some("loan"), "command").await.expect("an answer"));
    assert!(!store.begin_run(other, Lsn::new(700)).await.expect("an answer"));
    let was = desk.show(other).await.expect("an answer");
    settle_runs(&store, [RunProgress { end: Some(RunEnd::Done), ..progress(other, [1; 4]) }]).await;
    assert_eq!(desk.show(other).await.expect("an answer"), was);
    let filter = RunFilter { sources: vec!["other".to_owned()], ..RunFilter::default() };
    assert_eq!(desk.list(&filter, 9).await.expect("a list").len(), 1);
}

/// By a position of the former log what follows in the new one could be taken for old.
#[tokio::test]
async fn open_runs_begin_again_on_another_database() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let desk = RunDesk { client: &client };
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = store.ask_run(&ask(RunKind::Snapshot, Some("loan"))).await.expect("a run");
        assert!(store.begin_run(run, Lsn::new(700)).await.expect("an answer"));
        let (cursor, expected) = (Some(json!(9)), Some(9));
        settle_runs(&store, [RunProgress { cursor, expected, ..progress(run, [4, 3, 1, 0]) }]).await;
        runs.push(run);
    }
    desk.command(runs[1], RunCommand::Pause).await.expect("to pause");
    desk.command(runs[2], RunCommand::Cancel).await.expect("to cancel");
    let was = store.runs().await.expect("the runs");
    store.bind(&begin()).await.expect("to bind");
    assert_eq!(store.runs().await.expect("the runs"), was, "the same database");
    let mut other = begin();
    other.binding.system_id = "8".to_owned();
    store.bind(&other).await.expect("to bind");
    let is = store.runs().await.expect("the runs");
    assert_eq!(is.iter().map(|it| it.state).collect::<Vec<_>>(), [RunState::Requested, RunState::Paused]);
    for run in is {
        assert_eq!((run.base, run.started_at, run.cursor, run.expected), (None, None, None, None));
        assert_eq!(run.counts, counts([0; 4]));
    }
    let cancelled = desk.show(runs[2]).await.expect("an answer").expect("a run");
    assert_eq!((cancelled.base, cancelled.counts), (Some(Lsn::new(700)), counts([4, 3, 1, 0])), "it is over");
    assert_eq!(desk.command(runs[1], RunCommand::Resume).await.expect("to resume"), RunState::Requested);
    assert!(store.begin_run(runs[0], Lsn::new(50)).await.expect("an answer"));
    assert_eq!(store.runs().await.expect("the runs")[0].base, Some(Lsn::new(50)));
}

/// Somebody wrote where nobody should.
#[tokio::test]
async fn a_parked_change_that_cannot_be_read_is_set_apart_and_the_others_go_on() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    use ParkedState::{Queued, Retrying};
    let passing = Parking { lets_pass: true, ..parking("2", 5, Retrying) };
    let parkings = vec![parking("1", 5, Retrying), parking("1", 6, Queued), passing, parking("2", 6, Queued)];
    let parkings = [parkings, vec![parking("3", 5, Retrying), parking("4", 5, Retrying)]].concat();
    store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
    postgres
        .execute(
            "update rowcall.parked set change = '{\"op\": \"upsert\"}' where key in ('1', '2') and commit_lsn = '0/5';
             update rowcall.parked set answers = '[1]' where key = '3'",
        )
        .await;
    let due = async || -> Vec<String> {
        let due = store.due(&due_of_all(9)).await.expect("what is due");
        due.iter().map(|it| format!("{} {}", it.at.key, it.change.id)).collect()
    };
    assert_eq!(due().await, ["4 0/5.0"]);
    // What queued behind the one that lets it goes on.
    assert_eq!(due().await, ["4 0/5.0", "2 0/6.0"]);
    let mut client = rowcall::postgres::connect(&target(&postgres)).await.expect("a connection");
    let mut desk = ParkedDesk { client: &mut client };
    let damaged = Filter { reason: Some(rowcall::model::ParkReason::Damaged), ..Filter::default() };
    let listed = desk.list(&damaged, &Page::First, 9).await.expect("a list");
    assert_eq!(
        listed.iter().map(|it| format!("{} {}", it.key, it.state)).collect::<Vec<_>>(),
        ["1 dead", "2 dead", "3 dead"]
    );
    assert!(listed[0].message.contains("cannot be read (unknown variant `upsert`"), "{}", listed[0].message);
    // In vain, as long as it cannot be read.
    assert_eq!(desk.retry(&damaged).await.expect("to retry"), 3);
    assert_eq!(due().await, ["4 0/5.0"]);
    assert_eq!(due().await, ["4 0/5.0", "2 0/6.0"]);
    assert_eq!(desk.discard(&damaged).await.expect("to discard"), 3);
    assert_eq!(due().await.len(), 3, "what queued behind it is due");
}

/// Otherwise a settlement could load any amount of what was put aside before (invariant 5).
#[tokio::test]
async fn what_is_too_much_to_be_merged_with_is_queued() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let keys = ["1", "2", "3"];
    let queued = |key, lsn| Parking { merges: true, ..parking(key, lsn, ParkedState::Queued) };
    let park = async |parkings| {
        store.settle(Settlement { parkings, ..Settlement::default() }).await.expect("a settlement");
        postgres.text("select string_agg(key || ' ' || commit_lsn, ', ' order by key, commit_lsn) from rowcall.parked").await
    };
    park(keys.map(|key| parking(key, 5, ParkedState::Dead)).into()).await;
    park(keys.map(|key| queued(key, 6)).into()).await;
    // The second one alone is more than is loaded at once, so all behind it in the settlement are too.
    let large =
        "update rowcall.parked set change = jsonb_set(change, '{row,1}', to_jsonb(repeat('x', 5000000)))
                 where key = '2' and commit_lsn = '0/6'";
    postgres.execute(large).await;
    let seen =
        park([("1", 7), ("1", 8), ("2", 7), ("2", 8), ("3", 7)].map(|(key, lsn)| queued(key, lsn)).into())
            .await;
    assert_eq!(seen.as_deref(), Some("1 0/5, 1 0/8, 2 0/5, 2 0/6, 2 0/7, 2 0/8, 3 0/5, 3 0/6, 3 0/7"));
    // What is small merges again.
    let seen = park(keys.map(|key| queued(key, 9)).into()).await;
    assert_eq!(seen.as_deref(), Some("1 0/5, 1 0/9, 2 0/5, 2 0/6, 2 0/7, 2 0/9, 3 0/5, 3 0/6, 3 0/9"));
}

/// Nobody deletes its rows at the remote any more, so they would never go.
#[tokio::test]
async fn rows_of_a_route_that_does_not_delete_are_no_children() {
    let postgres = server().await;
    let store = open(&postgres.url()).await;
    store.bind(&begin()).await.expect("to bind");
    let customer = RouteKey { route: "customer".into(), key: "1".into() };
    let mut waiting = parking("1", 9, ParkedState::Waiting);
    waiting.at = customer.clone();
    (waiting.parked.reason, waiting.parked.waits_for) =
        (rowcall::model::ParkReason::Children, Some(customer.clone()));
    let loan = Link { change: id(5), parents: vec![customer.clone()], ..Link::default() };
    let parked = Parking { parents: vec![customer], ..parking("2", 6, ParkedState::Retrying) };
    let (links, parkings) = (vec![(at("1"), Arc::new(loan))], vec![waiting, parked]);
    store.settle(Settlement { links, parkings, ..Settlement::default() }).await.expect("a settlement");
    assert_eq!(store.sweep().await.expect("to sweep"), 0);
    store.only_children(&["loan".into(), "other".into()]).await;
    assert_eq!(store.sweep().await.expect("to sweep"), 0);
    store.only_children(&["other".into()]).await;
    assert_eq!(store.sweep().await.expect("to sweep"), 1);
}
