//! What may be at the remote, since an answer was lost, and those that depend on each other.

use super::{office::Office, *};
use crate::engine::tests::store::{Hooked, Slow};

impl Family {
    /// At a remote that draws the ids of loans.
    fn at_office() -> (Self, Arc<Mutex<Office>>) {
        let office = Arc::new(Mutex::new(Office::default()));
        let its = Arc::clone(&office);
        let mut family = Self::with(|_| {
            FakeRemote::answering(move |call, key| Ok(its.lock().expect("whole").call(call, key)))
        });
        family.drawn = true;
        (family, office)
    }

    /// A life that makes so many calls, and is killed before anything is settled.
    async fn live_in_vain(&mut self, rows: &Rows, calls: usize) {
        let calls = self.rig.remote.seen().len() + calls;
        let mut engine = self.engine();
        let ground = Arc::get_mut(&mut engine.ground).expect("not shared yet");
        ground.store = Hooked::new(&self.rig.store, Slow::new());
        let (_go, mut stop) = watch::channel(false);
        let mut source = self.source(&rows.batch);
        {
            let run = engine.run(&mut source, &mut stop);
            tokio::pin!(run);
            meanwhile(run.as_mut(), self.rig.remote.arrived(calls)).await;
        }
        self.rig.sent_before = Lsn::new(rows.commit - 1);
        self.rig.budget = Budget::new(1 << 20);
    }
}

fn rows(office: &Mutex<Office>) -> Vec<String> {
    let office = office.lock().expect("whole");
    assert_eq!(office.unexplained(), [""; 0]);
    office.rows().into_iter().map(|(table, key, _)| format!("{table} {key}")).collect()
}

/// Only the answer to the same call tells the id by which it is deleted.
#[tokio::test(start_paused = true)]
async fn a_row_that_an_earlier_process_created_waits_for_its_refused_parent_although_it_is_deleted_later() {
    let (mut family, office) = Family::at_office();
    let written = Rows::new().customer("1").loan("5", "1").commit();
    family.live_in_vain(&written, 3).await;
    assert_eq!(rows(&office), ["customer 1", "loan 5"]);
    family.rig.remote.answer(422, "{}");
    family.run(written.delete(1, "5").commit()).await;
    let parked = ["customer 1 rejected refused", "loan 5 waiting parent", "loan 5 queued behind"];
    assert_eq!(family.parked(), parked);
    family.retry("customer", "1");
    family.run(Rows::from(900).commit()).await;
    assert_eq!((family.parked(), rows(&office)), (vec![], vec!["customer 1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_delete_whose_answer_was_lost_does_not_wait_for_what_is_refused_since() {
    let (mut family, office) = Family::at_office();
    family.run(Rows::new().customer("1").commit()).await;
    family.rig.remote.answer(422, "{}");
    family.run(Rows::from(200).loan("5", "1").commit()).await;
    assert_eq!(family.parked(), ["loan 5 rejected refused"]);
    let deleted = Rows::from(300).delete(1, "5").delete(0, "1").commit();
    family.live_in_vain(&deleted, 1).await;
    assert_eq!(rows(&office), [""; 0]);
    // The link says that the customer is there.
    family.retry("loan", "5");
    family.run(deleted).await;
    assert_eq!(family.calls()[3..], ["POST /loan", "DELETE /customer/1"]);
    assert_eq!(family.parked(), ["loan 5 rejected refused", "loan 5 queued behind"]);
    family.retry("loan", "5");
    family.run(Rows::from(900).commit()).await;
    assert_eq!((family.parked(), rows(&office)), (vec![], vec![]));
}

/// If one of its moves were left out, it would wait for a parent that waits for it.
#[tokio::test(start_paused = true)]
async fn a_row_that_goes_to_another_parent_and_back_behind_a_refused_change_makes_every_move() {
    let (family, office) = Family::at_office();
    family.run(Rows::new().customer("1").customer("2").loan("5", "1").commit()).await;
    family.rig.remote.answer(422, "{}");
    let moves = Rows::from(200).update(1, "5", Some("1"), "b").commit();
    let moves = moves.update(1, "5", Some("2"), "c").delete(0, "1").commit();
    let moves = moves.customer("1").update(1, "5", Some("1"), "d").delete(0, "2").commit();
    family.run(moves).await;
    assert_eq!(rows(&office), ["customer 1", "customer 2", "loan 5"]);
    family.retry("loan", "5");
    family.run(Rows::from(900).commit()).await;
    assert_eq!(
        (family.parked(), rows(&office)),
        (vec![], vec!["customer 1".to_owned(), "loan 5".to_owned()])
    );
}
