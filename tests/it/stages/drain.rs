//! After an outage: what was put aside is being sent, and some of it has its outcome.

use super::{LOAN, TABLE, each_key_once, equal, versions};
use crate::harness::{Live, each_version, eventually, wait::LONG};
use rowcall::demo::{Effect, Fault, Rule};

const LOANS: usize = 20;

each_version! {
    async fn in_the_middle_of_a_drain_nothing_is_lost_repeated_or_overtaken(version: Version) {
        let live = Live::new(version, TABLE, LOAN).await;
        live.reconfigure(|yaml| {
            let guard = "heartbeat: 50ms, wal_guard: { bytes: 64KiB, after: 1s }";
            let yaml = yaml.replace("heartbeat: 50ms", guard);
            yaml.replace("failures: 0", "failures: 3, open: 100ms, max: 300ms")
        });
        live.bank.faults().add(Rule::new(Fault::Status(503)));
        let service = live.run();
        live.postgres.execute(&format!("insert into loans select i, 1 from generate_series(1, {LOANS}) i")).await;
        live.postgres.execute("update loans set version = 2").await;
        let parked = "select count(*) from rowcall.parked where reason in ('outage', 'behind')";
        let all = (2 * LOANS).to_string();
        eventually("all is put aside", LONG, async || {
            let seen = live.postgres.text(parked).await;
            if seen.as_ref() == Some(&all) { Ok(()) } else { Err(seen) }
        })
        .await;
        service.sigkill().await;
        live.bank.faults().clear();
        for (round, point) in ["mid-drain:5", "mid-drain:9"].into_iter().enumerate() {
            let service = live.rowcall.run_until(point);
            live.postgres.execute(&format!("update loans set version = {}", round + 3)).await;
            service.killed().await;
            assert!(live.postgres.text(parked).await != Some("0".to_owned()), "some is still parked");
        }
        let service = live.run();
        live.parked_as(&[]).await;
        live.after(&["update loans set version = 5"]).await;
        let journal = live.bank.journal();
        each_key_once(&journal);
        let expected = (1..=LOANS).flat_map(|loan| (1..=5).map(move |version| format!("{loan} {version}")));
        assert_eq!(versions(&journal), expected.collect::<Vec<_>>());
        assert!(journal.iter().any(|it| it.effect == Effect::Duplicate), "something was in doubt");
        assert_eq!(live.bank.stats().mismatched, 0);
        equal(&live).await;
        service.sigkill().await;
    }
}
