//! Clocks may say anything, the source's as well as our own: the order of changes is that of the log.

use super::*;

/// The stream as if its transactions had been committed at these times, one after the other.
fn at_times(mut stream: Stream, times: &[Timestamp]) -> Stream {
    let mut times = times.iter().copied().cycle();
    let mut time = times.next().unwrap_or_default();
    for captured in &mut stream.batch {
        match captured {
            Captured::Change(change) => change.committed_at = time,
            Captured::Commit(commit) => {
                commit.at = time;
                time = times.next().unwrap_or_default();
            }
            _ => {}
        }
    }
    stream
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_to_the_ends_of_time_change_nothing() {
    let times = [Timestamp::MAX, Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MIN];
    let clocks: [fn() -> Timestamp; 3] = [|| Timestamp::MIN, || Timestamp::UNIX_EPOCH, || Timestamp::MAX];
    for clock in clocks {
        let rig = Rig::new(FakeRemote::new());
        rig.remote.reply(status(503)).reply(status(422));
        let stream = Stream::new().insert("1", "a").commit().insert("2", "a").commit();
        let stream = stream.update("1", "b").commit().update("1", "c").update("2", "b").commit();
        let parts = Parts { clock, ..rig.parts([rig.route()], Arc::new(NoRows)) };
        let mut source = rig.source(at_times(stream, &times), true);
        let (_go, mut stop) = watch::channel(false);
        Engine::new(parts, Lsn::ZERO).run(&mut source, &mut stop).await.expect("it runs");
        assert_eq!(*source.acknowledged.borrow(), Lsn::new(401));
        let mut calls = rig.calls_of("1");
        calls.dedup();
        assert_eq!(calls, ["POST /create/1 a", "PATCH /update/1 b", "PATCH /update/1 c"]);
        assert_eq!(rig.parked().len(), 2, "the refused one, and what is behind it: {:?}", rig.parked());
        assert_eq!(rig.budget.used(), 0);
    }
}
