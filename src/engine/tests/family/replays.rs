//! What was sent before is sent again among parents and children.

use super::*;
use crate::{
    metrics::OutcomeKind,
    model::{RunId, RunKind, RunRequest, RunState},
};
use std::collections::HashSet;
use tokio::sync::mpsc::channel;

impl Family {
    /// A replay of the customers' changes up to there.
    async fn replay(&self, batch: Vec<Captured>, to: Lsn) -> (RunId, RunOrder) {
        let request =
            RunRequest { kind: RunKind::Replay, entity: None, options: Map::new(), origin: "test".into() };
        let run = self.rig.store.ask_run(&request).await.expect("a run");
        self.rig.store.begin_run(run, to).await.expect("it begins");
        let budget = Budget::new(1 << 20);
        let read = batch.into_iter().filter(|it| match it {
            Captured::Change(change) => {
                budget.charge(change.bytes());
                change.table.id == TableId(1)
            }
            _ => true,
        });
        let (out, feed) = channel(2);
        out.send(ReplayFeed::Batch(read.collect())).await.expect("there is room");
        out.send(ReplayFeed::Batch(vec![Captured::Idle(to)])).await.expect("there is room");
        let replay = Replay {
            run,
            routes: vec![ROUTES[0].into()],
            keys: HashSet::new(),
            window: Window { start: Lsn::ZERO, since: None, to },
            anew: false,
            at: Lsn::ZERO,
            read: 0,
            paused: false,
            feed,
            budget,
        };
        (run, RunOrder::Replay(Box::new(replay)))
    }

    async fn settled(&self, through: Lsn) {
        while self.resume() < through {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A replay brings an older delete of the parent behind the newer one, which waits for the child.
#[tokio::test(start_paused = true)]
async fn a_child_does_not_wait_for_what_is_behind_a_delete_that_waits_for_it() {
    let family = Family::with(|answer| FakeRemote::answering(answer).held());
    let (orders, ordered) = tokio::sync::mpsc::unbounded_channel();
    let mut parts = family.rig.parts((0..ROUTES.len()).map(|at| family.route(at)), Arc::new(NoRows));
    parts.orders = ordered;
    let engine = Engine::new(parts, Lsn::ZERO);
    let (feed, mut source) = family.rig.fed();
    let (stop, mut stopped) = watch::channel(false);
    let run = engine.run(&mut source, &mut stopped);
    tokio::pin!(run);
    let before = Rows::new().customer("1").commit().delete(0, "1").commit();
    let before = before.customer("1").customer("2").loan("5", "2").commit();
    let replayed = before.batch.clone();
    let now = Rows::from(before.commit).update(1, "5", Some("2"), "b").commit();
    let now = now.update(1, "5", Some("1"), "c").commit().delete(1, "5").commit().delete(0, "1").commit();
    let (base, end) = (Lsn::new(before.commit), Lsn::new(now.commit - 99));
    meanwhile(run.as_mut(), async {
        feed.send(before.batch).expect("it runs");
        family.rig.remote.release(5);
        family.settled(Lsn::new(before.commit - 99)).await;
        feed.send(now.batch).expect("it runs");
        family.rig.remote.arrived(6).await;
        let (id, order) = family.replay(replayed, base).await;
        orders.send(order).expect("it runs");
        // The update of the loan is under way, and everything else of the rows waits behind it.
        tokio::time::sleep(Duration::from_secs(5)).await;
        family.rig.remote.release(100);
        family.settled(end).await;
        while family.rig.store.run(id).expect("a run").state != RunState::Done || !family.parked().is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stop.send_replace(true);
    run.await.expect("it stops");
    let calls = family.calls();
    assert_eq!(
        calls[5..],
        ["PUT /loan/5", "PUT /customer/2", "PUT /loan/5", "DELETE /loan/5", "DELETE /customer/1"]
    );
    assert_eq!(family.refused(), [""; 0]);
    let parked = family.rig.meter.route("loan").outcome(OutcomeKind::Parked).get();
    assert_eq!((parked, family.parked()), (0, Vec::new()));
}
