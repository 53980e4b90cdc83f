//! Everything that can go wrong, at once and by chance: the fault suite. What each fault is in itself is
//! tested where it belongs; here they come together, and the same must hold (invariants 1 to 5).
//!
//! A run prints its seed and what it did when. `scripts/faults --minutes N --seed S` runs longer ones.

mod breaks;
mod ddl;
mod restored;
mod slots;
mod storm;
mod trouble;
mod watch;

use crate::{harness::Version, world::Seed};
use storm::Storm;

/// How many troubles a storm has.
fn troubles() -> u32 {
    std::env::var("ROWCALL_TROUBLES").map_or(16, |it| it.parse().expect("ROWCALL_TROUBLES is a number"))
}

#[tokio::test]
async fn nothing_is_lost_repeated_or_reordered_in_a_storm() {
    let seed = Seed::new();
    let mut storm = Storm::new(Version::V16, &seed, |yaml| yaml).await;
    storm.rage(troubles()).await;
    storm.calm().await;
    storm.each_version_once_and_in_order().await;
}
