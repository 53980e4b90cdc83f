//! What is to be told to whom, of the checks as they are. Pure.

use super::{Least, Target, names::wanted};
use crate::health::{Check, State};
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// What a target wants to be told.
#[derive(Clone, Debug, Default)]
pub struct Aim {
    /// From which state on.
    pub from: Least,
    /// Of which names; of all where it is empty.
    pub only: Vec<String>,
}

impl Aim {
    /// Whether it is to be told of something of this name that is in this state, whatever was told before.
    pub(super) fn takes(&self, name: &str, state: State) -> bool {
        wanted(&self.only, name) && (self.from == Least::Warn || state == State::Fail)
    }
}

impl From<&Target> for Aim {
    fn from(target: &Target) -> Self {
        Self { from: target.from, only: target.only.clone() }
    }
}

/// Something that is to be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Whom: the place of its aim.
    pub target: usize,
    /// Of which check.
    pub name: String,
    /// The state, as far as the target cares.
    pub state: State,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Follows the checks, and says what is to be told: a state that has lasted long enough and differs from what the
/// target was told last. To whoever was told nothing, all is well.
#[derive(Debug)]
pub struct Watcher {
    after: Duration,
    aims: Vec<Aim>,
    seen: BTreeMap<String, [Lasting; 2]>,
    /// What each was told last.
    told: Vec<BTreeMap<String, State>>,
}

/// How long something has been as it is to those who are told from a state on.
#[derive(Clone, Copy, Debug)]
struct Lasting {
    state: State,
    from: Instant,
    since: Timestamp,
}

impl Watcher {
    /// Nobody was told anything.
    pub fn new(after: Duration, aims: Vec<Aim>) -> Self {
        let told = aims.iter().map(|_| BTreeMap::new()).collect();
        Self { after, aims, seen: BTreeMap::new(), told }
    }

    /// This target was told so, by an earlier process or by another instance.
    pub fn was_told(&mut self, target: usize, name: &str, state: State) {
        if let Some(told) = self.told.get_mut(target) {
            told.insert(name.to_owned(), state);
        }
    }

    /// What is to be told, now that the checks are these. One that is not among them is left as it was told, and has
    /// to last anew once it is there again.
    pub fn look(&mut self, checks: &[Check], now: Instant, at: Timestamp) -> Vec<Telling> {
        self.seen.retain(|name, _| checks.iter().any(|it| it.name == *name));
        let mut tellings = Vec::new();
        for check in checks {
            let lasting = [Least::Warn, Least::Fail].map(|least| Lasting {
                state: least.of(check.state),
                from: now,
                since: check.since.unwrap_or(at),
            });
            let seen = self.seen.entry(check.name.clone()).or_insert(lasting);
            for (seen, lasting) in seen.iter_mut().zip(lasting) {
                if seen.state != lasting.state {
                    *seen = lasting;
                }
            }
            for (target, (aim, told)) in self.aims.iter().zip(&mut self.told).enumerate() {
                if !wanted(&aim.only, &check.name) {
                    continue;
                }
                let Lasting { state, from, since } = seen[usize::from(aim.from == Least::Fail)];
                let last = told.get(&check.name).copied().unwrap_or(State::Ok);
                if state == last || now.saturating_duration_since(from) < self.after {
                    continue;
                }
                told.insert(check.name.clone(), state);
                let (name, reason) = (check.name.clone(), check.reason.to_string());
                tellings.push(Telling { target, name, state, reason, since });
            }
        }
        tellings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn aim(from: Least, only: &[&str]) -> Aim {
        Aim { from, only: only.iter().map(|it| (*it).to_owned()).collect() }
    }

    fn check(name: &str, state: State) -> Check {
        Check::new(name, state, "so")
    }

    /// What is told at each second while one check is in these states; `None`: it is not there.
    fn told(watcher: &mut Watcher, states: &[Option<State>]) -> Vec<(usize, usize, State)> {
        let start = Instant::now();
        let mut told = Vec::new();
        for (second, state) in states.iter().enumerate() {
            let checks: Vec<Check> = state.iter().map(|it| check("it", *it)).collect();
            let now = start + SECOND * u32::try_from(second).expect("few");
            let tellings = watcher.look(&checks, now, Timestamp::UNIX_EPOCH);
            told.extend(tellings.into_iter().map(|it| (second, it.target, it.state)));
        }
        told
    }

    const OK: Option<State> = Some(State::Ok);
    const WARN: Option<State> = Some(State::Warn);
    const FAIL: Option<State> = Some(State::Fail);

    #[test]
    fn what_lasts_is_told_once_and_so_is_its_end() {
        let mut watcher = Watcher::new(2 * SECOND, vec![aim(Least::Warn, &[])]);
        let states = [OK, OK, OK, FAIL, FAIL, FAIL, FAIL, FAIL, OK, OK, OK, OK];
        assert_eq!(told(&mut watcher, &states), [(5, 0, State::Fail), (10, 0, State::Ok)]);
    }

    #[test]
    fn what_does_not_last_is_not_told() {
        let mut watcher = Watcher::new(2 * SECOND, vec![aim(Least::Warn, &[])]);
        assert_eq!(told(&mut watcher, &[OK, FAIL, FAIL, OK, FAIL, WARN, OK, OK, OK]), []);
    }

    #[test]
    fn who_is_told_of_failures_alone_hears_of_no_warning() {
        let mut watcher = Watcher::new(SECOND, vec![aim(Least::Warn, &[]), aim(Least::Fail, &[])]);
        let states = [WARN, WARN, FAIL, FAIL, WARN, WARN, FAIL, OK, OK];
        let expected = [
            (1, 0, State::Warn),
            (3, 0, State::Fail),
            (3, 1, State::Fail),
            (5, 0, State::Warn),
            (5, 1, State::Ok),
            (8, 0, State::Ok),
        ];
        assert_eq!(told(&mut watcher, &states), expected);
    }

    #[test]
    fn what_is_not_there_any_more_has_not_recovered() {
        let mut watcher = Watcher::new(SECOND, vec![aim(Least::Warn, &[])]);
        let states = [FAIL, FAIL, None, None, None, FAIL, FAIL, None, OK, OK];
        assert_eq!(told(&mut watcher, &states), [(1, 0, State::Fail), (9, 0, State::Ok)]);
    }

    #[test]
    fn what_an_earlier_process_told_is_not_told_again_but_its_end_is() {
        let mut watcher = Watcher::new(SECOND, vec![aim(Least::Warn, &[]), aim(Least::Warn, &[])]);
        watcher.was_told(0, "it", State::Fail);
        let expected = [(1, 1, State::Fail), (3, 0, State::Ok), (3, 1, State::Ok)];
        assert_eq!(told(&mut watcher, &[FAIL, FAIL, OK, OK]), expected);
    }

    #[test]
    fn who_asks_for_names_hears_of_no_other() {
        let mut watcher = Watcher::new(Duration::ZERO, vec![aim(Least::Warn, &["remote.*"])]);
        let checks = [check("remote.bank", State::Fail), check("source.main.lag", State::Fail)];
        let told = watcher.look(&checks, Instant::now(), Timestamp::UNIX_EPOCH);
        assert_eq!(told.iter().map(|it| &*it.name).collect::<Vec<_>>(), ["remote.bank"]);
    }

    fn state() -> impl Strategy<Value = Option<State>> {
        prop_oneof![
            3 => Just(Some(State::Ok)),
            2 => Just(Some(State::Warn)),
            2 => Just(Some(State::Fail)),
            1 => Just(None),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_told_twice_in_a_row_nothing_begins_by_being_well_and_the_last_word_is_true(
            states in prop::collection::vec((state(), state()), 0..60),
            last in (state(), state()),
            after in 0u64..5,
        ) {
            let aims = vec![aim(Least::Warn, &[]), aim(Least::Fail, &["a"])];
            let mut watcher = Watcher::new(Duration::from_secs(after), aims.clone());
            let start = Instant::now();
            let quiet = usize::try_from(after).expect("few") + 1;
            let all = states.iter().copied().chain(std::iter::repeat_n(last, quiet));
            let mut told: BTreeMap<(usize, String), Vec<State>> = BTreeMap::new();
            for (second, (a, b)) in all.enumerate() {
                let named = [("a", a), ("b", b)];
                let checks: Vec<Check> =
                    named.iter().filter_map(|(name, state)| Some(check(name, (*state)?))).collect();
                let now = start + SECOND * u32::try_from(second).expect("few");
                for it in watcher.look(&checks, now, Timestamp::UNIX_EPOCH) {
                    told.entry((it.target, it.name)).or_default().push(it.state);
                }
            }
            for ((target, name), states) in &told {
                prop_assert!(states[0] != State::Ok, "{} {}: {:?}", target, name, states);
                prop_assert!(states.windows(2).all(|it| it[0] != it[1]), "{} {}: {:?}", target, name, states);
                prop_assert!(*target == 0 || name == "a");
            }
            for (at, name, state) in [(0, "a", last.0), (0, "b", last.1), (1, "a", last.0)] {
                // Of what is not there in the end nothing is known.
                let Some(state) = state else { continue };
                let said = told.get(&(at, name.to_owned())).and_then(|it| it.last()).copied();
                prop_assert_eq!(said.unwrap_or(State::Ok), aims[at].from.of(state));
            }
        }
    }
}
