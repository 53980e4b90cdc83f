//! Capture alone: reads a slot up to a position, drops what it reads, and says how much memory that took.
//!
//! A program and not a bench target, so that it is built without the tests' dependencies: those
//! switch on a clock in tokio that can be paused, and what is measured must be what is shipped.
//! `scripts/bench` runs it against `pg_recvlogical`.

mod peak;

use jiff::Timestamp;
use rowcall::{
    capture::{
        Budget, Captured, ChangeSource,
        logical::{LogicalSource, Options},
    },
    model::Lsn,
    postgres::Target,
    state::{Binding, Checkpoint, MemoryStore, Settlement, StateStore},
};
use std::{error::Error, time::Duration};

const USAGE: &str = "usage: bench-capture DATABASE_URL SLOT PUBLICATION END_LSN";
/// As `limits.memory` has it.
const BUDGET: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, slot, publication, end] = arguments.as_slice() else { return Err(USAGE.into()) };
    let target: Target = url.parse()?;
    let end: Lsn = end.parse()?;
    let store = MemoryStore::default();
    let binding = Binding { system_id: String::new(), timeline: 1, slot: slot.clone() };
    store.bind(&Checkpoint { binding, lsn: Lsn::ZERO, committed_at: None }).await?;
    let budget = Budget::new(BUDGET);
    let options = Options {
        slot: slot.clone(),
        publication: publication.clone(),
        start: Lsn::ZERO,
        acknowledged: Lsn::ZERO,
        routed: Box::new(|_| true),
        origin: "rowcall-bench".to_owned(),
        budget: budget.clone(),
        heartbeat: Duration::from_secs(10),
        pulse: Default::default(),
    };
    let mut source = LogicalSource::open(&target, options).await?;
    let mut rows = 0u64;
    let mut reached = Lsn::ZERO;
    while reached < end {
        let batch = source.next().await?.ok_or("the stream ended")?;
        let mut committed = None;
        let mut freed = 0;
        for captured in batch {
            match captured {
                Captured::Change(change) => {
                    rows += 1;
                    freed += change.bytes();
                }
                Captured::Commit(commit) => committed = Some((commit.end, commit.at)),
                Captured::Mark(_) => {}
                Captured::Idle(at) => reached = reached.max(at),
            }
        }
        budget.free(freed);
        if let Some((through, at)) = committed {
            reached = through;
            source.acknowledge(&settled(&store, through, at).await?);
        }
    }
    source.close().await;
    println!("{rows} {}", peak::kilobytes()?);
    Ok(())
}

/// The receipt that acknowledging takes.
async fn settled(
    store: &MemoryStore,
    through: Lsn,
    at: Timestamp,
) -> Result<rowcall::state::Saved, Box<dyn Error>> {
    let settlement = Settlement { through: Some(through), committed_at: Some(at), ..Settlement::default() };
    Ok(store.settle(settlement).await?.saved)
}
