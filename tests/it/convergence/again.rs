//! The same while what was sent before is sent again. A remote sees older states by that, so only the end
//! can be held against the database: nothing older stays behind, and nothing that is gone comes back.

use super::End;
use crate::{
    harness::{
        each_version, settled,
        wait::{LONG, while_it_moves},
    },
    world::{Seed, World, dependent},
};

/// Several versions of the rows that are there, and some that come and go.
const WRITTEN: &str = "
    update customers set version = version + 1;
    update loans set version = version + 1 where id % 2 = 0;
    delete from collateral where id % 3 = 0;
    update customers set version = version + 1 where id % 3 = 0;
    update loans set version = version + 1;";

each_version! {
    async fn a_killed_service_that_sends_again_what_it_sent_converges(version: Version) {
        converges_again(version, |yaml| yaml).await;
    }
}

#[tokio::test]
async fn a_killed_service_that_sends_again_in_the_order_of_parents_converges() {
    converges_again(crate::harness::Version::V16, dependent).await;
}

async fn converges_again(version: crate::harness::Version, adapt: fn(String) -> String) {
    let seed = Seed::new();
    let world = World::new(version, adapt).await;
    world.rowcall.command(&["checkpoint", "create", "start"]).await.expect_code(0);
    for statement in WRITTEN.split(';').filter(|it| !it.trim().is_empty()) {
        world.postgres.execute(statement).await;
    }
    let service = world.rowcall.run();
    settled(&world.postgres).await;
    service.sigterm();
    service.wait().await;
    for new_keys in [true, false, true] {
        let ask = format!(
            "insert into rowcall.run (source, kind, options, origin)
             values ((select source from rowcall.checkpoint), 'replay', '{{\"from\": \"start\", \"new_keys\": {new_keys}}}', 'test')"
        );
        world.postgres.execute(&ask).await;
    }
    world.survive(End::Killed, &seed).await;
    let service = world.rowcall.run();
    let runs = "select string_agg(concat_ws(' ', id, state, read, applied, skipped, parked, error), ', ' order by id) from rowcall.run";
    while_it_moves(&format!("every replay is done; {seed}"), LONG, async || {
        let open = world.postgres.text("select count(*) from rowcall.run where state <> 'done'").await;
        if open.as_deref() == Some("0") { Ok(()) } else { Err(world.postgres.text(runs).await) }
    })
    .await;
    let read = world.postgres.text("select min(read) > 50 from rowcall.run").await;
    assert_eq!(read.as_deref(), Some("t"), "{:?}; {seed}", world.postgres.text(runs).await);
    service.sigterm();
    service.wait().await;
    world.equal(&seed).await;
}
