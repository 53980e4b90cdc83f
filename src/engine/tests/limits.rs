//! What a remote's limits mean for the changes that go there.

use super::*;
use crate::remote::{CallError, SeenCall};
use std::sync::{Mutex, PoisonError};

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
    let headers = vec![("retry-after".to_owned(), seconds.to_string())];
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
async fn a_change_that_is_throttled_again_and_again_stays_alive_and_others_go_on() {
    let log = Log::default();
    let remote = log.remote(|path, since| match path {
        "/create/1" if since.as_secs() < 900 => status(429),
        _ => status(200),
    });
    let rig = Rig::new(remote);
    let (early, late) = (inserts([1, 2, 3]), from(200).insert("4", "a").commit());
    rig.run_timed(rig.engine(), vec![(0, early), (100, late)]).await;
    assert_eq!(rig.parked(), []);
    assert_eq!(rig.link("1").map(|it| it.change), Some(id(100)));
    let tried = rig.calls_of("1").len();
    assert!((15..40).contains(&tried), "it backs off by itself: {tried} attempts in a quarter of an hour");
    let made = log.0.lock().expect("the log").clone();
    let fourth = made.iter().find(|(_, path)| path == "/create/4").expect("it was made");
    assert!((fourth.0 - made[0].0).as_secs() < 170, "the others wait for one pause at most");
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

/// One key in each of so many batches, this many seconds apart, from second 5 on.
fn trickle(batches: u64, apart: u64) -> impl Iterator<Item = (u64, Stream)> {
    let one =
        move |at: u64| (5 + at * apart, from(200 + at * 100).insert(&(10 + at).to_string(), "a").commit());
    (0..batches).map(one)
}

#[tokio::test(start_paused = true)]
async fn a_change_that_breaks_the_remote_each_time_dies_while_others_get_through() {
    let log = Log::default();
    let broken = |path: &str, _: Duration| status(if path == "/create/1" { 500 } else { 200 });
    let rig = Rig { governor: breaking(1), ..Rig::new(log.remote(broken)) };
    let others = trickle(100, 5);
    rig.run_timed(rig.engine(), std::iter::once((0, inserts([1]))).chain(others).collect()).await;
    assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Dead, ParkReason::Refused)]);
    assert_eq!(rig.calls()[..2], ["POST /create/1 a", "POST /create/10 a"], "another probes first");
    assert_eq!(rig.store.links().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_outage_kills_no_change_however_it_is_answered_and_however_few_there_are() {
    for (answer, keys) in [(503, 1), (502, 2), (504, 1), (500, 1), (500, 3)] {
        let log = Log::default();
        let remote = log.remote(move |_, since| status(if since.as_secs() < 3_600 { answer } else { 200 }));
        let rig = Rig { governor: breaking(5), attempts: 8, ..Rig::new(remote) };
        rig.run(inserts(1..=keys)).await;
        assert_eq!(rig.parked(), [], "{answer} for {keys}");
        assert_eq!(rig.store.links().len(), keys as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_throttled_while_all_others_are_served_dies_in_the_end() {
    for refusal in [429, 503] {
        let log = Log::default();
        let remote = log.remote(move |path, _| match path {
            "/create/1" => Ok(Answer { status: refusal, ..throttled(30).expect("an answer") }),
            _ => status(200),
        });
        let rig = Rig::new(remote);
        let others = trickle(200, 3);
        rig.run_timed(rig.engine(), std::iter::once((0, inserts([1]))).chain(others).collect()).await;
        assert_eq!(rig.parked(), [("1".to_owned(), 100, ParkedState::Dead, ParkReason::Refused)]);
        assert_eq!(rig.store.links().len(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_done_change_that_the_remote_never_answers_lets_others_through() {
    let log = Log::default();
    let remote = log.remote(|path, _| if path == "/second/1" { lost() } else { status(200) });
    let rig = Rig { governor: breaking(1), ..Rig::new(remote) };
    let (_go, mut stop) = watch::channel(false);
    let stream = (2..30).fold(Stream::new().insert("1", "two a"), |it, key| it.insert(&key.to_string(), "a"));
    let mut source = rig.source(stream.commit(), false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(600))).await;
    assert_eq!(rig.store.links().len(), 28);
    assert_eq!(rig.parked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_sequence_that_the_remote_let_down_goes_on_before_what_came_later() {
    let log = Log::default();
    let refused = std::sync::atomic::AtomicBool::new(false);
    let remote = log.remote(move |path, _| {
        let first = path == "/second/1" && !refused.swap(true, std::sync::atomic::Ordering::Relaxed);
        if first { throttled(10) } else { status(200) }
    });
    let rig = Rig { governor: governor(1, rate(1, 1, 1)), ..Rig::new(remote) };
    let (half, late) = (Stream::new().insert("1", "two a").commit(), from(200));
    let late = (2..20).fold(late, |it, key| it.insert(&key.to_string(), "a")).commit();
    rig.run_timed(rig.engine(), vec![(0, half), (5, late)]).await;
    let second = "POST /second/1 two a";
    assert_eq!(rig.calls()[..3], ["POST /create/1 two a", second, second]);
}

/// The parked change would be sent in the middle of the newer one's sequence, whose answers were
/// put behind it.
#[tokio::test(start_paused = true)]
async fn a_parked_change_does_not_come_into_the_middle_of_a_newer_sequence() {
    let governor = governor(8, rate(1, 30, 1));
    let rig = Rig { on_dead: OnDead::Continue, governor, ..Rig::new(FakeRemote::new()) };
    rig.remote.reply(status(422));
    let stream =
        inserts([1]).batch.into_iter().chain(from(200).update("1", "two b").commit().batch).collect();
    let (_go, mut stop) = watch::channel(false);
    let mut source = rig.source(Stream { batch: stream, ..Stream::new() }, false);
    let run = rig.engine().run(&mut source, &mut stop);
    tokio::pin!(run);
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(45))).await;
    assert_eq!(rig.calls(), ["POST /create/1 a", "POST /create/1 two b"]);
    rig.store.retry(&at("1"), id(100));
    meanwhile(run.as_mut(), tokio::time::sleep(Duration::from_secs(100))).await;
    assert_eq!(rig.calls()[2..], ["POST /second/1 two b"]);
    assert_eq!(rig.parked(), [], "what is newer is applied");
    assert_eq!(rig.link("1").map(|it| it.change), Some(id(200)));
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
async fn live_changes_go_before_retries_that_have_waited_no_longer_than_a_minute() {
    for (second, expected) in [(30, ["3", "4", "1"]), (100, ["1", "3", "4"])] {
        let rig = Rig { governor: governor(1, None), ..Rig::new(FakeRemote::new().held()) };
        rig.remote.reply(status(422));
        rig.remote.release(1);
        rig.run(inserts([1])).await;
        let (first, late) =
            (from(200).insert("2", "a").commit(), from(300).insert("3", "a").insert("4", "a").commit());
        let (engine, batches) = (rig.engine(), vec![(0, first), (second, late)]);
        let release = async {
            // One is under way, and the retry waits behind it.
            rig.remote.arrived(2).await;
            rig.store.retry(&at("1"), id(100));
            tokio::time::sleep(Duration::from_secs(second + 10)).await;
            rig.remote.release(10);
        };
        tokio::join!(rig.run_timed(engine, batches), release);
        let calls = rig.calls();
        let order: Vec<&str> = calls[2..].iter().map(|it| &it[13..14]).collect();
        assert_eq!(order, expected, "they came in second {second}");
    }
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

#[tokio::test(start_paused = true)]
async fn the_urgent_entity_goes_first_when_not_all_can_go() {
    let log = Log::default();
    let rig = Rig { governor: governor(1, rate(1, 10, 1)), ..Rig::new(log.remote(|_, _| status(200))) };
    let engine = rig.engine_of(
        [("late", 9), ("soon", 1)].map(|(name, priority)| {
            let table = format!("public.{name}").parse().expect("a name");
            Route { name: name.into(), table, priority, ..rig.route() }
        }),
        Arc::new(NoRows),
    );
    let of = |name: &str, id: u32, stream: Stream| {
        let own = table();
        let name = format!("public.{name}").parse().expect("a name");
        let table = Table { id: TableId(id), name, columns: own.columns.clone() };
        Stream { table: Arc::new(table), ..stream }
    };
    let mut stream = of("late", 2, Stream::new());
    stream = (0..5).fold(stream, |stream, key| stream.insert(&format!("l{key}"), "a"));
    stream = of("soon", 3, stream);
    stream = (0..70).fold(stream, |stream, key| stream.insert(&format!("s{key}"), "a"));
    // Half of the urgent ones come when the others have waited for eleven minutes.
    let mut more = of("soon", 3, from(200));
    more = (70..140).fold(more, |stream, key| stream.insert(&format!("s{key}"), "a"));
    rig.run_timed(engine, vec![(0, stream.commit()), (500, more.commit())]).await;
    let calls = rig.remote.seen();
    let which = |it: &SeenCall| it.call.path.split('/').nth(2).expect("a key")[..1].to_owned();
    let order: String = calls.iter().skip(1).map(which).collect();
    let first = order.find('l').expect("it is served");
    let urgent_before = order[..first].len();
    assert!((68..=70).contains(&urgent_before), "those that came together: {order}");
    let last = order.rfind('l').expect("it is served");
    assert!(last < 80, "those that came much later wait: {order}");
}

/// A minute of waiting is worth a step.
#[tokio::test(start_paused = true)]
async fn what_is_least_urgent_gets_through_while_the_most_urgent_never_ends() {
    let log = Log::default();
    let rig = Rig { governor: governor(1, rate(1, 10, 1)), ..Rig::new(log.remote(|_, _| status(200))) };
    let named = |name: &str| format!("public.{name}").parse::<TableName>().expect("a name");
    let engine = rig.engine_of(
        [("last", 10), ("first", 1)].map(|(name, priority)| Route {
            name: name.into(),
            table: named(name),
            priority,
            ..rig.route()
        }),
        Arc::new(NoRows),
    );
    let of = |name: &str, id: u32, stream: Stream| {
        let table = Table { id: TableId(id), name: named(name), columns: table().columns.clone() };
        Stream { table: Arc::new(table), ..stream }
    };
    // Two urgent ones for each that can be sent, for half an hour; the other one comes with the first.
    let mut batches =
        vec![(0, of("first", 3, of("last", 2, Stream::new()).insert("last", "a")).insert("f", "a").commit())];
    for second in (0..1_800).step_by(5) {
        let stream = of("first", 3, from(200 + 100 * second));
        batches.push((second, stream.insert(&format!("f{second}"), "a").commit()));
    }
    rig.run_timed(engine, batches).await;
    let seen = log.0.lock().unwrap_or_else(PoisonError::into_inner);
    let place = seen.iter().position(|(_, path)| path.ends_with("/last")).expect("it is sent");
    let (at, waited) = (place, (seen[place].0 - seen[0].0).as_secs());
    assert!(at > 10, "the urgent ones go first: {at}");
    assert!(waited < 1_800, "it does not wait for their end: {waited} s");
}
