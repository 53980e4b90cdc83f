//! What a remote's limits mean for the changes that go there.

use super::*;
use crate::remote::CallError;
use std::sync::{Mutex, PoisonError};

mod blame;
mod turns;

/// What arrived, and when, counted from the first call on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Instant, String)>>>);

impl Log {
    /// A remote that answers by path and time since the first call.
    fn remote(
        &self,
        respond: impl Fn(&str, Duration) -> Result<Answer, CallError> + Send + Sync + 'static,
    ) -> FakeRemote {
        let log = self.clone();
        FakeRemote::answering(move |call, _| {
            let now = Instant::now();
            let mut seen = log.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push((now, call.path.clone()));
            respond(&call.path, now - seen[0].0)
        })
    }

    fn times(&self) -> Vec<f64> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(at, _)| (*at - seen[0].0).as_secs_f64()).collect()
    }

    fn seconds(&self) -> Vec<u64> {
        self.times().into_iter().map(|it| it as u64).collect()
    }
}

/// Batches that come at their time.
struct Timed {
    budget: Budget,
    batches: VecDeque<(Instant, Vec<Captured>)>,
}

#[async_trait]
impl ChangeSource for Timed {
    async fn next(&mut self) -> Result<Option<Vec<Captured>>, SourceError> {
        let Some((at, _)) = self.batches.front() else { return Ok(None) };
        sleep_until(*at).await;
        let batch = self.batches.pop_front().map(|(_, batch)| batch);
        for captured in batch.iter().flatten() {
            if let Captured::Change(change) = captured {
                self.budget.charge(change.bytes());
            }
        }
        Ok(batch)
    }

    fn acknowledge(&mut self, _: &Saved) {}
}

impl Rig {
    /// Runs until all that the batches bring is settled.
    async fn run_timed(&self, engine: Engine, batches: Vec<(u64, Stream)>) {
        let start = Instant::now();
        let at = |(second, stream): (u64, Stream)| (start + Duration::from_secs(second), stream.batch);
        let mut source =
            Timed { budget: self.budget.clone(), batches: batches.into_iter().map(at).collect() };
        let (_go, mut stop) = watch::channel(false);
        engine.run(&mut source, &mut stop).await.expect("it runs");
    }
}

fn rate(limit: u32, seconds: u64, burst: u32) -> Option<Rate> {
    let per = Span(Duration::from_secs(seconds));
    Some(Rate { limit: NonZeroU32::new(limit).expect("a limit"), per, burst: NonZeroU32::new(burst) })
}

fn breaking(failures: u32) -> Arc<Governor> {
    Governor::new("fake", 8, None, &Breaker { failures, ..Breaker::default() })
}

fn throttled(seconds: u32) -> Result<Answer, CallError> {
    let headers = [("retry-after", &*seconds.to_string())].into();
    Ok(Answer { status: 429, headers, ..Answer::default() })
}

fn lost() -> Result<Answer, CallError> {
    Err(CallError::Transport { remote: "fake".to_owned(), message: "nobody there".to_owned() })
}

fn inserts(keys: impl IntoIterator<Item = u32>) -> Stream {
    keys.into_iter().fold(Stream::new(), |stream, key| stream.insert(&key.to_string(), "a")).commit()
}

fn from(commit: u64) -> Stream {
    Stream { commit, ..Stream::new() }
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_the_rate_allows_however_many_keys_there_are() {
    let log = Log::default();
    let mut rig = Rig::new(log.remote(|_, _| status(200)));
    rig.governor = governor(8, rate(10, 60, 3));
    let stream = (0..20).fold(Stream::new(), |stream, key| stream.insert(&key.to_string(), "two a"));
    rig.run(stream.commit()).await;
    let times = log.times();
    assert_eq!(times.len(), 40, "two calls for each");
    for (at, first) in times.iter().enumerate() {
        let within = times[at..].iter().take_while(|it| **it < first + 60.0).count();
        assert!(within <= 13, "{within} calls in a minute: {times:?}");
    }
    assert!(times[39] < 60.0 * 4.0, "what is allowed is used: {times:?}");
    let order: Vec<String> = rig.calls().iter().map(|it| it.split(' ').take(2).collect()).collect();
    for (at, call) in order.iter().enumerate().filter(|(_, call)| call.starts_with("POST/create")) {
        let second = call.replace("create", "second");
        let between = order.iter().position(|it| *it == second).expect("it was made") - at;
        assert!(between <= 8, "what has begun goes before what has not: {order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_engines_share_one_quota() {
    let log = Log::default();
    let shared = governor(8, rate(1, 1, 1));
    let rig = || Rig { governor: Arc::clone(&shared), ..Rig::new(log.remote(|_, _| status(200))) };
    let (one, other) = (rig(), rig());
    tokio::join!(one.run(inserts(0..10)), other.run(inserts(10..20)));
    assert_eq!(log.seconds(), (0..20).collect::<Vec<u64>>(), "one a second in all");
    let half = log.0.lock().expect("the log")[..10].iter().filter(|(_, path)| path.len() == 9).count();
    assert!((3..=7).contains(&half), "neither waits for the other's end: {half} of ten");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_remote_asks_for_a_pause_and_no_attempts_are_lost() {
    let log = Log::default();
    // Of each ten seconds it takes calls in the first five, and only four of them.
    let taken: Mutex<Vec<u64>> = Mutex::default();
    let remote = log.remote(move |_, since| {
        let window = since.as_secs() / 10;
        let mut taken = taken.lock().expect("not poisoned");
        assert!(since.as_secs() % 10 < 5, "it asked to be left alone until the next window: {since:?}");
        if taken.iter().filter(|it| **it == window).count() >= 4 {
            return throttled(10);
        }
        taken.push(window);
        status(200)
    });
    let rig = Rig::new(remote);
    let stream = (0..30).fold(Stream::new(), |stream, key| {
        stream.insert(&key.to_string(), "a").update(&key.to_string(), "b").delete(&key.to_string())
    });
    assert_eq!(rig.run(stream.commit()).await, Lsn::new(101));
    assert_eq!(rig.parked(), [], "throttling is nobody's fault");
    for key in 0..30 {
        let mut calls = rig.calls_of(&key.to_string());
        calls.dedup();
        let expected = [format!("POST /create/{key} a"), format!("PATCH /update/{key} b")];
        assert_eq!(calls, expected.into_iter().chain([format!("DELETE /delete/{key}")]).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_breaker_is_open_only_probes_are_sent_and_no_attempts_are_lost() {
    let log = Log::default();
    let remote = log.remote(|_, since| if since.as_secs() < 200 { lost() } else { status(200) });
    let rig = Rig { governor: breaking(5), attempts: 2, ..Rig::new(remote) };
    let mut stream = Stream::new();
    for key in 0..12 {
        stream = stream.insert(&key.to_string(), "a").update(&key.to_string(), "b");
    }
    assert_eq!(rig.run(stream.commit()).await, Lsn::new(101));
    assert_eq!(rig.parked(), [], "an outage is nobody's fault");
    let seconds = log.seconds();
    // Five fail at once, then waits of ten, twenty, forty seconds and a minute at most.
    assert_eq!(seconds[..10], [0, 0, 0, 0, 0, 10, 30, 70, 130, 190]);
    assert!(seconds[10..].iter().all(|it| (250..260).contains(it)), "{seconds:?}");
    let probed: Vec<String> = rig.calls()[5..10].to_vec();
    let distinct: std::collections::BTreeSet<&String> = probed.iter().collect();
    assert_eq!(distinct.len(), 5, "each time another change probes: {probed:?}");
    for key in 0..12 {
        let mut calls = rig.calls_of(&key.to_string());
        calls.dedup();
        assert_eq!(calls, [format!("POST /create/{key} a"), format!("PATCH /update/{key} b")]);
    }
    assert!(!rig.governor.standing(Instant::now()).is_down());
}

#[tokio::test(start_paused = true)]
async fn how_a_remote_stands_is_told_when_it_changes() {
    let log = Log::default();
    let rig = Rig { governor: breaking(1), ..Rig::new(log.remote(|_, _| lost())) };
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(inserts([1, 2]), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(5))).await;
    let told = rig.store.remotes()["fake"].clone();
    assert_eq!((told.gate, told.waiting, told.in_flight), ("open", 2, 0), "{told:?}");
    assert!(told.why.as_deref().is_some_and(|it| it.contains("nobody there")), "{told:?}");
    assert!(told.since.is_some() && told.until.is_some_and(|it| it > Duration::from_secs(5)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_remote_may_have_heard_is_not_merged_with_what_comes_later() {
    let log = Log::default();
    let remote = log.remote(|_, since| if since.is_zero() { lost() } else { status(200) });
    let rig = Rig { governor: breaking(1), coalesce: true, ..Rig::new(remote) };
    let late = from(200).update("1", "b").commit();
    rig.run_timed(rig.engine(), vec![(0, inserts([1])), (5, late)]).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/1 a", "PATCH /update/1 b"]);
    assert_eq!(rig.keys()[0], rig.keys()[1]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_keeps_the_answers_of_what_waits_for_the_remote() {
    let rig = Rig { governor: governor(8, rate(1, 3_600, 1)), ..Rig::new(FakeRemote::new()) };
    let (go, mut stop) = watch::channel(false);
    let stream = Stream::new().insert("1", "two a").insert("2", "two a").commit();
    let mut source = rig.source(stream, false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(60))).await;
    assert_eq!(rig.calls(), ["POST /create/1 two a"]);
    go.send_replace(true);
    run.await.expect("it runs");
    let parked = rig.store.parked();
    let kept: Vec<_> = parked.iter().map(|(at, _, it)| (&*at.key, it.reason, it.answers.len())).collect();
    assert_eq!(kept, [("1", ParkReason::Interrupted, 1)], "what was never begun comes again by itself");
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_call_does_not_wait_for_a_remote_that_is_down() {
    let rig = Rig { governor: breaking(2), ..Rig::new(FakeRemote::new()) };
    rig.remote.reply(status(422)).break_off().break_off();
    let stream = inserts([1, 2, 3]);
    let later = from(200).update("1", "b").commit();
    let (_go, mut stop) = watch::channel(false);
    let mut source =
        rig.source(Stream { batch: [stream.batch, later.batch].concat(), ..Stream::new() }, false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(3))).await;
    assert!(rig.governor.standing(Instant::now()).is_down());
    let queued = ("1".to_owned(), 200, ParkedState::Queued, ParkReason::Behind);
    assert_eq!(rig.parked().last(), Some(&queued), "it only has to be parked");
}
