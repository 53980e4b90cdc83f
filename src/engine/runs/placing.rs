//! Where the rows of a piece belong in the stream: its mark is written once its bound is durable, and its
//! rows are placed where the mark comes back.

use super::{Active, ForRun, RunWork, piece::Stage, reading::READ_AGAIN};
use crate::{
    capture::{ChunkReader, Mark, SourceError},
    engine::{Engine, Event, reading::stopping, work::Charge},
    model::{Change, ChangeId, Image, Lsn, RunEnd},
};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::time::{Instant, sleep};

impl Engine {
    /// How far these pieces go is durable: they may be sent once their mark is back.
    pub(in crate::engine) fn bounds_saved(&mut self, newest: u64) {
        let Some(active) = &mut self.runs.active else { return };
        for piece in active.pieces.iter_mut().filter(|it| it.no <= newest && it.stage == Stage::Read) {
            piece.stage = Stage::Marked;
            let (reader, no) = (Arc::clone(&self.runs.reader), piece.no);
            let text = format!("{}:{no}", self.runs.nonce);
            let mut phase = self.phase.subscribe();
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stopping(&mut phase) => Event::Marked(no, Ok(())),
                    marked = mark(&*reader, &text) => Event::Marked(no, marked),
                }
            });
        }
    }

    /// A mark could not be written.
    pub(in crate::engine) fn unmarked(&mut self, no: u64, error: &SourceError) {
        let waits = |active: &Active| active.pieces.iter().any(|it| it.no == no && it.stage == Stage::Marked);
        if self.runs.active.as_ref().is_some_and(waits) {
            self.runs.end(RunEnd::Failed(error.to_string()));
        }
    }

    /// A mark has come back in the stream: its piece belongs here.
    pub(in crate::engine) fn marked(&mut self, mark: &Mark) {
        let Some((nonce, no)) = mark.text.split_once(':') else { return };
        let Some(no) = no.parse::<u64>().ok().filter(|_| *nonce == *self.runs.nonce) else { return };
        let Some(active) = &mut self.runs.active else { return };
        let Some(piece) = active.pieces.iter_mut().find(|it| it.no == no && it.stage == Stage::Marked) else {
            return;
        };
        piece.stage = Stage::Placed(mark.commit);
        let (rows, suspect) = (piece.take_rows(), piece.suspect);
        self.place(rows, (mark.commit, mark.at), suspect);
    }

    fn place(
        &mut self,
        rows: Vec<(usize, Arc<str>, Image)>,
        (commit, committed_at): (Lsn, Timestamp),
        suspect: bool,
    ) {
        let Some(active) = &self.runs.active else { return };
        let forced = matches!(active.assignment.work, RunWork::Rows { force: true, .. });
        let for_run = ForRun { called: active.called, suspect, forced, ahead: false, replayed: None };
        let (routes, table) = (active.routes.clone(), active.assignment.work.of().table.clone());
        self.lanes.at(Instant::now());
        let mut errands = std::mem::take(&mut self.errands);
        for (at, _, image) in rows {
            let Some(row) = image.row().or_else(|| image.old()) else { continue };
            let id = ChangeId { commit, ordinal: 2 * at as u64 };
            let change = Change { id, table: Arc::clone(&row.table), image, committed_at, transaction: None };
            let charge = Arc::new(Charge::make(&self.budget, change.bytes()));
            self.router.route_change(change, &mut errands);
            for errand in errands.drain(..) {
                let own = self.router.route(errand.route).table == table;
                if own && routes.contains(&errand.route) {
                    if suspect && let (Some(active), Ok(key)) = (&mut self.runs.active, &errand.key) {
                        active.doubt.remove(&(errand.route, Arc::clone(key)));
                    }
                    self.accept_errand(errand, &charge, Some(for_run));
                }
            }
        }
        self.errands = errands;
    }
}

/// Writes a mark, however long the database is away; an error is final.
async fn mark(reader: &dyn ChunkReader, text: &str) -> Result<(), SourceError> {
    loop {
        match reader.mark(text).await {
            Err(error) if !error.is_final() => {
                tracing::warn!(%error, "a mark is written again soon");
                sleep(READ_AGAIN).await;
            }
            result => return result,
        }
    }
}
