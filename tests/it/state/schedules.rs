//! When schedules asked last, which is no part of the port: only the service's scheduler goes by it.

use super::samples::{ask, open};
use crate::harness::{Postgres, each_version};
use jiff::{SignedDuration, Timestamp};
use rowcall::{
    model::{RunKind, RunRequest},
    postgres::Target,
    state::{
        StateStore,
        postgres::{Lease, PostgresStore, migrate},
    },
};
use std::collections::BTreeMap;

async fn server(version: crate::harness::Version) -> Postgres {
    let postgres = Postgres::start(version).await;
    let target: Target = postgres.url().parse().expect("a URL");
    migrate(&mut rowcall::postgres::connect(&target).await.expect("a connection")).await.expect("the schema");
    postgres
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

async fn lasts(store: &PostgresStore) -> BTreeMap<String, Timestamp> {
    store.schedules().await.expect("the schedules")
}

each_version! {
    async fn a_schedule_begins_once_and_asks_once_for_each_time(version: Version) {
        let postgres = server(version).await;
        let store = open(&postgres.url()).await;
        let (loan, other) = ("loan snapshot @daily \u{e9}", "other");
        store.begin_schedule(loan, time(100)).await.expect("to begin");
        store.begin_schedule(loan, time(900)).await.expect("to begin");
        store.begin_schedule(other, time(150)).await.expect("to begin");
        assert_eq!(lasts(&store).await, BTreeMap::from([(loan.to_owned(), time(100)), (other.to_owned(), time(150))]));

        let request = RunRequest { origin: "schedule".into(), ..ask(RunKind::Snapshot, Some("loan")) };
        let asks = async |name, at| store.ask_scheduled(name, at, &request).await.expect("an answer");
        let run = asks(loan, time(200)).await.expect("a run");
        assert_eq!(asks(loan, time(200)).await, None, "this time was asked for");
        assert_eq!(asks(loan, time(199)).await, None, "a clock that goes back asks for nothing");
        assert_eq!(asks("never begun", time(900)).await, None);
        assert_eq!(lasts(&store).await[loan], time(200));
        let runs = store.runs().await.expect("the runs");
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].id, runs[0].kind, &runs[0].entity), (run, request.kind, &request.entity));
        assert_eq!((&runs[0].origin, &runs[0].options), (&request.origin, &request.options));
        assert!(asks(loan, time(201)).await.is_some_and(|it| it > run));
        assert_eq!(lasts(&store).await[other], time(150));

        let target: Target = postgres.url().parse().expect("a URL");
        let Lease::Held(another) = PostgresStore::open(&target, "another").await.expect("a store") else {
            panic!("nobody holds it")
        };
        assert!(lasts(&another).await.is_empty(), "a source has its own");
        assert_eq!(another.ask_scheduled(loan, time(900), &request).await.expect("an answer"), None);
    }

    async fn a_run_and_the_note_that_it_was_asked_for_are_stored_together(version: Version) {
        let postgres = server(version).await;
        let store = open(&postgres.url()).await;
        store.begin_schedule("loan", time(100)).await.expect("to begin");
        postgres.execute("alter table rowcall.run add constraint no check (origin <> 'schedule')").await;
        let request = RunRequest { origin: "schedule".into(), ..ask(RunKind::Prune, Some("loan")) };
        let error = store.ask_scheduled("loan", time(200), &request).await.expect_err("it is refused");
        assert!(error.to_string().contains("asking for a scheduled run"), "{error}");
        assert_eq!(lasts(&store).await["loan"], time(100), "it asks again");
        postgres.execute("alter table rowcall.run drop constraint no").await;
        assert!(store.ask_scheduled("loan", time(200), &request).await.expect("an answer").is_some());
    }

    async fn runs_that_were_over_long_ago_are_forgotten(version: Version) {
        let postgres = server(version).await;
        let store = open(&postgres.url()).await;
        let over = |source: &str, origin: &str, days: i64, count: u32| {
            let ago = SignedDuration::from_hours(24 * days).as_secs();
            format!(
                "insert into rowcall.run (source, kind, entity, origin, state, finished_at)
                 select '{source}', 'snapshot', 'loan', '{origin}', 'cancelled', now() - {ago} * interval '1 second'
                 from generate_series(1, {count})"
            )
        };
        for sql in [
            over("main", "command", 31, 2),
            over("main", "initial", 31, 1),
            over("another", "command", 31, 1),
            over("main", "schedule", 29, 2),
            "insert into rowcall.run (source, kind, origin, requested_at)
             values ('main', 'prune', 'command', now() - interval '1 year')"
                .to_owned(),
        ] {
            postgres.execute(&sql).await;
        }
        let left = "select string_agg(concat_ws(' ', source, origin, state), ', ' order by id) from rowcall.run";
        assert_eq!(store.forget_runs().await.expect("an answer"), 2);
        let expected = "main initial cancelled, another command cancelled, main schedule cancelled, \
            main schedule cancelled, main command requested";
        assert_eq!(postgres.text(left).await.as_deref(), Some(expected));
        // And of the young ones all but the newest thousand.
        postgres.execute(&over("main", "command", 0, 1_000)).await;
        assert_eq!(store.forget_runs().await.expect("an answer"), 2);
        let counted = "select concat_ws(' ', count(*), min(origin)) from rowcall.run where source = 'main'
            and finished_at is not null and origin <> 'initial'";
        assert_eq!(postgres.text(counted).await.as_deref(), Some("1000 command"));
        assert_eq!(store.forget_runs().await.expect("an answer"), 0);
    }
}
