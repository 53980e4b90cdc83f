//! Lives of the engine among parents and children, each ended in order or by a crash at any moment: answers
//! get lost, calls are refused for good, and now and then somebody has what was refused tried again. In the
//! end nothing waits for what never comes, and the remote has what the source has. As in
//! [`super::super::lives`], each seed is always the same run.

use super::{
    histories::{Present, Statement, write},
    office::{Office, TableRow},
    *,
};
use crate::{
    engine::tests::{
        lives::{Dice, end_of, seeds},
        store::{Asked, Hook, Hooked},
    },
    model::CallKey,
    remote::{Attempt, CallError, Leave, RemoteClient},
};
use tokio::time::timeout;

/// An office that fails, and loses answers.
struct Unsteady {
    dice: Dice,
    /// How many calls in a hundred go wrong.
    wrong: Mutex<u64>,
    office: Mutex<Office>,
}

#[async_trait]
impl RemoteClient for Unsteady {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        if !leave.begin() {
            return Ok(Attempt::Held);
        }
        self.dice.pause(80).await;
        let wrong = *self.wrong.lock().expect("whole");
        let broken = || CallError::Transport { remote: "fake".to_owned(), message: "it broke".to_owned() };
        let goes_wrong = self.dice.happens(wrong).then(|| self.dice.below(5));
        match goes_wrong {
            Some(0) => return Err(broken()),
            Some(1) => return status(503).map(Attempt::Answered),
            Some(2 | 3) => {
                self.office.lock().expect("whole").note(format!("{key}: refused for no reason"));
                return status(422).map(Attempt::Answered);
            }
            _ => {}
        }
        let answer = self.office.lock().expect("whole").call(call, key);
        self.dice.pause(80).await;
        if goes_wrong.is_some() { Err(broken()) } else { Ok(Attempt::Answered(answer)) }
    }
}

/// A store that takes its time, and now and then is out of reach for longer than many calls take.
struct Stalling {
    dice: Dice,
}

#[async_trait]
impl Hook for Stalling {
    async fn before(&self, asked: Asked<'_>) {
        if matches!(asked, Asked::Settle) && self.dice.happens(5) {
            self.dice.pause(16_000).await;
        }
        self.dice.pause(40).await;
    }

    async fn after(&self, _: Asked<'_>) {
        self.dice.pause(40).await;
    }
}

/// What the source holds, and what is there in the end. Rows of the tree hang on smaller ids: if two
/// change places while a move between is left out, they hang on each other at the remote for good.
fn log(dice: &Dice, length: usize) -> (Vec<Vec<Captured>>, Vec<TableRow>) {
    let (mut rows, mut present) = (Rows::new(), Present::new());
    let mut newest = BTreeMap::new();
    let mut transactions = Vec::new();
    for number in 0..length {
        for _ in 0..1 + dice.below(4) {
            let (table, id, other) = (dice.below(3) as usize, dice.below(4) as u8, dice.below(4) as u8);
            let parent = dice.below(if table == 2 { u64::from(id.max(1)) } else { 5 }) as u8;
            let statement = match dice.below(9) {
                0..4 => Statement::Put { table, id, parent },
                7.. if table < 2 => Statement::Move { table, id, to: other },
                _ => Statement::Delete { table, id },
            };
            rows = write(rows, &mut present, statement, &number.to_string());
        }
        rows = rows.commit();
        let transaction = std::mem::take(&mut rows.batch);
        for captured in &transaction {
            let Captured::Change(change) = captured else { continue };
            let text = |column: &str| match change.image.row()?.get(column) {
                Some(Cell::Text(text)) => Some(text.to_owned()),
                _ => None,
            };
            if let (Some(id), Some(v)) = (text("id"), text("v")) {
                newest.insert((change.table.id.0 as usize - 1, id), v);
            }
        }
        transactions.push(transaction);
    }
    let row = |(table, id): &(usize, u8)| {
        let id = id.to_string();
        let v = newest[&(*table, id.clone())].clone();
        (ROUTES[*table].to_owned(), id, v)
    };
    let mut expected: Vec<_> = present.keys().map(row).collect();
    expected.sort();
    (transactions, expected)
}

impl Family {
    fn told_of_parked(&self) -> Vec<String> {
        let line = |(at, id, it): (RouteKey, ChangeId, Parked)| {
            let (state, reason, message) = (it.state.name(), it.reason.name(), &it.message);
            let doubt = if it.doubt { "in doubt" } else { "" };
            format!(
                "{} {} {id} {state} {reason} {doubt} {} answers: {message}",
                at.route,
                at.key,
                it.answers.len()
            )
        };
        self.rig.store.parked().into_iter().map(line).collect()
    }

    fn retry_what_was_given_up(&self) {
        for (at, id, parked) in self.rig.store.parked() {
            if parked.state.is_given_up() {
                self.rig.store.retry(&at, id);
            }
        }
    }
}

async fn lives(seed: u64) {
    let dice = Dice::new(seed);
    let (transactions, expected) = log(&dice, 30);
    let (wrong, office) = (Mutex::new(30), Mutex::default());
    let remote = Arc::new(Unsteady { dice: dice.clone(), wrong, office });
    let mut family = Family::new();
    family.drawn = dice.happens(70);
    family.rig.coalesce = dice.happens(30);
    family.rig.attempts = 50;
    let mut written = 0;
    for life in 0.. {
        let last = life == 12;
        family.rig.governor = governor(1 + dice.below(8) as u32, None);
        family.rig.sent_before = transactions[..written].last().map_or(Lsn::ZERO, |it| end_of(it));
        let mut parts = family.rig.parts((0..ROUTES.len()).map(|at| family.route(at)), Arc::new(NoRows));
        parts.store = Hooked::new(&family.rig.store, Stalling { dice: dice.clone() });
        parts.remotes[0].client = Arc::clone(&remote) as _;
        let from = family.rig.checkpoint().await;
        let engine = Engine::new(parts, from);
        let (feed, mut source) = family.rig.fed();
        let come_again = transactions[..written].iter().filter(|it| end_of(it) > from);
        come_again.for_each(|it| feed.send(it.clone()).expect("it runs"));
        if last {
            *remote.wrong.lock().expect("whole") = 0;
        }
        let parked = family.told_of_parked();
        remote.office.lock().expect("whole").note(format!("life {life} from {from}, parked {parked:#?}"));
        let (go, mut stop) = watch::channel(false);
        let run = engine.run(&mut source, &mut stop);
        tokio::pin!(run);
        let living = async {
            for _ in 0..if last { transactions.len() as u64 } else { dice.below(10) } {
                if written < transactions.len() && (last || dice.happens(50)) {
                    feed.send(transactions[written].clone()).expect("it runs");
                    written += 1;
                }
                if dice.happens(10) {
                    family.retry_what_was_given_up();
                }
                dice.pause(400).await;
            }
            let all = end_of(&transactions[transactions.len() - 1]);
            while last && (family.rig.checkpoint().await < all || !family.parked().is_empty()) {
                family.retry_what_was_given_up();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let lived = timeout(Duration::from_secs(600), meanwhile(run.as_mut(), living)).await;
        if lived.is_err() {
            let history = &remote.office.lock().expect("whole").history;
            let parked = family.told_of_parked();
            panic!("seed {seed}: it does not come to an end: {parked:#?}\n{}", history.join("\n"));
        }
        if last || dice.happens(50) {
            go.send_replace(true);
            run.await.expect("it stops");
        }
        if last {
            break;
        }
    }
    let office = remote.office.lock().expect("whole");
    assert_eq!(office.unexplained(), [""; 0], "seed {seed}\n{}", office.history.join("\n"));
    assert_eq!(office.rows(), expected, "seed {seed}\n{}", office.history.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_refused_or_lost_both_sides_are_equal_once_it_was_tried_again() {
    for seed in seeds() {
        lives(seed).await;
    }
}
