//! Many short lives of the engine, each ended in order or by a crash at any moment, against a store
//! and a remote that take their time and a remote that fails: every version is sent exactly once, and
//! in the order of its key (invariants 1 to 3). The clock is paused, so each seed is always the same
//! run; `ROWCALL_LIVES` makes another number of them.

use super::{
    store::{Asked, Hook, Hooked},
    *,
};
use crate::{
    model::{ByteSize, CallKey, Op},
    remote::{Attempt, CallError, Leave, RemoteClient},
};
use std::sync::{Mutex, PoisonError};
use tokio::time::{sleep, timeout};

/// Seeded randomness (SplitMix64), shared by all that choose.
#[derive(Clone)]
pub(super) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(super) fn below(&self, limit: u64) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn happens(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Mostly short, now and then long.
    pub(super) async fn pause(&self, longest: u64) {
        let longest = if self.happens(80) { longest / 8 } else { longest };
        sleep(Duration::from_millis(self.below(longest.max(1)))).await;
    }
}

/// What was to be sent for one key, or was: which change, which call of its sequence.
pub(super) type Sent = (ChangeId, &'static str);

fn step(name: &str) -> &'static str {
    match name {
        "create" | "update" => "put",
        "second" => "second",
        "delete" => "delete",
        other => panic!("what is {other}?"),
    }
}

/// Honours call keys.
pub(super) struct Shaky {
    dice: Dice,
    /// How many calls in a hundred go wrong.
    pub(super) wrong: Mutex<u64>,
    pub(super) applied: Mutex<Vec<(String, Sent)>>,
    known: Mutex<BTreeMap<String, Call>>,
    /// What each key's row is now.
    pub(super) rows: Mutex<BTreeMap<String, String>>,
    /// Under which call key an object was made of a row that had one.
    pub(super) doubled: Mutex<Vec<String>>,
    /// A key may come with another request: after a crash changes may merge otherwise, under the key of the
    /// oldest, and what a replay sends again goes by the present link.
    merged: bool,
}

impl Shaky {
    /// So many calls in a hundred go wrong.
    pub(super) fn new(dice: &Dice, wrong: u64, merged: bool) -> Arc<Self> {
        let (wrong, dice) = (Mutex::new(wrong), dice.clone());
        let (applied, known, rows, doubled) = Default::default();
        Arc::new(Self { dice, wrong, applied, known, rows, doubled, merged })
    }

    fn apply(&self, call: &Call, key: &CallKey) {
        let before = self.known.lock().expect("no panic").insert(key.to_string(), call.clone());
        match before {
            Some(before) => {
                assert!(self.merged || before == *call, "{key} came back with another request: {call:?}");
            }
            None => {
                let of = call.path.rsplit('/').next().unwrap_or_default().to_owned();
                let mut rows = self.rows.lock().expect("no panic");
                if &*key.step == "create" && rows.contains_key(&of) {
                    self.doubled.lock().expect("no panic").push(key.to_string());
                }
                match call.body.bytes().filter(|_| call.method != Method::Delete) {
                    Some(body) => drop(rows.insert(of.clone(), String::from_utf8_lossy(body).into_owned())),
                    None => drop(rows.remove(&of)),
                }
                let sent = (key.change, step(&key.step));
                self.applied.lock().expect("no panic").push((of, sent));
            }
        }
    }
}

#[async_trait]
impl RemoteClient for Shaky {
    async fn attempt(&self, call: &Call, key: &CallKey, leave: &mut dyn Leave) -> Result<Attempt, CallError> {
        if !leave.begin() {
            return Ok(Attempt::Held);
        }
        self.call_now(call, key).await.map(Attempt::Answered)
    }
}

impl Shaky {
    async fn call_now(&self, call: &Call, key: &CallKey) -> Result<Answer, CallError> {
        self.dice.pause(80).await;
        let wrong = *self.wrong.lock().expect("no panic");
        let broken = || CallError::Transport { remote: "fake".to_owned(), message: "it broke".to_owned() };
        if self.dice.happens(wrong) {
            return match self.dice.below(3) {
                0 => Err(broken()),
                1 => status(503),
                _ => {
                    self.apply(call, key);
                    self.dice.pause(80).await;
                    Err(broken())
                }
            };
        }
        self.apply(call, key);
        self.dice.pause(80).await;
        status(200)
    }
}

/// A store that takes its time before and after.
pub(super) struct Distant {
    pub(super) dice: Dice,
    /// Tells of each settlement.
    pub(super) news: watch::Sender<()>,
}

impl Distant {
    async fn pause(&self, asked: Asked<'_>) {
        let longest = if matches!(asked, Asked::Due) { 80 } else { 40 };
        self.dice.pause(longest).await;
    }
}

#[async_trait]
impl Hook for Distant {
    async fn before(&self, asked: Asked<'_>) {
        self.pause(asked).await;
    }

    async fn after(&self, asked: Asked<'_>) {
        if matches!(asked, Asked::Settle) {
            self.news.send_replace(());
        }
        self.pause(asked).await;
    }
}

impl Rig {
    pub(super) async fn checkpoint(&self) -> Lsn {
        self.store.checkpoint().await.expect("it answers").map_or(Lsn::ZERO, |it| it.lsn)
    }
}

/// What the source holds: transactions, and what each key is to be sent.
pub(super) struct Log {
    pub(super) transactions: Vec<Vec<Captured>>,
    expected: BTreeMap<String, Vec<Sent>>,
    /// What is there in the end.
    pub(super) rows: BTreeMap<String, String>,
}

const KEYS: u64 = 4;

pub(super) fn log(dice: &Dice, length: usize) -> Log {
    let mut stream = Stream::new();
    let mut there = [false; KEYS as usize];
    let mut transactions = Vec::new();
    for _ in 0..length {
        for _ in 0..1 + dice.below(3) {
            let (at, other) = (dice.below(KEYS) as usize, dice.below(KEYS) as usize);
            let (name, to) = (at.to_string(), other.to_string());
            let v = if dice.happens(40) { "two" } else { "one" };
            let v = format!("{v} {}-{}", stream.commit, stream.ordinal);
            stream = match dice.below(10) {
                _ if !there[at] => {
                    there[at] = true;
                    stream.insert(&name, &v)
                }
                0 => {
                    there[at] = false;
                    stream.delete(&name)
                }
                1 if !there[other] => {
                    (there[at], there[other]) = (false, true);
                    stream.rename(&name, &to, &v)
                }
                _ => stream.update(&name, &v),
            };
        }
        stream = stream.commit();
        transactions.push(std::mem::take(&mut stream.batch));
    }
    let mut expected: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for captured in transactions.iter().flatten() {
        let Captured::Change(change) = captured else { continue };
        let text = |row: &Row, column: &str| match row.get(column) {
            Some(Cell::Text(text)) => text.to_owned(),
            other => panic!("{other:?}"),
        };
        let (row, steps): (&Row, &[&'static str]) = match &change.image {
            Image::Insert { new } | Image::Update { new, .. } if text(new, "v").starts_with("two") => {
                (new, &["put", "second"])
            }
            Image::Insert { new } | Image::Update { new, .. } => (new, &["put"]),
            Image::Delete { old } => (old, &["delete"]),
            other => panic!("{other:?}"),
        };
        match change.op() {
            Op::Delete => drop(rows.remove(&text(row, "id"))),
            _ => drop(rows.insert(text(row, "id"), text(row, "v"))),
        }
        let of_key = expected.entry(text(row, "id")).or_default();
        of_key.extend(steps.iter().map(|step| (change.id, *step)));
    }
    Log { transactions, expected, rows }
}

pub(super) fn end_of(transaction: &[Captured]) -> Lsn {
    match transaction.last() {
        Some(Captured::Commit(commit)) => commit.end,
        other => panic!("{other:?}"),
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    InOrder,
    Crash,
}

async fn lives(seed: u64, crashes: bool, coalesce: bool) {
    let dice = Dice::new(seed);
    let Log { transactions, expected, rows } = log(&dice, 40);
    let shaky = Shaky::new(&dice, 20, coalesce);
    let mut rig = Rig {
        attempts: 50,
        coalesce,
        guard: WalGuard { bytes: ByteSize(1_000), after: Span(Duration::from_secs(3_600)) },
        ..Rig::new(FakeRemote::new())
    };
    let guarded = dice.happens(50);
    let (mut written, news) = (0, watch::Sender::new(()));
    for life in 0.. {
        let last = life == 12;
        let breaker = Breaker {
            failures: 2,
            open: Span(Duration::from_millis(30)),
            max: Some(Span(Duration::from_millis(100))),
            ..Breaker::default()
        };
        rig.governor = Governor::new("fake", 1 + dice.below(4) as u32, None, &breaker);
        rig.sent_before = transactions[..written].last().map_or(Lsn::ZERO, |it| end_of(it));
        let mut engine = rig.engine();
        let ground = Arc::get_mut(&mut engine.ground).expect("not shared yet");
        ground.store = Hooked::new(&rig.store, Distant { dice: dice.clone(), news: news.clone() });
        ground.remotes[0].client = Arc::clone(&shaky) as _;
        let from = rig.checkpoint().await;
        let (feed, mut source) = rig.fed();
        let come_again = transactions[..written].iter().filter(|it| end_of(it) > from);
        come_again.for_each(|it| feed.send(it.clone()).expect("it runs"));
        if last {
            *shaky.wrong.lock().expect("no panic") = 0;
            rig.kept.send_replace(None);
        }
        let end = if crashes && dice.happens(50) { End::Crash } else { End::InOrder };
        let (go, mut stop) = watch::channel(false);
        let run = engine.run(&mut source, &mut stop);
        tokio::pin!(run);
        let mut settled = news.subscribe();
        let living = async {
            for _ in 0..if last { transactions.len() as u64 } else { dice.below(12) } {
                if written < transactions.len() {
                    feed.send(transactions[written].clone()).expect("it runs");
                    written += 1;
                }
                if guarded && !last && dice.happens(20) {
                    let kept = if dice.happens(50) { 2_000 } else { 0 };
                    rig.kept.send_replace(Some(KeptLog { at: Timestamp::UNIX_EPOCH, lag: kept }));
                }
                dice.pause(400).await;
            }
            let all = end_of(&transactions[transactions.len() - 1]);
            while last && (rig.checkpoint().await < all || !rig.parked().is_empty()) {
                settled.changed().await.expect("the sender is ours");
            }
        };
        let lived = timeout(Duration::from_secs(600), meanwhile(run.as_mut(), living)).await;
        assert!(lived.is_ok(), "seed {seed}: it does not come to an end: {:?}", rig.parked());
        if matches!(end, End::InOrder) || last {
            go.send_replace(true);
            run.await.expect("it stops");
        }
        if last {
            break;
        }
    }
    assert_eq!(*shaky.rows.lock().expect("no panic"), rows, "seed {seed}, crashes {crashes}");
    if coalesce {
        return;
    }
    let mut applied: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    for (key, sent) in shaky.applied.lock().expect("no panic").drain(..) {
        applied.entry(key).or_default().push(sent);
    }
    for (key, expected) in &expected {
        assert_eq!(applied.get(key), Some(expected), "seed {seed}, crashes {crashes}, key {key}");
    }
}

pub(super) fn seeds() -> std::ops::Range<u64> {
    let of = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let first = of("ROWCALL_SEED").unwrap_or(1);
    first..first + of("ROWCALL_LIVES").unwrap_or(8)
}

#[tokio::test(start_paused = true)]
async fn lives_that_end_in_order_lose_repeat_and_reorder_nothing() {
    for seed in seeds() {
        lives(seed, false, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn lives_that_crash_lose_repeat_and_reorder_nothing() {
    for seed in seeds() {
        lives(seed, true, false).await;
    }
}

/// Coalescing leaves versions out, so that only the end can be held against the source.
#[tokio::test(start_paused = true)]
async fn lives_that_coalesce_come_to_the_newest_state() {
    for seed in seeds() {
        lives(seed, false, true).await;
        lives(seed, true, true).await;
    }
}
