use super::*;
use crate::{
    model::{RunCounts, RunKind, RunState},
    notify::EndedRun,
};
use proptest::prelude::*;

fn item(name: &str, state: State) -> Item {
    let (name, reason) = (name.to_owned(), "so".to_owned());
    let subject = Subject::Check { name, state, reason, since: Timestamp::UNIX_EPOCH };
    Item { id: "1".to_owned(), at: Timestamp::UNIX_EPOCH, subject }
}

fn run(id: i64) -> Item {
    let run = EndedRun {
        id: RunId(id),
        source: "main".into(),
        kind: RunKind::Prune,
        entity: None,
        end: RunState::Done,
        why: None,
        counts: RunCounts::default(),
        findings: None,
        finished_at: None,
    };
    Item { id: id.to_string(), at: Timestamp::UNIX_EPOCH, subject: Subject::Run(run) }
}

fn pushed(queue: &mut Queue, items: &[(&str, State)]) {
    for (name, state) in items {
        queue.push(item(name, *state), Instant::now());
    }
}

/// The target takes everything that waits.
fn taken(queue: &mut Queue) -> Vec<(String, State, State)> {
    let mut taken = Vec::new();
    while let Some((item, was)) = queue.next() {
        taken.push((item.subject.name().to_owned(), was, item.subject.state()));
        queue.delivered(Timestamp::UNIX_EPOCH);
    }
    taken
}

fn told(name: &str, state: State) -> Told {
    let (since, at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    Told { target: "pager".to_owned(), name: name.to_owned(), state, since, at }
}

#[test]
fn the_order_is_kept_and_each_is_told_with_what_was_told_before() {
    let mut queue = Queue::new(LIMIT);
    pushed(&mut queue, &[("a", State::Warn), ("b", State::Fail)]);
    let expected = [("a", State::Ok, State::Warn), ("b", State::Ok, State::Fail)];
    assert_eq!(taken(&mut queue), expected.map(|(name, was, state)| (name.to_owned(), was, state)));
    pushed(&mut queue, &[("a", State::Fail)]);
    assert_eq!(taken(&mut queue), [("a".to_owned(), State::Warn, State::Fail)]);
}

#[test]
fn what_is_overtaken_is_left_out_and_what_is_over_before_it_was_told_too() {
    let mut queue = Queue::new(LIMIT);
    pushed(&mut queue, &[("a", State::Warn), ("b", State::Fail), ("a", State::Fail), ("b", State::Ok)]);
    assert_eq!(taken(&mut queue), [("a".to_owned(), State::Ok, State::Fail)]);
    // The same while an attempt is under way.
    pushed(&mut queue, &[("b", State::Fail)]);
    assert!(queue.next().is_some());
    pushed(&mut queue, &[("b", State::Ok)]);
    queue.again(false);
    assert_eq!(taken(&mut queue), []);
}

#[test]
fn what_may_have_been_heard_is_followed_by_its_end() {
    let mut queue = Queue::new(LIMIT);
    pushed(&mut queue, &[("a", State::Fail)]);
    assert!(queue.next().is_some());
    pushed(&mut queue, &[("a", State::Ok)]);
    queue.again(true);
    assert_eq!(taken(&mut queue), [("a".to_owned(), State::Ok, State::Ok)]);
}

#[test]
fn the_oldest_is_dropped_but_never_what_is_being_told() {
    let mut queue = Queue::new(2);
    pushed(&mut queue, &[("a", State::Fail), ("b", State::Fail)]);
    assert!(queue.next().is_some());
    assert!(!queue.push(item("c", State::Fail), Instant::now()));
    let names: Vec<_> = taken(&mut queue).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn the_end_of_a_run_is_taken_over_once_and_known_until_it_is_saved() {
    let mut queue = Queue::new(LIMIT);
    for id in [1, 2, 1] {
        queue.push(run(id), Instant::now());
    }
    assert_eq!((queue.len(), queue.unsaved_runs("main")), (2, vec![]));
    assert!(queue.next().is_some());
    queue.given_up();
    assert_eq!((queue.unsaved_runs("main"), queue.unsaved_runs("other")), (vec![RunId(1)], vec![]));
    queue.saved_runs("main", &[RunId(1)]);
    assert_eq!(queue.unsaved_runs("main"), []);
}

#[test]
fn what_was_told_is_saved_and_learned() {
    let mut queue = Queue::new(LIMIT);
    pushed(&mut queue, &[("a", State::Fail)]);
    taken(&mut queue);
    let unsaved = queue.unsaved("pager");
    assert_eq!(unsaved, [told("a", State::Fail)]);
    assert!(!queue.learn(&told("a", State::Ok)), "what is not saved is newer");
    queue.saved(&unsaved[0]);
    assert_eq!(queue.unsaved("pager"), []);
    assert!(!queue.learn(&told("a", State::Fail)) && queue.learn(&told("a", State::Warn)));
    pushed(&mut queue, &[("b", State::Fail)]);
    assert!(!queue.learn(&told("b", State::Warn)), "something waits");
}

#[derive(Clone, Debug)]
enum Act {
    Push(&'static str, State),
    Deliver,
    Fail,
    GiveUp,
}

fn act() -> impl Strategy<Value = Act> {
    let (name, state) = (prop::sample::select(vec!["a", "b"]), prop::sample::select(State::ALL.to_vec()));
    prop_oneof![
        4 => (name, state).prop_map(|(name, state)| Act::Push(name, state)),
        3 => Just(Act::Deliver),
        2 => Just(Act::Fail),
        1 => Just(Act::GiveUp),
    ]
}

proptest! {
    #[test]
    fn a_target_hears_no_state_twice_in_a_row_and_in_the_end_the_newest(acts in prop::collection::vec(act(), 0..80)) {
        let mut queue = Queue::new(LIMIT);
        let (mut heard, mut newest) = (BTreeMap::<String, Vec<State>>::new(), BTreeMap::new());
        let hear = |queue: &mut Queue, heard: &mut BTreeMap<String, Vec<State>>, item: &Item| {
            heard.entry(item.subject.name().to_owned()).or_default().push(item.subject.state());
            queue.delivered(Timestamp::UNIX_EPOCH);
        };
        for act in acts {
            match act {
                Act::Push(name, state) => {
                    if newest.insert(name.to_owned(), Some(state)) != Some(Some(state)) {
                        queue.push(item(name, state), Instant::now());
                    }
                }
                Act::Deliver => if let Some((item, _)) = queue.next() { hear(&mut queue, &mut heard, &item) },
                Act::Fail => if queue.next().is_some() { queue.again(false) },
                Act::GiveUp => if let Some((item, _)) = queue.next() {
                    queue.given_up();
                    newest.insert(item.subject.name().to_owned(), None);
                },
            }
        }
        while let Some((item, _)) = queue.next() {
            hear(&mut queue, &mut heard, &item);
        }
        for (name, states) in &heard {
            prop_assert!(states[0] != State::Ok, "{}: {:?}", name, states);
            prop_assert!(states.windows(2).all(|it| it[0] != it[1]), "{}: {:?}", name, states);
        }
        for (name, state) in newest {
            let last = heard.get(&name).and_then(|it| it.last()).copied().unwrap_or(State::Ok);
            prop_assert!(state.is_none_or(|it| it == last), "{}: {:?} {:?}", name, state, last);
        }
    }
}
