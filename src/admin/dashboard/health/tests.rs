use super::*;
use crate::{
    admin::view::{CallLogLine, Lag, SourceLine},
    model::{Halt, HaltOf, Lsn, ParkReason, ParkedState},
    state::postgres::{InstanceStatus, ParkedCount, RemoteStatus, RouteStatus, SourceStatus},
};
use serde_json::json;

pub(in crate::admin::dashboard) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

pub(in crate::admin::dashboard) fn well() -> Status {
    let instance =
        InstanceStatus { name: "host:1".to_owned(), state: "running".to_owned(), alive: true, since: at(0) };
    let state = SourceStatus {
        source: "main".to_owned(),
        checkpoint: Lsn::new(100),
        settled_commit_at: Some(at(0)),
        slot: "rowcall".to_owned(),
        received: Some(Lsn::new(100)),
        lag_seconds: 0.0,
        instance: Some(instance),
    };
    let source = SourceLine {
        source: "main".to_owned(),
        state: Some(state),
        lag_bytes: Some(0),
        lag: Lag::default(),
        kept_bytes: Some(4_096),
        wal_status: Some("reserved".to_owned()),
        safe_bytes: None,
        danger: None,
        problem: None,
    };
    let remote = RemoteStatus {
        remote: "bank".to_owned(),
        source: "main".to_owned(),
        gate: "ready".to_owned(),
        since: None,
        until: None,
        why: None,
        quota_limit: None,
        quota_left: None,
        width: 16,
        concurrency: 16,
        in_flight: 3,
        waiting: 0,
        token_since: None,
        token_until: None,
    };
    Status {
        sources: vec![source],
        halts: vec![],
        remotes: vec![remote],
        call_logs: vec![],
        routes: vec![quiet("customer"), quiet("loan")],
        runs: vec![],
        schedules: vec![],
        read_at: Some(at(100)),
    }
}

pub(in crate::admin::dashboard) fn quiet(name: &str) -> RouteStatus {
    RouteStatus {
        route: name.to_owned(),
        source: "main".to_owned(),
        applied: 1_200,
        skipped: 3,
        parked: 0,
        in_flight: 0,
        backing_off: 0,
        parked_by: vec![],
        to_write_back: 0,
        write_back_error: None,
        last_error: None,
        last_error_at: None,
    }
}

pub(in crate::admin::dashboard) fn settings() -> Value {
    json!({ "entities": { "customer": { "remotes": ["bank"] }, "loan": { "remotes": ["bank"] } } })
}

fn told(status: &Status) -> (Health, String, Vec<Trouble>) {
    let troubles = troubles(status, &settings(), at(100));
    let (health, sentence) = headline(status, &troubles);
    (health, sentence, troubles)
}

#[test]
fn when_nothing_is_wrong_that_is_all_there_is_to_say() {
    assert_eq!(told(&well()), (Health::Well, "Everything is in step".to_owned(), vec![]));
}

#[test]
fn an_open_breaker_names_the_remote_the_routes_and_when_it_tries_again() {
    let mut status = well();
    status.remotes[0].gate = "open".to_owned();
    (status.remotes[0].since, status.remotes[0].until) = (Some(at(40)), Some(at(112)));
    status.remotes[0].why = Some("step `put`: PUT /x was answered with 503".to_owned());
    status.routes[1].in_flight = 4;
    let (health, sentence, troubles) = told(&status);
    assert_eq!(health, Health::Stuck);
    assert_eq!(sentence, "1 remote is stuck: bank; 1 route is stuck: loan");
    let route = troubles.iter().find(|it| it.what == "route loan").expect("the route that waits");
    assert_eq!(
        route.reason,
        "Blocked by the breaker of bank: step `put`: PUT /x was answered with 503. One call tries again in 12 s."
    );
    assert_eq!(route.since, Some(at(40)));
    let merged = merged(troubles);
    assert_eq!(
        (merged.len(), merged[0].what.as_str()),
        (1, "remote bank, route loan"),
        "one reason, said once"
    );
}

#[test]
fn what_waits_for_a_person_comes_with_the_way_to_it() {
    let mut status = well();
    let route = &mut status.routes[0];
    route.parked = 12;
    let count = |state, reason, count| ParkedCount { state: Some(state), reason: Some(reason), count };
    route.parked_by = vec![
        count(ParkedState::Rejected, ParkReason::Refused, 3),
        count(ParkedState::Retrying, ParkReason::Timeout, 9),
    ];
    let (health, sentence, troubles) = told(&status);
    assert_eq!((health, sentence.as_str()), (Health::Behind, "1 route is behind: customer"));
    assert!(
        troubles[0].reason.starts_with("3 changes wait for a person: 3 rejected, 0 given up (3 refused).")
    );
    assert_eq!(troubles[0].cure.as_ref().map(|it| it.href.as_str()), Some("/parked?route=customer"));
}

#[test]
fn a_pause_names_who_and_why_and_how_to_end_it() {
    let mut status = well();
    status.halts = vec![Halt {
        what: HaltOf::Route,
        name: "loan".to_owned(),
        since: at(10),
        who: "token".to_owned(),
        reason: Some("the bank moves".to_owned()),
    }];
    let (_, sentence, troubles) = told(&status);
    assert_eq!(sentence, "1 route is paused: loan");
    assert_eq!(troubles[0].reason, "Paused by token: the bank moves.");
    assert_eq!(troubles[0].cure.as_ref().map(|it| it.href.as_str()), Some("/do/routes.resume?route=loan"));
}

#[test]
fn a_source_that_nobody_works_on_is_stuck() {
    let mut status = well();
    if let Some(instance) = status.sources[0].state.as_mut().and_then(|it| it.instance.as_mut()) {
        instance.alive = false;
    }
    let (health, sentence, troubles) = told(&status);
    assert_eq!((health, sentence.as_str()), (Health::Stuck, "1 source is stuck: main"));
    assert!(troubles[0].reason.contains("has not been heard of lately"));
    status.sources[0].state = None;
    assert!(told(&status).2[0].reason.starts_with("It was never started"));
}

#[test]
fn a_log_of_calls_says_apart_what_is_in_its_way_and_what_waits_for_it() {
    let trouble = |error: &str| json!({ "seconds": 1.0, "since": "1970-01-01T00:00:01Z", "error": error });
    let log = json!({
        "goes_to": "RabbitMQ", "written": 9, "sent": 0, "dropped": 0, "refused": 0, "memory_bytes": 0,
        "held": 16, "trouble": trouble("away"),
        "spool": { "bytes": 1, "records": 1, "max": 2, "trouble": trouble("the disk is full") },
    });
    let mut status = well();
    let log = serde_json::from_value(log).expect("a log of calls");
    status.call_logs = vec![CallLogLine { source: "main".to_owned(), status: log }];
    let (health, _, troubles) = told(&status);
    assert_eq!(health, Health::Behind);
    let reasons: Vec<&str> = troubles.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "Records are not taken by RabbitMQ: away",
            "The spool does not work: the disk is full",
            "16 calls wait until there is room for what is recorded of them."
        ]
    );
}

#[test]
fn a_route_knows_its_remote_also_where_an_entity_has_several() {
    let settings = json!({ "entities": { "loan": { "remotes": ["a", "b"] }, "x.y": { "remotes": ["c"] } } });
    for (route, remote) in [("loan.b", Some("b")), ("x.y", Some("c")), ("none", None)] {
        assert_eq!(remote_of(&settings, route).as_deref(), remote, "{route}");
    }
}
