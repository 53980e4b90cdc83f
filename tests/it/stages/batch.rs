//! Changes that share a call: some of them have their outcome, others have not. A process has batch keys of its
//! own, so what was not durable is sent again under other keys; it says then what it said before, in order.

use super::equal;
use crate::harness::{Live, Version, each_version};
use rowcall::demo::{Effect, Entry};
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = "create table loans (id int primary key, version int not null, poison text)";

/// Four rows a call, one call at a time.
async fn world(version: Version) -> Live {
    let entity = "
  loan:
    table: loans
    batch: { size: 4, within: 20ms }
    upsert:
      - name: put
        post: /batch/objects/loan
        body:
          items:
            each: { id: '{{ row.id }}', ref: '{{ row.id }}', version: '{{ row.version }}', poison: '{{ row.poison }}' }
        failed: '{{ answer.body.results[index].?error }}'";
    let live = Live::new(version, TABLE, entity).await;
    live.reconfigure(|yaml| yaml.replace("retry: {", "concurrency: 1, retry: {"));
    live
}

/// Which loans are known to be at the bank, whatever happens.
async fn durable(live: &Live) -> BTreeSet<i64> {
    let rows = live.postgres.client().await.query("select key::bigint from rowcall.link", &[]).await;
    rows.expect("the links").iter().map(|row| row.get(0)).collect()
}

/// The versions of each loan in the order in which they were applied, none twice under one key.
fn told(journal: &[Entry]) -> BTreeMap<i64, Vec<i64>> {
    let mut told: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut under = BTreeSet::new();
    for entry in journal.iter().filter(|it| it.effect == Effect::Applied) {
        let body = entry.body();
        let number = |name: &str| body[name].as_i64().unwrap_or_else(|| panic!("no {name} in {body}"));
        assert!(under.insert((entry.key.clone(), number("ref"))), "twice under one key: {entry:?}");
        told.entry(number("ref")).or_default().push(number("version"));
    }
    for (loan, versions) in &told {
        assert!(versions.is_sorted(), "loan {loan}: {versions:?}");
    }
    told
}

each_version! {
    async fn in_the_middle_of_a_batch_only_what_is_not_durable_is_sent_again(version: Version) {
        let live = world(version).await;
        let service = live.rowcall.run_until("mid-batch:6");
        live.after(&["insert into loans select i, 1 from generate_series(1, 4) i"]).await;
        live.postgres.execute("insert into loans select i, 1 from generate_series(5, 8) i").await;
        service.killed().await;
        assert_eq!(durable(&live).await, BTreeSet::from([1, 2, 3, 4]));
        live.postgres.execute("update loans set version = 2 where id % 2 = 0").await;
        let service = live.run();
        live.after(&["update loans set version = version + 1 where id = 8"]).await;
        let told = told(&live.bank.journal());
        for loan in [1, 3] {
            assert_eq!(told[&loan], [1], "it is durable, and so not sent again");
        }
        for loan in [2, 4] {
            assert_eq!(told[&loan], [1, 2]);
        }
        for loan in [5, 7] {
            assert_eq!(told[&loan], [1, 1], "sent again as it was");
        }
        assert_eq!((&told[&6][..], &told[&8][..]), (&[1, 1, 2][..], &[1, 1, 2, 3][..]));
        assert_eq!(live.bank.stats().mismatched, 0);
        equal(&live).await;
        service.sigkill().await;
    }
}

/// A row that the bank does not take has its batch sent in halves, and the first is settled.
#[tokio::test]
async fn a_batch_that_is_half_settled_goes_on_with_the_other_half() {
    let live = world(Version::V16).await;
    let service = live.rowcall.run_until("after-settle");
    live.postgres
        .execute("insert into loans select i, 1, case i when 4 then 'yes' end from generate_series(1, 4) i")
        .await;
    service.killed().await;
    let before = durable(&live).await;
    assert!(before.is_superset(&BTreeSet::from([1, 2])) && !before.contains(&4), "{before:?}");
    live.bank.take_journal();
    let service = live.run();
    live.after(&["update loans set version = 2 where id < 4"]).await;
    live.parked_as(&["loan 4 rejected refused"]).await;
    let journal = live.bank.journal();
    for (loan, versions) in told(&journal) {
        let again = if before.contains(&loan) { 0 } else { 1 };
        assert_eq!(versions.iter().filter(|it| **it == 2).count(), 1, "loan {loan}: {versions:?}");
        assert!(versions.iter().filter(|it| **it == 1).count() <= again, "loan {loan}: {versions:?}");
    }
    // It is let go on, without what was wrong with it.
    live.rowcall.command(&["parked", "discard", "--all"]).await.expect_code(0);
    live.after(&["update loans set poison = null, version = 3"]).await;
    live.parked_as(&[]).await;
    equal(&live).await;
    service.sigkill().await;
}
