//! The database is not the one it was: an older copy of its files, or a promoted standby (invariant 8). Where
//! that can be known it is said before anything is skipped.
//!
//! What cannot be known: an older copy whose state is a part of it, or that has written past the checkpoint
//! before the service looks, is the same database to all that can be seen of it.

use crate::harness::{Live, Postgres, Version, eventually, live::line, postgres::Stop, settled, wait::LONG};
use std::{path::Path, process::Command};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let done = Command::new(program).args(arguments).args(paths).status();
    assert!(done.is_ok_and(|it| it.success()), "{program} {paths:?}");
}

/// Keeps the files of the server as they are now.
async fn keep_copy(postgres: &mut Postgres) {
    let data = postgres.data().expect("a server of this machine");
    postgres.stop(Stop::Fast).await;
    run("cp", &["-a", "--reflink=auto"], &[&data, &data.with_extension("kept")]);
    postgres.start_again().await;
}

/// Puts the files back that were kept.
async fn put_back(postgres: &mut Postgres) {
    let data = postgres.data().expect("a server of this machine");
    postgres.stop(Stop::Fast).await;
    run("rm", &["-rf"], &[&data]);
    run("mv", &[], &[&data.with_extension("kept"), &data]);
    postgres.start_again().await;
}

/// Runs a service of its own until this is at the bank, and ends it in good order.
async fn brings(live: &Live, statement: &str, call: &str) {
    let service = live.run();
    live.postgres.execute(statement).await;
    assert_eq!(live.calls_made(1).await, [call]);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// What the slot still has is sent. A server keeps in memory only how far its slot was acknowledged last, so
/// that the first one may be among it again.
async fn has_brought_two_and_three(live: &Live) {
    let wanted = ["PUT /objects/c/2 {}", "PUT /objects/c/3 {}"].map(str::to_owned);
    eventually("both are brought", LONG, async || {
        let mut calls: Vec<String> = live.bank.journal().iter().map(line).collect();
        calls.retain(|it| it != "PUT /objects/c/1 {}");
        calls.sort();
        if calls == wanted { Ok(()) } else { Err(calls) }
    })
    .await;
}

/// An older copy, on which the second and the third row are written, and the state of later elsewhere, so that
/// it knows of positions that the copy has not come to; `None` if the files are out of reach.
async fn older_copy(state: &Postgres) -> Option<Live> {
    let mut live = Live::new(Version::V16, TABLE, ENTITY).await;
    if live.postgres.data().is_none() {
        eprintln!("the files of a server in a container are out of reach");
        return None;
    }
    let elsewhere = format!("heartbeat: 50ms, state: {{ url: \"{}\" }}", state.url());
    live.reconfigure(|yaml| yaml.replace("heartbeat: 50ms", &elsewhere));
    live.rowcall.command(&["init"]).await.expect_code(0);
    brings(&live, "insert into customers values (1)", "PUT /objects/c/1 {}").await;
    keep_copy(&mut live.postgres).await;
    // So much that what is written to the copy does not come as far.
    live.postgres.execute("select pg_logical_emit_message(true, 'test', repeat('x', 1000000))").await;
    brings(&live, "insert into customers values (2)", "PUT /objects/c/2 {}").await;

    put_back(&mut live.postgres).await;
    live.postgres.execute("insert into customers values (2), (3)").await;
    Some(live)
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_noticed_by_the_state_that_is_not_in_it() {
    let state = Postgres::start(Version::V16).await;
    let Some(live) = older_copy(&state).await else { return };
    let (status, said) = live.run().end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    for part in ["restored from an older copy", "`rowcall init --rebind`", "could skip changes"] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    assert!(live.calls().is_empty());
    // Plain `init` decides nothing.
    live.rowcall.command(&["init"]).await.expect_code(0);
    assert_eq!(live.run().end().await.0.code(), Some(1));
    // What the lost time's positions were known by does not make what comes now look old.
    live.rowcall.command(&["init", "--rebind"]).await.expect_code(0);
    let service = live.run();
    has_brought_two_and_three(&live).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// If nobody looked, the server would leave out what is before the checkpoint.
#[tokio::test]
async fn an_older_copy_that_is_not_noticed_would_lose_changes() {
    let state = Postgres::start(Version::V16).await;
    let Some(mut live) = older_copy(&state).await else { return };
    live.rowcall.environment("ROWCALL_BREAK", "unbound");
    let service = live.run();
    live.postgres.execute("select pg_logical_emit_message(true, 'test', repeat('x', 1100000))").await;
    live.postgres.execute("insert into customers values (4)").await;
    assert_eq!(live.calls_made(1).await, ["PUT /objects/c/4 {}"]);
    service.sigkill().await;
}

/// The state is a part of the copy, and so goes back with it.
#[tokio::test]
async fn an_older_copy_with_the_state_in_it_goes_on_from_where_it_was() {
    let mut live = Live::new(Version::V16, TABLE, ENTITY).await;
    if live.postgres.data().is_none() {
        return eprintln!("the files of a server in a container are out of reach");
    }
    live.after_start("insert into customers values (1)").await;
    keep_copy(&mut live.postgres).await;
    live.after_start("insert into customers values (2)").await;
    live.calls();
    put_back(&mut live.postgres).await;
    // Other positions than those of the lost time: call keys are made of them.
    live.postgres.execute("select pg_logical_emit_message(true, 'test', repeat('x', 100000))").await;
    let service = live.run();
    live.after(&["insert into customers values (3)", "insert into customers values (2)"]).await;
    let mut calls = live.calls();
    calls.sort();
    assert_eq!(calls, ["PUT /objects/c/2 {}", "PUT /objects/c/3 {}"], "and nothing of before");
    assert_eq!(live.bank.stats().mismatched, 0);
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_promoted_standby_is_refused_until_a_person_decides() {
    let mut live = Live::new(Version::V16, TABLE, ENTITY).await;
    let Some(data) = live.postgres.data() else {
        return eprintln!("the files of a server in a container are out of reach");
    };
    live.after_start("insert into customers values (1)").await;
    live.calls();
    let service = live.run();
    settled(&live.postgres).await;
    live.postgres.stop(Stop::Fast).await;
    std::fs::write(data.join("standby.signal"), "").expect("to make it a standby");
    std::os::unix::fs::chown(data.join("standby.signal"), owner(&data).0, owner(&data).1).expect("its owner");
    live.postgres.start_again().await;
    live.postgres.execute("select pg_promote()").await;
    eventually("it takes writes", LONG, async || {
        live.postgres.client().await.batch_execute("insert into customers values (2)").await
    })
    .await;
    let (status, said) = service.end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    for part in ["timeline 2, was on 1", "failed over or restored", "`rowcall init --rebind`"] {
        assert!(said.contains(part), "no `{part}` in: {said}");
    }
    assert!(live.calls().is_empty());
    live.rowcall.command(&["init", "--rebind"]).await.expect_code(0);
    let service = live.run();
    live.postgres.execute("insert into customers values (3)").await;
    has_brought_two_and_three(&live).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

fn owner(path: &Path) -> (Option<u32>, Option<u32>) {
    use std::os::unix::fs::MetadataExt;
    let is = std::fs::metadata(path).expect("the directory");
    (Some(is.uid()), Some(is.gid()))
}
