//! Who is next where not all can go.

use super::*;
use crate::remote::SeenCall;

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
