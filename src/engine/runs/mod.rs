//! Bounded runs beside the stream: the rows of a table, piece by piece in the order of their keys,
//! and the deletes of what has no row any more.
//!
//! A piece is read in one statement, with the snapshot that it was read by. Then a mark is written
//! into the log. When the mark arrives, everything that was committed before it has arrived too; so
//! what is left of the piece is placed there, as if the mark's transaction had written it. What the
//! stream brought of a row in between, and the piece's snapshot does not see, has overtaken the row:
//! it is left out. What the snapshot sees is in the row, however late the stream brings it.
//!
//! The rows count as changes of the mark's transaction, so the checkpoint does not pass the mark before
//! they have outcomes (invariant 1), and a run goes on behind the last piece of which all rows have.
//! Before anything of a piece is sent, it is durable how far the piece goes: after a crash it is known
//! what an earlier process may have sent ([`unsure`]).
//!
//! One run is carried at a time. Nothing here waits for I/O: reads and marks are tasks of their own.

mod keyed;
mod order;
mod pace;
mod piece;
mod placing;
mod reading;
mod replay;
mod replayed;
mod unsure;

pub use order::{Assignment, Replay, ReplayFeed, RunOrder, RunWork, Window};

pub(super) use reading::{Loaded, Unread};
pub(super) use replay::Replaying;
pub(super) use replayed::Replayed;

use super::{lanes::LaneKey, work::Work};
use crate::{
    capture::{ChunkReader, KeyValues},
    model::{Change, ChangeId, Image, Link, Lsn, Outcome, RunCounts, RunEnd, RunId, RunProgress},
    routing::RouteId,
};
use order::Cursor;
use pace::Pace;
use piece::{Piece, Reading, Recent, Stage};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};
use unsure::Phases;

/// The run that is carried, and what it needs to know of the stream.
pub(super) struct Runs {
    reader: Arc<dyn ChunkReader>,
    orders: UnboundedReceiver<RunOrder>,
    /// Tells our marks from those of others, and of former processes.
    nonce: Box<str>,
    active: Option<Active>,
    /// The replay that is carried.
    replays: Option<RunId>,
    /// The routes on which what the remote was told last is not certain.
    uncompared: Vec<RouteId>,
    recent: Recent,
    numbers: u64,
    /// What is to be settled, of it and of one that was carried before.
    progress: Vec<RunProgress>,
}

struct Active {
    run: RunId,
    /// What its call keys are made of.
    called: ChangeId,
    routes: Vec<RouteId>,
    assignment: Assignment,
    cursor: Cursor,
    phases: Phases,
    /// Where the next piece begins; `None` once everything is read.
    next: Option<From>,
    reading: Option<Reading>,
    pieces: VecDeque<Piece>,
    pace: Pace,
    /// Nothing is read before this.
    not_before: Option<Instant>,
    paused: bool,
    counted: bool,
    /// What an earlier process may have sent, and where the key may have no link for it.
    doubt: HashSet<LaneKey>,
}

impl Active {
    fn may_read(&self) -> bool {
        !self.paused || self.phases.holds_stream()
    }
}

#[derive(Clone, Debug, Default)]
struct From {
    after: Option<KeyValues>,
    route: usize,
}

/// What sets the row of a run apart from a change of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForRun {
    /// What its call keys are made of.
    pub(super) called: ChangeId,
    /// An earlier process may have sent it.
    pub(super) suspect: bool,
    /// It is sent also if it says what was said before.
    pub(super) forced: bool,
    /// It goes ahead of a change of the stream, and is left out if the key has a link ([`unsure`]).
    pub(super) ahead: bool,
    /// It is a change that was sent before.
    pub(super) replayed: Option<Replayed>,
}

impl Runs {
    pub(super) fn new(reader: Arc<dyn ChunkReader>, orders: UnboundedReceiver<RunOrder>, nonce: u64) -> Self {
        Self {
            reader,
            orders,
            nonce: format!("{nonce:016x}").into(),
            active: None,
            replays: None,
            uncompared: Vec::new(),
            recent: Recent::default(),
            numbers: 0,
            progress: Vec::new(),
        }
    }

    /// The next order; for ever none, if nobody is left to give any.
    pub(super) async fn order(&mut self) -> RunOrder {
        match self.orders.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }

    /// The stream has to wait until it is known what is in doubt.
    pub(super) fn holds_stream(&self) -> bool {
        self.active.as_ref().is_some_and(|it| it.phases.holds_stream())
    }

    /// Whether a change of this key, which the stream brings, has to go out first as the row that an
    /// earlier process may have sent.
    pub(super) fn goes_ahead(&mut self, route: RouteId, key: &Arc<str>, change: &Change) -> Option<ForRun> {
        let active = self.active.as_mut()?;
        if active.doubt.is_empty() {
            return None;
        }
        let brings = !matches!(change.image, Image::Delete { .. } | Image::Truncate);
        let ahead =
            ForRun { called: active.called, suspect: true, forced: false, ahead: true, replayed: None };
        (active.doubt.remove(&(route, Arc::clone(key))) && brings).then_some(ahead)
    }

    /// What a replay sent in an earlier process, and did not see settled, is in no link: until it is over,
    /// no change is left out because it says what the link says.
    pub(super) fn compares(&self, route: RouteId) -> bool {
        !self.uncompared.contains(&route)
    }

    /// A replay on these routes is about to go on.
    pub(super) fn expect_replay(&mut self, routes: Vec<RouteId>) {
        self.uncompared = routes;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.is_none() && self.replays.is_none() && self.progress.is_empty()
    }

    fn pause(&mut self, run: RunId, paused: bool) {
        self.active.iter_mut().filter(|it| it.run == run).for_each(|it| it.paused = paused);
    }

    /// When to look again whatever happens.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.active.as_ref().filter(|it| it.reading.is_none() && it.may_read())?.not_before
    }

    /// Something is to be settled that comes with no outcome.
    pub(super) fn has_news(&self) -> bool {
        !self.progress.is_empty()
    }

    pub(super) fn take_progress(&mut self) -> Vec<RunProgress> {
        std::mem::take(&mut self.progress)
    }

    /// The newest piece of which the bound is settled with what is taken now.
    pub(super) fn newest(&self) -> u64 {
        self.numbers
    }

    /// The stream brought a change of this transaction.
    pub(super) fn arrived(&mut self, transaction: Option<u32>) {
        if let Some(transaction) = transaction {
            self.recent.arrived(transaction);
        }
    }

    /// The stream brought a change of this key; an empty one stands for all of the table.
    pub(super) fn touch(&mut self, route: RouteId, key: &Arc<str>, change: &Change) {
        let Some(active) = &mut self.active else { return };
        if !active.routes.contains(&route) || change.table.name != active.assignment.work.of().table {
            return;
        }
        let transaction = change.transaction;
        let all = matches!(change.image, Image::Truncate);
        if let Some(reading) = &mut active.reading {
            if all { reading.truncate(transaction) } else { reading.touch(key, transaction) }
        }
        for piece in &mut active.pieces {
            if all { piece.truncate(transaction) } else { piece.touch(key, transaction) }
        }
    }

    /// A row of a run has its outcome; `link` is what was known of its key before.
    pub(super) fn count(&mut self, work: &Work, link: Option<&Link>, outcome: &Outcome) {
        // What goes ahead of the stream comes again, and is counted then.
        let Some(ForRun { ahead: false, .. }) = work.for_run else { return };
        let replayed = work.for_run.and_then(|it| it.replayed);
        let run = match replayed {
            // It was counted when it came first.
            Some(replayed) if link.is_some_and(|link| replayed.has_come(work.id(), link)) => None,
            Some(replayed) => replayed.again.run.filter(|run| self.replays == Some(*run)),
            None => self.active.as_ref().filter(|it| it.called == work.called).map(|it| it.run),
        };
        let Some(run) = run.filter(|_| !work.parked) else { return };
        let mut counts = RunCounts { read: u64::from(replayed.is_some()), ..RunCounts::default() };
        match outcome {
            Outcome::Applied { .. } => counts.applied = 1,
            Outcome::Unchanged | Outcome::Skipped { .. } => counts.skipped = 1,
            Outcome::Parked(_) => counts.parked = 1,
        }
        let piece = self.active.as_mut().and_then(|active| {
            let mut pieces = active.pieces.iter_mut().filter(|_| replayed.is_none());
            pieces.find(|it| it.stage == Stage::Placed(work.id().commit))
        });
        match piece {
            Some(piece) => piece.counts.add(counts),
            None => self.tell(run).counts.add(counts),
        }
    }

    pub(super) fn tell(&mut self, run: RunId) -> &mut RunProgress {
        let at = self.progress.iter().position(|it| it.run == run).unwrap_or_else(|| {
            let (cursor, counts) = (None, RunCounts::default());
            self.progress.push(RunProgress { run, cursor, counts, expected: None, report: None, end: None });
            self.progress.len() - 1
        });
        &mut self.progress[at]
    }

    /// Stores where the run stands.
    fn tell_cursor(&mut self) {
        let Some(active) = &self.active else { return };
        let (run, cursor) = (active.run, serde_json::to_value(&active.cursor).ok());
        self.tell(run).cursor = cursor;
    }

    fn end(&mut self, end: RunEnd) {
        if let Some(active) = self.active.take() {
            match &end {
                RunEnd::Done => tracing::info!(run = %active.run, "the run is done"),
                RunEnd::Failed(why) => tracing::warn!(run = %active.run, "the run failed: {why}"),
            }
            let progress = self.tell(active.run);
            progress.end = Some(end);
            // Nobody comes back to them.
            active.pieces.iter().for_each(|it| progress.counts.add(it.counts));
        }
    }

    /// Moves the cursor over pieces of which all rows have outcomes. `is_open`: of a transaction, that
    /// some of its changes have none.
    pub(super) fn advance(&mut self, is_open: impl Fn(Lsn) -> bool) {
        let Some(active) = &mut self.active else { return };
        let mut counts = RunCounts::default();
        let mut moved = false;
        while let Some(piece) = active.pieces.front()
            && let Stage::Placed(commit) = piece.stage
            && !is_open(commit)
        {
            let Some(mut piece) = active.pieces.pop_front() else { break };
            counts.add(piece.counts);
            counts.skipped += piece.take_left_out();
            moved = true;
            active.cursor.route = piece.route;
            active.cursor.after = piece.end;
        }
        let (run, over) =
            (active.run, active.next.is_none() && active.reading.is_none() && active.pieces.is_empty());
        if moved {
            self.tell(run).counts.add(counts);
            self.tell_cursor();
        }
        if over {
            self.end(RunEnd::Done);
        }
    }
}
