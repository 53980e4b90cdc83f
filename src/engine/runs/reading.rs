//! How a run reads its pieces, one after another.

use super::{
    Active, From, RunOrder, RunWork,
    keyed::linked_of,
    order::{Assignment, Cursor},
    pace::Pace,
    piece::{Piece, Reading},
    unsure::Phases,
};
use crate::{
    capture::{ChunkLimit, ChunkReader, KeyValues, SourceError, Visible},
    engine::{Engine, Event, carry::Phase, reading::stopping, work::Charge},
    model::{ChangeId, Image, Row, RunEnd},
    routing::{RouteId, join_key, split_key},
    state::{StateError, StateStore},
};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Pieces that are read and not settled, at most.
const PIECES: usize = 3;
/// The part of the byte budget that one piece may take.
const SHARE: usize = 16;
/// What a small row costs while it is carried, about.
const CARRIED: usize = 1_024;
/// When a piece that did not see everything is read again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// When a read that failed is tried again.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);

/// What a task has read.
#[derive(Debug)]
pub(in crate::engine) struct Loaded {
    /// Whose turn it was: another run may have begun since.
    called: ChangeId,
    rows: Vec<Row>,
    /// `None`: nothing of it is to be sent.
    visible: Option<Visible>,
    shape: Option<Arc<str>>,
    looked_at: u64,
    /// How many it was to be, at most.
    asked: u64,
    /// The last key looked at, if there may be more behind it.
    end: Option<KeyValues>,
    took: Duration,
    expected: Option<u64>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum Unread {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl Unread {
    fn is_final(&self) -> bool {
        matches!(self, Self::Source(error) if error.is_final())
    }
}

impl Engine {
    pub(in crate::engine) fn obey(&mut self, order: RunOrder) {
        match order {
            RunOrder::Begin(assignment) => self.begin(*assignment),
            RunOrder::Replay(replay) => self.begin_replay(*replay),
            RunOrder::Pause(run) => {
                self.pause_replay(run, true);
                self.runs.pause(run, true);
            }
            RunOrder::Resume(run) => {
                self.pause_replay(run, false);
                self.runs.pause(run, false);
            }
            // What is with the lanes already goes on.
            RunOrder::Cancel(run) => {
                self.cancel_replay(run);
                drop(self.runs.active.take_if(|it| it.run == run));
            }
        }
    }

    /// Takes up a run; before the stream is read, if it was under way before.
    pub(in crate::engine) fn begin(&mut self, assignment: Assignment) {
        if self.runs.active.as_ref().is_some_and(|it| it.run == assignment.run) {
            return;
        }
        let cursor: Cursor =
            assignment.cursor.clone().and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
        let named = |name: &Arc<str>| self.router.find(name);
        let phases = match assignment.work {
            RunWork::Rows { .. } => Phases::of(&cursor),
            // A delete that is made twice takes nothing away.
            RunWork::Prune { .. } => Phases::Rest,
        };
        tracing::info!(run = %assignment.run, table = %assignment.work.of().table, "the run goes on");
        self.runs.active = Some(Active {
            run: assignment.run,
            called: assignment.run.as_change(assignment.base),
            routes: assignment.routes.iter().filter_map(named).collect(),
            next: Some(From { after: cursor.after.clone(), route: cursor.route }),
            phases,
            cursor,
            reading: None,
            pieces: VecDeque::new(),
            pace: Pace::default(),
            not_before: None,
            paused: assignment.paused,
            counted: assignment.cursor.is_some(),
            doubt: HashSet::new(),
            assignment,
        });
    }

    /// Reads the next piece, if it is time to.
    pub(in crate::engine) fn read_on(&mut self) {
        let now = Instant::now();
        let newest = self.runs.recent.count();
        let away = |route: &RouteId| self.is_away(*route);
        // What is read for a remote that is down would only be parked.
        let waits = self.runs.active.as_ref().is_some_and(|it| it.routes.iter().any(away));
        let Some(active) = &mut self.runs.active else { return };
        let waits = waits && !active.phases.holds_stream();
        active.not_before.take_if(|it| *it <= now);
        let due = active.not_before.is_none() && !waits;
        let Some(from) = active.next.clone().filter(|_| due && active.may_read()) else { return };
        if active.reading.is_some() || active.pieces.len() >= PIECES || !self.budget.has_room() {
            return;
        }
        active.reading = Some(Reading::new(newest));
        let (called, rate) = (active.called, active.assignment.rate);
        let bytes = self.budget.limit() / SHARE;
        let rows = rate.map_or(usize::MAX, |it| it.get() as usize).min(active.pace.rows());
        let limit = ChunkLimit { rows: rows.min(bytes / CARRIED), bytes };
        let count = !std::mem::replace(&mut active.counted, true);
        let reader = Arc::clone(&self.runs.reader);
        let store = Arc::clone(&self.ground.store);
        let work = active.assignment.work.clone();
        let until = active.phases.until().cloned();
        let route = active.routes.get(from.route).map(|it| Arc::clone(&self.router.route(*it).name));
        let mut phase = self.phase.subscribe();
        let load = async move {
            let began = Instant::now();
            let loaded = match work {
                RunWork::Rows { mut of, .. } => {
                    of.until = until;
                    rows_behind(&*reader, &of, from.after.as_ref(), limit, count).await
                }
                RunWork::Prune { of, dry_run } => {
                    orphans(&*reader, &*store, &of, route, from.after, limit.rows, dry_run).await
                }
            };
            let took = began.elapsed();
            loaded.map(|it| Box::new(Loaded { called, took, ..it }))
        };
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                // Nobody wants it any more.
                () = stopping(&mut phase) => Event::Unread,
                loaded = load => Event::Loaded(loaded),
            }
        });
    }

    pub(in crate::engine) fn loaded(&mut self, loaded: Result<Box<Loaded>, Unread>) {
        if *self.phase.borrow() != Phase::Running {
            return;
        }
        let now = Instant::now();
        let Some(active) = &mut self.runs.active else { return };
        let Some(reading) = active.reading.take() else { return };
        let loaded = match loaded {
            Ok(loaded) if loaded.called == active.called => *loaded,
            // It was begun for another run.
            Ok(_) => return,
            Err(error) if error.is_final() => return self.runs.end(RunEnd::Failed(error.to_string())),
            Err(error) => {
                tracing::warn!(run = %active.run, %error, "the run reads again soon");
                active.not_before = Some(now + READ_AGAIN);
                return;
            }
        };
        if let Some(visible) = &loaded.visible
            && !self.runs.recent.all_seen(reading.began, visible)
        {
            active.not_before = Some(now + LOOK_AGAIN);
            return;
        }
        if let (Some(was), Some(is)) = (&active.cursor.shape, &loaded.shape)
            && was != is
        {
            let table = &active.assignment.work.of().table;
            let message = format!(
                "table {table} was altered while the run was under way, so rows that are sent already may lack what the \
                 others have: start it again"
            );
            return self.runs.end(RunEnd::Failed(message));
        }
        active.cursor.shape = active.cursor.shape.take().or(loaded.shape.clone());
        active.pace.took(
            loaded.took,
            loaded.rows.len(),
            loaded.end.is_none() || loaded.looked_at >= loaded.asked,
        );
        if let Some(rate) = active.assignment.rate {
            active.not_before =
                Some(now + Duration::from_secs_f64(loaded.looked_at as f64 / f64::from(rate.get())));
        }
        self.keep(loaded, reading);
        self.runs.advance(|commit| self.mark.is_open(commit));
    }

    /// Has a piece wait for its mark, or sends it at once where it comes before the stream.
    fn keep(&mut self, loaded: Loaded, reading: Reading) {
        let Some(active) = &mut self.runs.active else { return };
        let from = active.next.take().unwrap_or_default();
        let (only_keys, suspect, run) =
            (active.phases.holds_stream(), active.phases.is_suspect(), active.run);
        active.next = match (&loaded.end, &active.assignment.work) {
            (Some(end), _) => Some(From { after: Some(end.clone()), ..from }),
            (None, RunWork::Rows { .. }) => {
                let after = active.cursor.after.as_ref();
                std::mem::replace(&mut active.phases, Phases::Rest).next(after).map(|(phases, after)| {
                    active.phases = phases;
                    From { after, ..from }
                })
            }
            (None, RunWork::Prune { .. }) => {
                let route = from.route + 1;
                (route < active.routes.len()).then_some(From { after: None, route })
            }
        };
        let deletes = matches!(active.assignment.work, RunWork::Prune { .. });
        let key = &active.assignment.work.of().key;
        let orphans = loaded.rows.len() as u64;
        let named = |row: Row| {
            let key = join_key(key_of(&row, key).iter().map(String::as_str));
            (key, if deletes { Image::Delete { old: row } } else { Image::Read { new: row } })
        };
        let rows: Vec<(Arc<str>, Image)> = loaded.rows.into_iter().map(named).collect();
        if only_keys {
            let routes = active.routes.clone();
            let keys =
                rows.into_iter().flat_map(|(key, _)| routes.iter().map(move |it| (*it, Arc::clone(&key))));
            return active.doubt.extend(keys);
        }
        self.runs.numbers += 1;
        let bytes = rows.iter().map(|(key, image)| key.len() + image.bytes() + 96).sum();
        let charge = Charge::make(&self.budget, bytes);
        let Some(visible) = loaded.visible.clone() else {
            // Only counted.
            active.cursor.after = active.next.as_ref().and_then(|it| it.after.clone());
            active.cursor.route = active.next.as_ref().map_or(from.route, |it| it.route);
            self.runs.tell_cursor();
            let progress = self.runs.tell(run);
            progress.counts.read += loaded.looked_at;
            progress.counts.applied += orphans;
            return;
        };
        let last = rows.last().map(|(key, _)| split_key(key));
        let mut piece = Piece::new(self.runs.numbers, visible, rows, reading, charge);
        piece.suspect = suspect;
        (piece.end, piece.route) = match loaded.end {
            Some(end) => (Some(end), from.route),
            None if deletes => (None, from.route + 1),
            None => (last.or(from.after), from.route),
        };
        piece.counts.read = loaded.looked_at;
        piece.counts.skipped = if deletes { loaded.looked_at - orphans } else { 0 };
        let progress = self.runs.tell(run);
        progress.expected = loaded.expected.or(progress.expected);
        if let Some(active) = &mut self.runs.active {
            if !suspect {
                active.cursor.ahead.clone_from(&piece.end);
            }
            active.pieces.push_back(piece);
        }
        self.runs.tell_cursor();
    }
}

async fn rows_behind(
    reader: &dyn ChunkReader,
    of: &crate::capture::ChunkOf,
    after: Option<&KeyValues>,
    limit: ChunkLimit,
    count: bool,
) -> Result<Loaded, Unread> {
    let expected = if count { Some(reader.estimate(of).await?) } else { None };
    let chunk = reader.chunk(of, after, limit).await?;
    let end = chunk.rows.last().filter(|_| !chunk.last).map(|row| key_of(row, &of.key));
    Ok(Loaded {
        called: ChangeId::default(),
        looked_at: chunk.rows.len() as u64,
        asked: limit.rows as u64,
        rows: chunk.rows,
        visible: Some(chunk.visible),
        shape: Some(chunk.shape),
        end,
        took: Duration::ZERO,
        expected,
    })
}

/// Linked keys that have no row.
async fn orphans(
    reader: &dyn ChunkReader,
    store: &dyn StateStore,
    of: &crate::capture::ChunkOf,
    route: Option<Arc<str>>,
    after: Option<KeyValues>,
    limit: usize,
    dry_run: bool,
) -> Result<Loaded, Unread> {
    let after = after.and_then(|mut it| it.pop());
    let keys = match &route {
        Some(route) if of.keys.is_some() => linked_of(store, of, route, after.as_deref(), limit).await?,
        Some(route) => store.linked_keys(route, after.as_deref(), limit).await?,
        None => Vec::new(),
    };
    let values: Vec<KeyValues> = keys.iter().map(|it| split_key(it)).collect();
    let absent = reader.absent(of, &values).await?;
    Ok(Loaded {
        called: ChangeId::default(),
        looked_at: keys.len() as u64,
        asked: limit as u64,
        rows: absent.rows,
        visible: (!dry_run).then_some(absent.visible),
        shape: None,
        end: keys.last().filter(|_| keys.len() >= limit).map(|it| vec![it.to_string()]),
        took: Duration::ZERO,
        expected: None,
    })
}

fn key_of(row: &Row, columns: &[String]) -> KeyValues {
    let text = |column: &String| match row.get(column) {
        Some(crate::model::Cell::Text(text)) => text.to_owned(),
        _ => String::new(),
    };
    columns.iter().map(text).collect()
}
