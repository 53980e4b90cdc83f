//! One transaction of very many rows, in which the service is killed and the database crashes.
//!
//! `ROWCALL_ROWS=2000000 scripts/test faults::large` does it with two million rows, as `scripts/faults` does.

use crate::{
    harness::{Live, Version, eventually},
    memory::{BOUND_KB, ENTITY, peak_kb, rows},
    world::{Seed, oracle::keys_not_once},
};
use rowcall::demo::{Dice, Effect};
use std::time::Duration;

/// It is read from its start again and again; what of it has been applied is not applied again.
#[tokio::test]
async fn a_transaction_of_many_rows_arrives_once_whoever_dies_in_it() {
    let (seed, rows) = (Seed::new(), rows());
    let mut dice = Dice::new(seed.0);
    let table = "create table rows (id bigint primary key, text text not null)";
    let mut live = Live::new(Version::V16, table, ENTITY).await;
    live.reconfigure(|yaml| yaml + "limits: { memory: 8MiB }\n");
    let calls = rows / 100;
    live.postgres
        .execute(&format!(
            "insert into rows select i, repeat(md5(i::text), 16) from generate_series(1, {rows}) i"
        ))
        .await;
    let within = Duration::from_secs(60 + rows / 2_000);
    for crash in [false, true, false] {
        let service = live.run();
        let more = live.bank.stats().requests + 1 + dice.below(calls / 4);
        eventually(&format!("{more} requests; {seed}"), within, async || {
            let seen = live.bank.stats().requests;
            if seen >= more { Ok(()) } else { Err(seen) }
        })
        .await;
        let peak = service.pid().and_then(peak_kb).expect("it runs");
        assert!(peak < BOUND_KB, "{} MB; {seed}", peak / 1024);
        if crash {
            live.postgres.stop_immediate().await;
            live.postgres.start_again().await;
        }
        service.sigkill().await;
    }
    let service = live.run();
    live.after(&[]).await;
    live.acknowledged().await;
    assert!(live.parked().await.is_empty(), "{seed}");
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0), "{seed}");
    let journal = live.bank.journal();
    assert_eq!(keys_not_once(&journal), [] as [String; 0], "{seed}");
    let applied = journal.iter().filter(|it| it.effect == Effect::Applied);
    let mut applied: Vec<&str> = applied.map(|it| &*it.path).collect();
    applied.sort_unstable();
    let mut expected: Vec<String> = (1..=calls).map(|it| format!("/objects/row/{}", it * 100)).collect();
    expected.sort_unstable();
    assert_eq!(applied, expected, "{seed}");
}
