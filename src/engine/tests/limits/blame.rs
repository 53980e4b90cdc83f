//! Whose fault a failure is: what a remote does to all costs nobody an attempt.

use super::*;

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
