//! A remote whose calls carry a token that is asked for, and what that means for its limits.

use super::*;
use crate::{
    model::CallKey,
    remote::{Attempt, CallError, Leave},
};

/// Waits for a token before each request and gets another one when it is refused.
struct Tokens {
    remote: Arc<FakeRemote>,
    /// How long that takes.
    wait: Duration,
    /// How long a request takes.
    takes: Duration,
}

#[async_trait]
impl RemoteClient for Tokens {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        loop {
            tokio::time::sleep(self.wait).await;
            let attempt = self.remote.attempt(call, key, leave).await?;
            tokio::time::sleep(self.takes).await;
            match attempt {
                Attempt::Answered(answer) if answer.status == 401 && leave.refused(&answer) => {}
                attempt => return Ok(attempt),
            }
        }
    }
}

impl Rig {
    async fn run_with_tokens(&self, stream: Stream, wait: u64, takes: u64, batched: bool) {
        let share = |route: &mut Route| {
            if batched {
                super::batches::batched(route, 1);
            }
        };
        let mut engine = self.engine_with(share, Arc::new(NoRows));
        let (wait, takes) = (Duration::from_millis(wait), Duration::from_millis(takes));
        let client = Arc::new(Tokens { remote: Arc::clone(&self.remote), wait, takes });
        Arc::get_mut(&mut engine.ground).expect("not shared yet").remotes[0].client = client;
        let (_go, mut stop) = watch::channel(false);
        engine.run(&mut self.source(stream, true), &mut stop).await.expect("it runs");
    }
}

fn one_in_ten_seconds() -> Arc<Governor> {
    let (limit, per) = (NonZeroU32::MIN, Span(Duration::from_secs(10)));
    governor(8, Some(Rate { limit, per, burst: Some(limit) }))
}

/// Both requests are counted by a remote that counts.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_made_again_with_another_token_waits_for_its_part_of_the_rate() {
    for batched in [false, true] {
        let rig = Rig { governor: one_in_ten_seconds(), ..Rig::new(FakeRemote::new()) };
        let results = Answer { status: 200, body: r#"[{"at":0}]"#.into(), ..Answer::default() };
        rig.remote.reply(status(401)).reply(Ok(results));
        let begun = Instant::now();
        rig.run_with_tokens(Stream::new().insert("1", "a").commit(), 0, 0, batched).await;
        let seen = rig.remote.seen();
        assert_eq!((seen.len(), &seen[0]), (2, &seen[1]), "the same call, batched: {batched}");
        assert_eq!(begun.elapsed().as_secs(), 10, "batched: {batched}");
        assert_eq!((rig.parked(), rig.link("1").is_some()), (vec![], true), "batched: {batched}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_for_the_rate_after_a_401_is_not_made_a_third_time() {
    for batched in [false, true] {
        let rig = Rig { governor: one_in_ten_seconds(), ..Rig::new(FakeRemote::new()) };
        for _ in 0..9 {
            rig.remote.reply(status(401));
        }
        rig.run_with_tokens(Stream::new().insert("1", "a").commit(), 0, 0, batched).await;
        assert_eq!(rig.remote.seen().len(), 2, "batched: {batched}");
        assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Rejected, ParkReason::Auth)]);
        assert_eq!(rig.store.parked()[0].2.attempts, 1, "one attempt, batched: {batched}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_token_is_no_sign_that_the_remote_is_slow() {
    let rig = Rig::new(FakeRemote::new());
    let inserts = |commit, keys: std::ops::Range<u32>| {
        let stream = Stream { commit, ..Stream::new() };
        keys.fold(stream, |stream, key| stream.insert(&key.to_string(), "a")).commit()
    };
    rig.run_with_tokens(inserts(100, 0..200), 0, 50, false).await;
    rig.run_with_tokens(inserts(200, 200..300), 20_000, 50, false).await;
    assert_eq!(rig.store.links().len(), 300);
    assert_eq!(rig.governor.gauges(Instant::now()).width, 8);
}

/// Nothing was sent, so nothing is to be looked up, and no part of the rate is used.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_token_that_does_not_come() {
    let rig = Rig::new(FakeRemote::new());
    let mut engine = rig.engine();
    let client = Tokens {
        remote: Arc::clone(&rig.remote),
        wait: Duration::from_secs(1_000_000),
        takes: Duration::ZERO,
    };
    Arc::get_mut(&mut engine.ground).expect("not shared yet").remotes[0].client = Arc::new(client);
    let (go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream::new().insert("1", "a").commit(), false);
    let run = engine.run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    go.send_replace(true);
    run.await.expect("it stops");
    assert_eq!((rig.remote.seen().len(), rig.parked()), (0, vec![]));
}
