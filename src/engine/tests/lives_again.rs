//! Short lives of the engine in which what was sent before is sent again, each ended in order or by a crash
//! at any moment: each replay brings the changes of a key in their order, and in the end the remote has what the
//! source has. As in [`super::lives`], each seed is always
//! the same run.

use super::{
    lives::{Dice, Distant, Log, Shaky, end_of, log, seeds},
    *,
};
use crate::{
    model::{RunId, RunKind, RunRequest, RunState},
    state::Run,
};
use std::collections::HashSet;
use tokio::{
    sync::mpsc::{UnboundedSender, channel, unbounded_channel},
    time::timeout,
};

/// The run that is not over yet.
async fn open_run(rig: &Rig) -> Option<Run> {
    rig.store.runs().await.expect("it answers").pop()
}

/// Asks for a replay of everything that is settled, or goes on with the one that an earlier life left.
async fn replay(
    rig: &Rig,
    dice: &Dice,
    (transactions, orders): (&[Vec<Captured>], &UnboundedSender<RunOrder>),
) {
    let run = match open_run(rig).await {
        Some(run) => run,
        None if dice.happens(60) => {
            let kind = RunKind::Replay;
            let options = Map::from_iter([("anew".to_owned(), Value::from(dice.happens(50)))]);
            let request = RunRequest { kind, entity: None, options, origin: "test".into() };
            let run = rig.store.ask_run(&request).await.expect("a run");
            rig.store.begin_run(run, rig.checkpoint().await).await.expect("it begins");
            rig.store.run(run).expect("a run")
        }
        None => return,
    };
    let to = run.base.expect("it has begun");
    let at = run.cursor.as_ref().and_then(|it| it["at"].as_str()?.parse().ok()).unwrap_or(Lsn::ZERO);
    let (out, feed) = channel(transactions.len() + 1);
    let budget = Budget::new(1 << 20);
    for transaction in transactions.iter().filter(|it| end_of(it) > at && end_of(it) <= to) {
        for captured in transaction {
            if let Captured::Change(change) = captured {
                budget.charge(change.bytes());
            }
        }
        out.try_send(ReplayFeed::Batch(transaction.clone())).expect("there is room");
    }
    out.try_send(ReplayFeed::Batch(vec![Captured::Idle(to)])).expect("there is room");
    let replay = Replay {
        run: run.id,
        routes: vec!["t".into()],
        keys: HashSet::new(),
        window: Window { start: Lsn::ZERO, since: None, to },
        anew: run.options["anew"] == Value::Bool(true),
        at,
        read: run.counts.read,
        paused: false,
        feed,
        budget,
    };
    orders.send(RunOrder::Replay(Box::new(replay))).expect("it runs");
}

async fn lives(seed: u64) {
    let dice = Dice::new(seed);
    let Log { transactions, rows, .. } = log(&dice, 30);
    let shaky = Shaky::new(&dice, 10, true);
    let mut rig = Rig { attempts: 50, ..Rig::new(FakeRemote::new()) };
    let (mut written, news) = (0, watch::Sender::new(()));
    for life in 0.. {
        let last = life == 16;
        rig.governor = governor(1 + dice.below(4) as u32, None);
        rig.sent_before = transactions[..written].last().map_or(Lsn::ZERO, |it| end_of(it));
        let (orders, ordered) = unbounded_channel();
        let mut parts = rig.parts([rig.route()], Arc::new(NoRows));
        parts.orders = ordered;
        parts.store =
            super::store::Hooked::new(&rig.store, Distant { dice: dice.clone(), news: news.clone() });
        parts.remotes[0].client = Arc::clone(&shaky) as _;
        if open_run(&rig).await.is_some() {
            parts.replaying = vec!["t".into()];
        }
        let from = rig.checkpoint().await;
        let engine = Engine::new(parts, from);
        let (feed, mut source) = rig.fed();
        let come_again = transactions[..written].iter().filter(|it| end_of(it) > from);
        come_again.for_each(|it| feed.send(it.clone()).expect("it runs"));
        let (go, mut stop) = watch::channel(false);
        let run = engine.run(&mut source, &mut stop);
        tokio::pin!(run);
        let mut settled = news.subscribe();
        let living = async {
            if last {
                *shaky.wrong.lock().expect("no panic") = 0;
            }
            replay(&rig, &dice, (&transactions[..written], &orders)).await;
            for _ in 0..if last { transactions.len() as u64 } else { dice.below(5) } {
                if written < transactions.len() && (last || dice.happens(50)) {
                    feed.send(transactions[written].clone()).expect("it runs");
                    written += 1;
                }
                dice.pause(300).await;
            }
            // Positions without changes are told too, as by a heartbeat.
            drop(feed.send(vec![Captured::Idle(rig.sent_before)]));
            let all = end_of(&transactions[transactions.len() - 1]);
            while last
                && (rig.checkpoint().await < all
                    || !rig.parked().is_empty()
                    || open_run(&rig).await.is_some())
            {
                settled.changed().await.expect("the sender is ours");
            }
        };
        let lived = timeout(Duration::from_secs(600), meanwhile(run.as_mut(), living)).await;
        let left = || (open_run(&rig), rig.checkpoint(), rig.parked());
        if lived.is_err() {
            let (run, checkpoint, parked) = left();
            panic!(
                "seed {seed}: it does not come to an end: {:?}, {}, {parked:?}",
                run.await,
                checkpoint.await
            );
        }
        if last || dice.happens(50) {
            go.send_replace(true);
            run.await.expect("it stops");
        }
        if last {
            break;
        }
    }
    let runs = (1..).map_while(|number| rig.store.run(RunId(number)));
    let unsound: Vec<Run> = runs.filter(|it| it.state != RunState::Done).collect();
    assert!(unsound.is_empty(), "seed {seed}: {unsound:?}");
    assert_eq!(*shaky.rows.lock().expect("no panic"), rows, "seed {seed}");
    assert_eq!(
        *shaky.doubled.lock().expect("no panic"),
        [""; 0],
        "seed {seed}: objects that are there twice"
    );
    let mut newest: BTreeMap<(String, RunId), ChangeId> = BTreeMap::new();
    for (key, (change, _)) in shaky.applied.lock().expect("no panic").drain(..) {
        let Some(run) = change.run() else { continue };
        let before = newest.insert((key.clone(), run), change);
        assert!(before <= Some(change), "seed {seed}: run {run} brought {change} of {key} behind {before:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_it_crashes_a_replay_keeps_the_order_and_leaves_the_newest_state_behind() {
    for seed in seeds() {
        lives(seed).await;
    }
}
