//! Rows of a run: the middle of a piece.

use super::{LOAN, each_key_once, equal, gives, key, told, versions};
use crate::harness::{Live, Version, each_version, eventually, wait::LONG};
use rowcall::demo::{Effect, Entry};
use std::collections::{HashMap, HashSet};

const ROWS: &str = "create table loans (id int primary key, version int not null);
    insert into loans select i, 1 from generate_series(1, 700) i";

const DONE: &str = "select string_agg(state, ' ') from rowcall.run";
/// How many rows were read, and how many have come to something.
const COUNTS: &str = "select concat_ws(' ', read, applied + skipped + parked) from rowcall.run";

fn created(journal: &[Entry]) -> usize {
    journal.iter().filter(|it| told(it) == "Applied create").count()
}

each_version! {
    async fn in_the_middle_of_a_piece_its_rows_are_sent_again_under_their_keys(version: Version) {
        let live = Live::new(version, ROWS, &format!("{LOAN}\n    initial: true")).await;
        live.rowcall.run_until("mid-chunk:130").killed().await;
        let before: HashSet<String> = live.bank.journal().iter().map(|it| key(it).to_owned()).collect();
        assert!((130..500).contains(&before.len()), "{}", before.len());
        let service = live.run();
        gives(&live, DONE, "done").await;
        let journal = live.bank.journal();
        each_key_once(&journal);
        let again: HashSet<String> =
            journal.iter().filter(|it| it.effect == Effect::Duplicate).map(|it| key(it).to_owned()).collect();
        assert!(!again.is_empty() && again.is_subset(&before), "what was in doubt, and only that");
        assert_eq!(created(&journal), 700, "each row once; what is linked by then is updated");
        assert_eq!(live.bank.stats().mismatched, 0);
        assert_eq!(live.postgres.text(COUNTS).await.as_deref(), Some("700 700"), "each row is counted once");
        equal(&live).await;
        live.after(&["update loans set version = 2"]).await;
        equal(&live).await;
        service.sigkill().await;
    }

    async fn what_changes_while_a_piece_is_in_doubt_comes_behind_it(version: Version) {
        let live = Live::new(version, ROWS, &format!("{LOAN}\n    initial: true")).await;
        live.rowcall.run_until("mid-chunk:130").killed().await;
        live.postgres
            .execute("update loans set version = 2 where id % 7 = 0; insert into loans select i, 1 from generate_series(701, 720) i")
            .await;
        live.postgres.execute("update loans set version = 3 where id % 14 = 0").await;
        let service = live.run();
        gives(&live, DONE, "done").await;
        live.after(&[]).await;
        let journal = live.bank.journal();
        each_key_once(&journal);
        let mut newest = HashMap::new();
        for told in versions(&journal) {
            let (loan, version) = told.split_once(' ').expect("both");
            let version: i64 = version.parse().expect("a number");
            let before = newest.insert(loan.to_owned(), version).unwrap_or(0);
            assert!(before <= version, "loan {loan} was told version {version} after {before}");
        }
        equal(&live).await;
        service.sigkill().await;
    }
}

#[tokio::test]
async fn after_the_settlement_of_a_part_of_a_piece_nothing_is_created_twice() {
    let live = Live::new(Version::V16, ROWS, &format!("{LOAN}\n    initial: true")).await;
    live.rowcall.run_until("after-settle").killed().await;
    let linked = live.postgres.text("select count(*) from rowcall.link").await.expect("a count");
    assert!((1..500).contains(&linked.parse::<u32>().expect("a number")), "{linked}");
    let service = live.run();
    gives(&live, DONE, "done").await;
    each_key_once(&live.bank.journal());
    assert_eq!(live.postgres.text(COUNTS).await.as_deref(), Some("700 700"));
    equal(&live).await;
    service.sigkill().await;
}

/// It goes on behind the last piece that was settled, however often it is killed.
#[tokio::test]
async fn a_run_that_is_killed_in_every_piece_comes_to_its_end() {
    let live = Live::new(Version::V16, ROWS, LOAN).await;
    let few = ["snapshot", "--entity", "loan", "--where", "id <= 240", "--rate", "60"];
    let mut life = live.rowcall.start_until(&few, "mid-chunk:70");
    let (mut journal, mut settled, mut kills) = (Vec::new(), 0, 0);
    loop {
        let killed = eventually("it is killed, or the run is done", LONG, async || {
            match (life.ended(), live.postgres.text(DONE).await.as_deref()) {
                (Some(_), _) => Ok(true),
                (None, Some("done")) => Ok(false),
                (None, state) => Err(state.map(str::to_owned)),
            }
        })
        .await;
        let told = live.bank.take_journal();
        let again = told.iter().filter(|it| it.body()["ref"].as_i64().is_none_or(|id| id <= settled));
        assert_eq!(again.count(), 0, "the first {settled} were settled: {told:#?}");
        journal.extend(told);
        if !killed {
            break;
        }
        life.killed().await;
        kills += 1;
        let cursor = "select coalesce(cursor #>> '{after,0}', '0') from rowcall.run";
        settled = live.postgres.text(cursor).await.and_then(|it| it.parse().ok()).expect("a key");
        life = live.rowcall.run_until("mid-chunk:70");
    }
    assert!(kills >= 2, "{kills}");
    each_key_once(&journal);
    assert_eq!(created(&journal), 240);
    live.postgres.execute("delete from loans where id > 240").await;
    equal(&live).await;
    life.sigkill().await;
}

#[tokio::test]
async fn a_prune_that_is_killed_deletes_each_object_once() {
    let table = "create table loans (id int primary key, version int not null);
        insert into loans select i, 1 from generate_series(1, 10) i";
    let live = Live::new(Version::V16, table, LOAN).await;
    live.rowcall.command(&["snapshot"]).await.expect_code(0);
    // Behind the stream's back.
    live.postgres
        .execute(
            "set session_replication_role = replica; delete from loans where id <= 5;
             select pg_replication_slot_advance('rowcall', pg_current_wal_lsn())",
        )
        .await;
    live.postgres.execute("update rowcall.checkpoint set lsn = pg_current_wal_lsn()").await;
    // Five rows are as they were told; of the deletes it is the third.
    live.rowcall.start_until(&["snapshot", "--prune", "--yes"], "mid-chunk:8").killed().await;
    let service = live.run();
    gives(&live, DONE, "done done done").await;
    let journal = live.bank.journal();
    each_key_once(&journal);
    let gone = journal.iter().filter(|it| it.effect == Effect::Applied && &*it.method == "DELETE");
    assert_eq!(gone.count(), 5);
    equal(&live).await;
    service.sigkill().await;
}
