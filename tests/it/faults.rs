//! Everything that can go wrong, at once and by chance: the fault suite. What each fault is in itself is
//! tested where it belongs; here they come together, and the same must hold (invariants 1 to 7).
//!
//! A run prints its seed and what it did when. `scripts/faults --minutes N --seed S` runs longer ones.

mod befall;
mod breaks;
mod ddl;
mod large;
mod log;
mod restored;
mod slots;
mod storm;
mod trouble;
mod watch;

use crate::{
    harness::Version,
    world::{Seed, dependent, oracle::unexplained},
};
use storm::{Plan, Storm};
use trouble::Sky;

/// How many troubles a storm has.
fn troubles() -> u32 {
    std::env::var("ROWCALL_TROUBLES").map_or(10, |it| it.parse().expect("ROWCALL_TROUBLES is a number"))
}

/// A storm that is over, with both sides equal.
async fn after(plan: Plan, seed: &Seed) -> Storm<'_> {
    let mut storm = Storm::new(plan, seed).await;
    storm.rage(troubles()).await;
    storm.calm().await;
    storm
}

async fn each_version_arrives_once_and_in_order(version: Version) {
    let seed = Seed::new();
    let storm = after(Plan::on(version), &seed).await;
    storm.each_version_once_and_in_order().await;
}

// On threads of their own the proxies go on while a server that ends is waited for: it may wait for what
// they carry.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_reordered_in_a_storm() {
    each_version_arrives_once_and_in_order(Version::V16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_reordered_in_a_storm_on_postgres_15() {
    each_version_arrives_once_and_in_order(Version::V15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_repeated_or_reordered_in_a_storm_on_postgres_18() {
    each_version_arrives_once_and_in_order(Version::V18).await;
}

/// Versions are left out, and after a kill what was merged comes one by one, so that only the end can be held
/// against the database. Large values that an update leaves alone are read.
#[tokio::test(flavor = "multi_thread")]
async fn what_coalesces_converges_in_a_storm() {
    let seed = Seed::new();
    let adapt = |yaml: String| {
        let yaml = yaml.replace("    remote: bank\n", "    remote: bank\n    coalesce: true\n");
        yaml.replace("    table: public.customers\n", "    table: public.customers\n    fetch: row\n")
    };
    let storm = after(Plan { adapt, ..Plan::on(Version::V15) }, &seed).await;
    storm.only_what_was_committed().await;
}

/// Changes are left out whose row is gone, or goes on, before its parent comes; all others come in order. What was
/// refused and is tried again may find its parent gone, by a delete whose answer nobody knows yet.
#[tokio::test(flavor = "multi_thread")]
async fn parents_come_before_children_in_a_storm() {
    let seed = Seed::new();
    let mut storm = Storm::new(Plan { adapt: dependent, ..Plan::on(Version::V16) }, &seed).await;
    storm.world.bank.relate("/loans", "customer", "/customers");
    storm.rage(troubles()).await;
    storm.calm().await;
    storm.only_what_was_committed().await;
    storm.in_order();
    let unexplained = unexplained(&storm.world.bank.out_of_order(), &storm.world.bank.journal());
    assert_eq!(unexplained, [], "{seed}");
}

/// A replay brings older states again, so that only the end counts: nothing older stays behind, nothing that
/// is gone comes back, and every run ends well, or fails for a table that was altered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_asked_for_in_a_storm_end_and_both_sides_are_equal() {
    let seed = Seed::new();
    let sky = Sky { runs: true, ..Sky::default() };
    after(Plan { sky, ..Plan::on(Version::V18) }, &seed).await;
}

/// Whatever befalls the broker and the store, every request has its record, and no other record is there.
#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_record_after_a_storm_of_orderly_ends() {
    let seed = Seed::new();
    let sky = Sky { logs: true, orderly: true, ..Sky::default() };
    let storm = after(Plan { sky, ..Plan::on(Version::V16) }, &seed).await;
    storm.every_request_has_its_record().await;
}

/// A kill loses the records of what was under way, but no change counts as done without its own.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_was_applied_has_a_record_after_a_storm_with_kills() {
    let seed = Seed::new();
    let sky = Sky { logs: true, ..Sky::default() };
    let storm = after(Plan { sky, ..Plan::on(Version::V16) }, &seed).await;
    storm.every_applied_call_has_a_record().await;
}
