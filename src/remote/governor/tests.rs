use super::*;
use crate::{
    model::Answer,
    remote::{CallError, Failure},
};
use std::{num::NonZeroU32, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

struct Rig {
    governor: Arc<Governor>,
    now: Instant,
}

/// A seat and the bell that is its own.
struct Rung {
    seat: Seat,
    bell: Arc<Notify>,
}

impl Rung {
    fn claim(&self, urgency: Instant, now: Instant) -> Result<Slot, Wait> {
        self.seat.claim(urgency, now)
    }

    /// Whether its bell has rung since this was last asked.
    fn rang(&self) -> bool {
        use futures_util::FutureExt;
        self.bell.notified().now_or_never().is_some()
    }
}

fn fails(slot: &mut Slot, failure: Failure<'_>, now: Instant) -> Blame {
    slot.failed(failure, "why", &mut None, now)
}

impl Rig {
    fn new(concurrency: u32, limit: Option<u32>, failures: u32) -> Self {
        let rate =
            limit.and_then(NonZeroU32::new).map(|limit| Rate { limit, per: Span(SECOND), burst: None });
        let breaker = Breaker { failures, ..Breaker::default() };
        let governor = Governor::new("bank", concurrency, rate.as_ref(), &breaker);
        Self { governor, now: Instant::now() }
    }

    fn seat(&self) -> Rung {
        let bell: Arc<Notify> = Arc::default();
        Rung { seat: self.governor.seat(Arc::clone(&bell)), bell }
    }

    fn gate(&self) -> Gate {
        self.governor.standing(self.now).gate
    }

    /// Shut by one failure.
    fn open(&self, seat: &Rung) {
        let mut slot = seat.claim(self.now, self.now).expect("a slot");
        assert!(slot.begin(self.now));
        assert_eq!(fails(&mut slot, Failure::Error(&lost()), self.now), Blame::Remote);
        assert_eq!(self.gate(), Gate::Open);
    }
}

fn lost() -> CallError {
    CallError::Transport { remote: "bank".to_owned(), message: "broke".to_owned() }
}

fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

fn throttled(seconds: u64) -> Answer {
    let headers = [("retry-after", &*seconds.to_string())].into();
    Answer { status: 429, headers, ..Answer::default() }
}

#[tokio::test(start_paused = true)]
async fn so_many_slots_are_out_and_one_that_comes_back_rings_whoever_waits() {
    let rig = Rig::new(2, None, 5);
    let (one, other) = (rig.seat(), rig.seat());
    let first = one.claim(rig.now, rig.now).expect("a slot");
    let _second = other.claim(rig.now, rig.now).expect("a slot");
    assert_eq!(other.claim(rig.now, rig.now).expect_err("full"), Wait::Bell);
    assert!(!other.rang());
    drop(first);
    assert!(other.rang() && !one.rang(), "only who waits is woken");
    assert!(other.claim(rig.now, rig.now).is_ok());
}

#[tokio::test(start_paused = true)]
async fn of_several_seats_the_most_urgent_claim_is_served_first() {
    let rig = Rig::new(1, None, 5);
    let (early, late) = (rig.now, rig.now + SECOND);
    let (one, other) = (rig.seat(), rig.seat());
    let slot = one.claim(early, rig.now).expect("a slot");
    assert!(one.claim(late, rig.now).is_err() && other.claim(early, rig.now).is_err());
    drop(slot);
    assert_eq!(one.claim(late, rig.now).expect_err("it is not its turn"), Wait::Bell);
    while one.rang() {}
    let slot = other.claim(early, rig.now).expect("a slot");
    assert!(one.rang(), "it may see whether there is one for it");
    drop(slot);
    assert!(one.claim(late, rig.now).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_withdraws_or_is_gone_holds_up_nobody() {
    let rig = Rig::new(1, None, 5);
    let (early, late) = (rig.now, rig.now + SECOND);
    for withdraw in [true, false] {
        let (one, other) = (rig.seat(), rig.seat());
        let slot = one.claim(early, rig.now).expect("a slot");
        assert!(other.claim(early, rig.now).is_err());
        drop(slot);
        assert!(one.claim(late, rig.now).is_err());
        while one.rang() {}
        if withdraw {
            other.seat.withdraw()
        } else {
            drop(other)
        }
        assert!(one.rang());
        assert!(one.claim(late, rig.now).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_taken_by_the_call_and_not_by_a_change_that_made_none() {
    let rig = Rig::new(8, Some(1), 5);
    let seat = rig.seat();
    let unused = seat.claim(rig.now, rig.now).expect("a slot");
    assert_eq!(seat.claim(rig.now, rig.now).expect_err("kept for the first"), Wait::Bell);
    drop(unused);
    let mut used = seat.claim(rig.now, rig.now).expect("a slot");
    assert!(used.begin(rig.now));
    used.succeeded(&answer(200), rig.now);
    assert!(!used.begin(rig.now), "a second call needs a token of its own");
    let next = rig.now + SECOND;
    assert_eq!(seat.claim(rig.now, rig.now).expect_err("none left"), Wait::Until(next));
    assert!(used.begin(next));
    assert!(seat.claim(next, next).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_pauses_everything_and_is_nobodys_fault() {
    let mut rig = Rig::new(8, None, 1);
    let seat = rig.seat();
    let mut told = seat.claim(rig.now, rig.now).expect("a slot");
    let mut waits = seat.claim(rig.now, rig.now).expect("a slot");
    assert!(told.begin(rig.now));
    let blame = fails(&mut told, Failure::Answer(&throttled(30)), rig.now);
    assert_eq!((blame, rig.gate()), (Blame::Remote, Gate::Paused));
    assert!(!waits.begin(rig.now), "who had leave already waits too");
    let until = rig.now + 30 * SECOND;
    assert_eq!(seat.claim(rig.now, rig.now).expect_err("paused"), Wait::Until(until));
    assert_eq!(rig.governor.gauges(rig.now).width, 4);
    rig.now = until;
    assert!(waits.begin(rig.now) && rig.gate() == Gate::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_sends_nothing_and_one_probe_closes_it() {
    let mut rig = Rig::new(8, None, 1);
    let seat = rig.seat();
    let mut late = seat.claim(rig.now, rig.now).expect("a slot");
    let mut under_way = seat.claim(rig.now, rig.now).expect("a slot");
    assert!(under_way.begin(rig.now));
    rig.open(&seat);
    assert!(!late.begin(rig.now), "who had leave already waits too");
    let blame = fails(&mut under_way, Failure::Answer(&answer(500)), rig.now);
    assert_eq!(blame, Blame::Remote, "it was under way when the breaker opened");
    let until = rig.now + 10 * SECOND;
    assert_eq!(seat.claim(rig.now, rig.now).expect_err("open"), Wait::Until(until));
    rig.now = until;
    assert_eq!(rig.gate(), Gate::HalfOpen);
    let mut probe = seat.claim(rig.now, rig.now).expect("the probe");
    assert_eq!(seat.claim(rig.now, rig.now).expect_err("one is enough"), Wait::Bell);
    assert!(!late.begin(rig.now) && probe.begin(rig.now));
    while seat.rang() {}
    probe.succeeded(&answer(200), rig.now);
    assert!(seat.rang() && rig.gate() == Gate::Ready);
    assert!(late.begin(rig.now));
}

/// So many calls of others go well.
fn others_go_well(rig: &Rig, seat: &Rung, calls: usize) {
    for _ in 0..calls {
        let mut slot = seat.claim(rig.now, rig.now).expect("a slot");
        assert!(slot.begin(rig.now));
        slot.succeeded(&answer(200), rig.now);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_blamed_only_for_a_500_that_others_do_not_get() {
    let mut rig = Rig::new(8, None, 1);
    let seat = rig.seat();
    let (lost, failed, down) = (lost(), answer(500), answer(503));
    let busy = Answer { status: 503, ..throttled(1) };
    for (failure, while_others_go_well) in [
        (Failure::Error(&lost), Blame::Remote),
        (Failure::Answer(&down), Blame::Remote),
        (Failure::Answer(&failed), Blame::Change),
        (Failure::Answer(&busy), Blame::Change),
    ] {
        let mut suspicion = None;
        for (well, blame) in [(0, Blame::Remote), (0, Blame::Remote), (8, while_others_go_well)] {
            others_go_well(&rig, &seat, well);
            let mut probe = seat.claim(rig.now, rig.now).expect("the probe");
            assert!(probe.begin(rig.now));
            assert_eq!(probe.failed(failure, "down", &mut suspicion, rig.now), blame, "{failure:?} {well}");
            assert_eq!(rig.gate(), Gate::Open);
            rig.now += 60 * SECOND;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_403_with_a_used_up_quota_or_a_time_to_come_back_is_throttling() {
    let with = |name: &str, value: &str| {
        let headers = [(name, value), ("x-ratelimit-reset", "30")].into();
        Answer { status: 403, headers, ..Answer::default() }
    };
    for (answer, blame, gate) in [
        (with("x-ratelimit-remaining", "0"), Blame::Remote, Gate::Paused),
        (with("retry-after", "30"), Blame::Remote, Gate::Paused),
        (with("x-ratelimit-remaining", "7"), Blame::Change, Gate::Ready),
        (answer(403), Blame::Change, Gate::Ready),
    ] {
        let rig = Rig::new(8, None, 1);
        let seat = rig.seat();
        let mut slot = seat.claim(rig.now, rig.now).expect("a slot");
        assert!(slot.begin(rig.now));
        let blamed = fails(&mut slot, Failure::Answer(&answer), rig.now);
        assert_eq!((blamed, rig.gate()), (blame, gate), "{answer:?}");
        let until = rig.now + 30 * SECOND;
        assert!(gate == Gate::Ready || rig.governor.standing(rig.now).until == Some(until));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_sent_gives_its_token_back() {
    let rig = Rig::new(8, Some(1), 5);
    let seat = rig.seat();
    let trouble = crate::remote::Trouble::Unreachable;
    let token = CallError::Token { remote: "bank".to_owned(), message: String::new(), trouble, wait: SECOND };
    let bad = CallError::BadRequest { message: "no path".to_owned() };
    for error in [token, bad, lost()] {
        let mut slot = seat.claim(rig.now, rig.now).expect("a slot with a token");
        assert!(slot.begin(rig.now));
        fails(&mut slot, Failure::Error(&error), rig.now);
    }
    assert!(seat.claim(rig.now, rig.now).is_err(), "the last one may have arrived");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_its_token_is_counted_and_what_is_sent_again_too() {
    let rig = Rig::new(8, Some(1), 1);
    let seat = rig.seat();
    let mut slot = seat.claim(rig.now, rig.now).expect("a slot");
    assert!(slot.begin(rig.now));
    slot.refused(&answer(401), rig.now);
    assert!(!slot.begin(rig.now), "the first one was sent");
    // There is no other token, which gives nothing of what was sent back.
    let trouble = crate::remote::Trouble::Unreachable;
    let token = CallError::Token { remote: "bank".to_owned(), message: String::new(), trouble, wait: SECOND };
    assert_eq!(fails(&mut slot, Failure::Error(&token), rig.now), Blame::Remote);
    assert_eq!(rig.gate(), Gate::Open, "without a token the remote is as good as down");
    drop(slot);
    let next = rig.now + 10 * SECOND;
    let mut slot = seat.claim(next, next).expect("the probe");
    assert!(slot.begin(next) && !slot.begin(next), "one part in all");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_ends_without_a_call_leaves_it_to_another() {
    let mut rig = Rig::new(8, None, 1);
    let seat = rig.seat();
    rig.open(&seat);
    rig.now += 10 * SECOND;
    let abandon: [fn(Slot, Instant); 2] = [
        |slot, _| drop(slot),
        |mut slot, now| {
            let error = CallError::BadRequest { message: "no path".to_owned() };
            assert!(slot.begin(now));
            assert_eq!(fails(&mut slot, Failure::Error(&error), now), Blame::Change);
        },
    ];
    for abandon in abandon {
        let probe = seat.claim(rig.now, rig.now).expect("the probe");
        let waits = rig.seat();
        assert!(waits.claim(rig.now, rig.now).is_err());
        abandon(probe, rig.now);
        assert!(waits.rang());
    }
    let mut probe = seat.claim(rig.now, rig.now).expect("the probe");
    assert!(probe.begin(rig.now));
    fails(&mut probe, Failure::Answer(&answer(404)), rig.now);
    assert_eq!(rig.gate(), Gate::Ready, "any answer of its own shows that it is there");
}
