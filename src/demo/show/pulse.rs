use super::screen::{SAMPLES, Sample};
use crate::demo::{
    Effect, Entry,
    world::{WorldError, Writer},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::Client;

/// What the writers did, and when.
#[derive(Default)]
pub struct Pulse {
    pub enough: AtomicBool,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    written: u64,
    /// When a version was committed, until its call is seen.
    committed: BTreeMap<i64, Instant>,
    transactions: VecDeque<String>,
}

/// Commits that are remembered while their calls have not been seen.
const REMEMBERED: usize = 50_000;

impl Pulse {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add_rows(&self, rows: u64) {
        self.rows().written += rows;
    }

    /// Puts what happened since the last time into the sample.
    pub fn read(&self, seen: &[Entry], sample: &mut Sample) {
        let mut rows = self.rows();
        sample.rows.0 = rows.written;
        sample.transactions = rows.transactions.clone();
        let mut lags = Vec::new();
        for entry in seen.iter().filter(|entry| entry.effect == Effect::Applied) {
            let committed =
                entry.body()["version"].as_i64().and_then(|version| rows.committed.remove(&version));
            lags.extend(committed.map(|committed| entry.at.saturating_duration_since(committed)));
            let line = format!("{} {} {} → {}", entry.method, entry.path, entry.body(), entry.status);
            keep(&mut sample.answered, line.replace(" null →", " →"));
        }
        lags.sort_unstable();
        if let Some(longest) = lags.last() {
            sample.lag = Some((lags[lags.len() / 2], *longest));
        }
    }
}

fn keep(lines: &mut VecDeque<String>, line: String) {
    lines.push_front(line);
    lines.truncate(SAMPLES);
}

/// Writes this often, until there is enough.
pub async fn write(
    mut writer: Writer,
    mut client: Client,
    every: Duration,
    pulse: Arc<Pulse>,
) -> Result<(), WorldError> {
    let mut ticks = interval(every);
    // What a slow moment left out is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !pulse.enough.load(Relaxed) {
        ticks.tick().await;
        let written = writer.write(&mut client).await?;
        let at = Instant::now();
        if written.rows == 0 {
            continue;
        }
        let mut rows = pulse.rows();
        let end = if written.rolled_back { "  (rolled back)" } else { "" };
        keep(&mut rows.transactions, format!("{}{end}", written.summary));
        if !written.rolled_back {
            rows.written += written.rows;
            rows.committed.extend(written.version.map(|version| (version, at)));
            while rows.committed.len() > REMEMBERED {
                rows.committed.pop_first();
            }
        }
    }
    Ok(())
}
