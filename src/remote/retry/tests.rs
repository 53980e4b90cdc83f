use super::*;
use crate::model::{ChangeId, Lsn, Span};
use proptest::prelude::*;
use std::num::NonZeroU32;

fn key(ordinal: u64) -> CallKey {
    let change = ChangeId { commit: Lsn::new(7), ordinal };
    CallKey { route: "loan@bank".into(), origin: 1, change, key: None, step: "create".into() }
}

fn policy() -> RetryPolicy {
    let span = |seconds| Span(Duration::from_secs(seconds));
    let attempts = NonZeroU32::new(4).expect("four");
    RetryPolicy::new(&Retry { attempts, base: span(1), max: span(60), ..Retry::default() })
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Answer { status, headers, ..Answer::default() }
}

fn after(headers: &[(&str, &str)]) -> Duration {
    match policy().decide(Failure::Answer(&answer(429, headers)), &key(0), 1) {
        Decision::RetryAfter(delay) => delay,
        other => panic!("{other:?}"),
    }
}

fn errors() -> [(CallError, ParkReason); 2] {
    let remote = "bank".to_owned();
    let limit = Span(Duration::from_secs(1));
    [
        (CallError::Transport { remote: remote.clone(), message: "refused".into() }, ParkReason::Transport),
        (CallError::Timeout { remote, limit }, ParkReason::Timeout),
    ]
}

#[test]
fn what_may_pass_is_tried_again_and_dead_after_the_last_attempt() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let answer = answer(status, &[]);
        assert!(matches!(policy().decide(Failure::Answer(&answer), &key(0), 3), Decision::RetryAfter(_)));
        let dead = Decision::GiveUp { state: ParkedState::Dead, reason: ParkReason::Refused };
        assert_eq!(policy().decide(Failure::Answer(&answer), &key(0), 4), dead);
    }
    for (error, reason) in errors() {
        assert!(matches!(policy().decide(Failure::Error(&error), &key(0), 3), Decision::RetryAfter(_)));
        let dead = Decision::GiveUp { state: ParkedState::Dead, reason };
        assert_eq!(policy().decide(Failure::Error(&error), &key(0), 4), dead);
    }
}

#[test]
fn what_cannot_pass_is_rejected_at_once() {
    let table = [
        (400, ParkReason::Refused),
        (401, ParkReason::Auth),
        (403, ParkReason::Auth),
        (404, ParkReason::Refused),
        (409, ParkReason::Conflict),
        (301, ParkReason::Refused),
        (501, ParkReason::Refused),
    ];
    for (status, reason) in table {
        let rejected = Decision::GiveUp { state: ParkedState::Rejected, reason };
        assert_eq!(policy().decide(Failure::Answer(&answer(status, &[])), &key(0), 1), rejected, "{status}");
    }
    let long = CallError::TooLong { remote: "bank".into(), limit: 9 };
    let rejected = Decision::GiveUp { state: ParkedState::Rejected, reason: ParkReason::Answer };
    assert_eq!(policy().decide(Failure::Error(&long), &key(0), 1), rejected);
}

#[test]
fn the_wait_doubles_and_is_spread_between_calls() {
    let error = &errors()[0].0;
    for (attempt, low, high) in [(1, 500, 1_000), (2, 1_000, 2_000), (3, 2_000, 4_000)] {
        for ordinal in 0..50 {
            let decision = policy().decide(Failure::Error(error), &key(ordinal), attempt);
            let Decision::RetryAfter(delay) = decision else { panic!("{decision:?}") };
            assert!((low..=high).contains(&(delay.as_millis() as u64)), "{attempt}: {delay:?}");
            assert_eq!(policy().decide(Failure::Error(error), &key(ordinal), attempt), decision);
        }
    }
    let of = |ordinal| policy().decide(Failure::Error(error), &key(ordinal), 1);
    assert_ne!(of(1), of(2));
}

#[test]
fn the_remote_is_not_called_before_the_time_it_asked_for() {
    let between = |delay: Duration, low: u64, high: u64| {
        assert!((low..=high).contains(&(delay.as_millis() as u64)), "{delay:?}");
    };
    between(after(&[("retry-after", "30")]), 30_000, 31_000);
    between(after(&[("retry-after", " 0 ")]), 500, 1_000);
    let date = ("date", "Wed, 21 Oct 2026 07:28:00 GMT");
    between(after(&[date, ("retry-after", "Wed, 21 Oct 2026 07:28:20 GMT")]), 20_000, 21_000);
    // In the past, without a date to measure against, or no date at all: our own wait.
    between(after(&[date, ("retry-after", "Wed, 21 Oct 2026 07:00:00 GMT")]), 500, 1_000);
    between(after(&[("retry-after", "Wed, 21 Oct 2026 07:28:20 GMT")]), 500, 1_000);
    between(after(&[("retry-after", "soon")]), 500, 1_000);
    between(after(&[("retry-after", "")]), 500, 1_000);
    assert_eq!(after(&[("retry-after", "31536000")]), Duration::from_secs(60), "capped at `max`");
    assert_eq!(after(&[("retry-after", "99999999999999999999999")]), Duration::from_secs(60));
}

proptest! {
    #[test]
    fn any_failure_gets_a_decision_within_the_limits(
        status in 100u16..600, asked in ".{0,40}", date in ".{0,40}", attempt in any::<u32>(),
    ) {
        let answer = answer(status, &[("retry-after", &asked), ("date", &date)]);
        let decision = policy().decide(Failure::Answer(&answer), &key(0), attempt);
        if let Decision::RetryAfter(delay) = decision {
            prop_assert!(delay <= Duration::from_secs(60) && attempt < 4);
        }
    }
}

#[test]
fn without_a_token_no_attempt_is_burnt_and_nobody_comes_back_before_one_is_asked_for() {
    let error = |trouble| CallError::Token {
        remote: "bank".into(),
        message: "answered with 401".into(),
        trouble,
        wait: Duration::from_secs(20),
    };
    for trouble in [Trouble::Unreachable, Trouble::Refused] {
        let error = error(trouble);
        let failure = Failure::Error(&error);
        assert!(!failure.is_an_attempt() && !failure.leaves_doubt());
        for attempt in [1, 4, 1_000] {
            let decision = policy().decide(failure, &key(0), attempt);
            let Decision::RetryAfter(delay) = decision else { panic!("{decision:?}") };
            assert!((20_000..=60_000).contains(&(delay.as_millis() as u64)), "{delay:?}");
        }
    }
    assert_eq!(reason(Failure::Error(&error(Trouble::Unreachable))), ParkReason::Transport);
    assert_eq!(reason(Failure::Error(&error(Trouble::Refused))), ParkReason::Auth);
}
