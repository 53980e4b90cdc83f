//! Rows that change while they are audited: nothing is said of a row that is only on its way.

use super::{ENTITY, TABLE, found, patch};
use crate::harness::{Live, Service, Version, each_version, eventually, wait::LONG};
use rowcall::{
    app::App,
    audit::{Kind, Pacing},
    config::load,
    demo::{Fault, Rule},
    synchronize::Classes,
};
use std::time::Duration;

/// The rows are at the bank, and a service is at work.
async fn in_step(version: Version) -> (Live, Service) {
    let live = Live::new(version, TABLE, ENTITY).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let service = live.run();
    live.after(&[]).await;
    (live, service)
}

/// Waits until so many requests are held or were.
async fn held(live: &Live, times: u64) {
    eventually("a request is held", LONG, async || {
        let faults = live.bank.stats().faults;
        if faults >= times { Ok(()) } else { Err(faults) }
    })
    .await;
}

/// Waits for so many requests, counted from `before`.
async fn asked(live: &Live, before: u64, times: u64) {
    eventually("objects are asked for", LONG, async || {
        let asked = live.bank.stats().requests - before;
        if asked >= times { Ok(()) } else { Err(asked) }
    })
    .await;
}

fn hold(live: &Live, method: &str, path: &str) {
    live.bank.faults().add(Rule::new(Fault::Hold).method(method).path(path));
}

/// What an audit says that was started before.
async fn said(audit: Service) -> (Option<i32>, Vec<String>, String) {
    let stdout = audit.stdout_path();
    let (status, stderr) = audit.end().await;
    let stdout = std::fs::read_to_string(stdout).expect("what it said");
    (status.code(), found(&stdout), stderr)
}

each_version! {
    async fn what_the_remote_is_not_told_yet_is_looked_at_again_once_it_is(version: Version) {
        let (live, service) = in_step(version).await;
        hold(&live, "PUT", "/objects/c/");
        live.postgres
            .execute("update customers set name = 'late' where id = 5; insert into customers values (0, 'new', 1, 'Rome')")
            .await;
        held(&live, 2).await;
        patch(&live.bank, "/objects/c/2", r#"{"name": "other"}"#).await;
        let before = live.bank.stats().requests;
        let audit = live.rowcall.start(&["audit", "--json"]);
        // The first piece has 200 rows, one of which is not to be sent.
        asked(&live, before, 199).await;
        live.bank.faults().clear();
        let (code, found, stderr) = said(audit).await;
        assert_eq!((code, found), (Some(1), vec!["2 different".to_owned()]), "{stderr}");
        service.sigkill().await;
    }
}

#[tokio::test]
async fn a_row_that_is_deleted_meanwhile_is_neither_missing_nor_extra() {
    let (live, service) = in_step(Version::V16).await;
    // One between the reading of its row and the question for its object.
    hold(&live, "GET", "/objects/c/5");
    let audit = live.rowcall.start(&["audit", "--json"]);
    held(&live, 1).await;
    live.after(&["delete from customers where id = 5"]).await;
    live.bank.faults().clear();
    assert_eq!(said(audit).await, (Some(0), vec![], said_of(450, 448)));
    // And one whose object is still there when its row is gone.
    let times = live.bank.stats().faults;
    hold(&live, "DELETE", "/objects/c/450");
    live.postgres.execute("delete from customers where id = 450").await;
    held(&live, times + 1).await;
    let before = live.bank.stats().requests;
    let audit = live.rowcall.start(&["audit", "--json"]);
    asked(&live, before, 447 + 1).await;
    live.bank.faults().clear();
    assert_eq!(said(audit).await, (Some(0), vec![], said_of(448, 448)));
    service.sigkill().await;
}

fn said_of(rows: u32, links: u32) -> String {
    format!("{rows} rows and {links} links looked at: all agree; 1 not to be sent\n")
}

#[tokio::test]
async fn a_row_that_keeps_changing_is_counted_and_one_that_stands_still_is_reported() {
    let three = "create table customers (id int primary key, name text, credit numeric, city text);
        insert into customers select i, 'name ' || i, 1, 'Rome' from generate_series(1, 3) i";
    // Nothing that is sent is what is expected.
    let never = ENTITY.replace("expect: { name: '{{ row.name }}'", "expect: { name: 'not {{ row.name }}'");
    let live = Live::new(Version::V16, three, &never).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    let service = live.run();
    live.after(&[]).await;
    // It is asked for once, and then up to three times.
    for (changes, expected, changing) in [
        (4, &["1 different", "3 different"][..], true),
        (3, &["1 different", "2 different", "3 different"], false),
    ] {
        let before = live.bank.stats().faults;
        hold(&live, "GET", "/objects/c/2");
        let audit = live.rowcall.start(&["audit", "--json"]);
        for change in 1..=changes {
            held(&live, before + change).await;
            live.postgres.execute("update customers set name = name || '.' where id = 2").await;
            live.bank.faults().clear();
            if change < changes {
                hold(&live, "GET", "/objects/c/2");
            }
        }
        let (code, found, stderr) = said(audit).await;
        assert!(code == Some(1) && found == expected, "{found:?}\n{stderr}");
        assert_eq!(stderr.contains("; 1 kept changing"), changing, "{stderr}");
    }
    service.sigkill().await;
}

#[tokio::test]
async fn what_the_service_does_not_come_to_in_time_is_behind_and_not_said_to_differ() {
    let (live, service) = in_step(Version::V16).await;
    hold(&live, "PUT", "/objects/c/5");
    live.postgres.execute("update customers set name = 'late' where id = 5").await;
    held(&live, 1).await;
    // The service may be on its way to these as well, as far as anyone can see.
    patch(&live.bank, "/objects/c/2", r#"{"name": "other"}"#).await;
    patch(&live.bank, "/objects/c/300", r#"{"name": "other"}"#).await;
    let patient = Pacing::default();
    let hasty = Pacing { patience: Duration::from_millis(100), ..patient };
    let late = [("2", Kind::Behind), ("300", Kind::Behind), ("5", Kind::Behind)];
    assert_eq!(audited(&live, hasty).await, late.map(|(key, kind)| (key.to_owned(), kind)));
    live.bank.faults().clear();
    let different = [("2", Kind::Different), ("300", Kind::Different)];
    assert_eq!(audited(&live, patient).await, different.map(|(key, kind)| (key.to_owned(), kind)));
    service.sigkill().await;
}

async fn audited(live: &Live, pacing: Pacing) -> Vec<(String, Kind)> {
    let loaded = load(&live.rowcall.config(), &|_| None).expect("the configuration");
    let audit = App::new(loaded, Classes::standard()).audit(&[], pacing).await.expect("an audit");
    let mut found = Vec::new();
    for mut auditor in audit.auditors {
        while let Some(findings) = auditor.next().await.expect("findings") {
            found.extend(findings.into_iter().map(|it| (it.key, it.finding)));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}
