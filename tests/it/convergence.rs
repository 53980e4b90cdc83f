//! Whatever is written, and however often the service is killed in the middle: in the end the
//! bank equals the database, every committed version of every row arrived exactly once, and a
//! row's versions arrived in order (invariants 1 to 3).
//!
//! `ROWCALL_SEED=… scripts/test convergence::` makes a failed run's choices again;
//! `ROWCALL_ROUNDS` makes it longer, `ROWCALL_CUSTOMERS` gives it larger tables.

mod again;

use crate::{
    harness::{each_version, eventually, wait::LONG},
    world::{
        Seed, World, dependent,
        oracle::{applied, never_committed, not_once, out_of_order},
        write,
    },
};
use rowcall::demo::{Dice, Fault, Rule, world::Writer};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

each_version! {
    async fn a_killed_service_loses_repeats_and_reorders_nothing(version: Version) {
        converges_exactly(version, End::Killed).await;
    }
}

#[tokio::test]
async fn a_service_stopped_in_order_loses_repeats_and_reorders_nothing() {
    converges_exactly(crate::harness::Version::V16, End::InOrder).await;
}

async fn converges_exactly(version: crate::harness::Version, end: End) {
    let seed = Seed::new();
    let world = World::new(version, |yaml| yaml).await;
    world.survive(end, &seed).await;
    world.equal(&seed).await;
    let (writes, history) = (applied(&world.bank.journal()), world.history().await);
    assert!(history.len() > 200, "only {} versions were written; {seed}", history.len());
    assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
    assert_eq!(not_once(&writes, &history), [""; 0], "{seed}");
    assert_eq!(world.bank.stats().mismatched, 0, "a key came back with another request; {seed}");
}

#[tokio::test]
async fn a_service_that_coalesces_and_is_stopped_in_order_converges() {
    converges_coalescing(End::InOrder).await;
}

#[tokio::test]
async fn a_killed_service_that_coalesces_converges() {
    converges_coalescing(End::Killed).await;
}

/// Coalescing leaves versions out, so that only the end can be held against the database.
async fn converges_coalescing(end: End) {
    let seed = Seed::new();
    let coalescing =
        |yaml: String| yaml.replace("    remote: bank\n", "    remote: bank\n    coalesce: true\n");
    let world = World::new(crate::harness::Version::V16, coalescing).await;
    world.survive(end, &seed).await;
    world.equal(&seed).await;
    let committed: BTreeSet<_> = world.history().await.into_iter().collect();
    assert_eq!(never_committed(&applied(&world.bank.journal()), &committed), [""; 0], "{seed}");
}

/// A change whose row is deleted or goes on before its parent comes is left out, so that only the end can be
/// held against the database, and that the bank never had to refuse what came too early or too late.
#[tokio::test]
async fn a_killed_service_with_dependencies_converges_in_the_order_of_parents() {
    let seed = Seed::new();
    let world = World::new(crate::harness::Version::V16, dependent).await;
    world.bank.relate("/loans", "customer", "/customers");
    world.survive(End::Killed, &seed).await;
    world.equal(&seed).await;
    assert_eq!(world.bank.out_of_order(), [], "{seed}");
    let writes = applied(&world.bank.journal());
    assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
    let committed: BTreeSet<_> = world.history().await.into_iter().collect();
    assert_eq!(never_committed(&writes, &committed), [""; 0], "{seed}");
}

each_version! {
    /// A row that is read may leave versions out, so that only the end can be held against the database;
    /// that nothing older came after something newer; and that nothing was created twice.
    async fn a_killed_service_brings_what_was_there_and_keeps_up_with_what_changes(version: Version) {
        let seed = Seed::new();
        let initial = |yaml: String| yaml.replace("    remote: bank\n", "    remote: bank\n    initial: true\n");
        let world = World::filled(version, customers(), initial).await;
        world.survive(End::Killed, &seed).await;
        let within = LONG + Duration::from_secs(u64::from(customers()) / 20);
        world.equal_within(within, &seed).await;
        let open = "select count(*) from rowcall.run where state <> 'done'";
        eventually("every run is done", within, async || {
            let open = world.postgres.text(open).await;
            if open.as_deref() == Some("0") { Ok(()) } else { Err(open) }
        })
        .await;
        let writes = applied(&world.bank.journal());
        assert_eq!(out_of_order(&writes), [""; 0], "{seed}");
        let committed: BTreeSet<_> = world.history().await.into_iter().collect();
        assert_eq!(never_committed(&writes, &committed), [""; 0], "{seed}");
    }
}

/// How many are there before anything is captured, with two loans and one collateral each.
fn customers() -> u32 {
    let customers = std::env::var("ROWCALL_CUSTOMERS");
    customers.map_or(400, |it| it.parse().expect("a number of customers"))
}

/// How each of the service's lives ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    InOrder,
}

impl World {
    /// Two writers write and the bank misbehaves, while the service ends again and again.
    async fn survive(&self, end: End, seed: &Seed) {
        let mut dice = Dice::new(seed.0);
        let rounds =
            std::env::var("ROWCALL_ROUNDS").map_or(12, |rounds| rounds.parse().expect("a number of rounds"));
        let faults = self.bank.faults();
        faults.add(Rule::new(Fault::DropAfter).every(17));
        faults.add(Rule::new(Fault::Status(503)).every(23));
        faults.add(Rule::new(Fault::DropBefore).every(31));
        faults.add(Rule::new(Fault::Delay(30)).every(11));
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for number in 0..2 {
            let writer = Writer::new(dice.split(), number, 2, 60);
            writers.spawn(write(writer, self.postgres.client().await, enough.clone()));
        }
        for _ in 0..rounds {
            if dice.happens(30) {
                // An outage: the breaker opens, and only its probes are lost.
                faults.add(Rule::new(Fault::DropBefore).times(8));
            }
            let mut service = self.rowcall.run();
            if dice.happens(25) {
                // At any moment of its start.
                sleep(Duration::from_millis(dice.below(400))).await;
            } else {
                let seen = self.bank.stats().requests + dice.below(150);
                eventually("the service makes calls", LONG, async || {
                    if let Some(status) = service.ended() {
                        panic!("the service ended by itself, {status}; {seed}\n{}", service.stderr());
                    }
                    let requests = self.bank.stats().requests;
                    if requests >= seen { Ok(()) } else { Err(requests) }
                })
                .await;
            }
            match end {
                End::Killed => service.sigkill().await,
                End::InOrder => {
                    service.sigterm();
                    service.wait().await;
                }
            }
        }
        enough.store(true, Ordering::Relaxed);
        while let Some(written) = writers.join_next().await {
            written.expect("a writer");
        }
        faults.clear();
    }
}
