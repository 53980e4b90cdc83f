//! Brings what is owed into the rows, batch by batch.

use super::{Destination, destination::Statements, rows::Doubts};
use crate::{
    capture::RowReader,
    model::Lsn,
    postgres::{self, Client, Target},
    routing::split_key,
    state::{Owed, Repaid, StateStore},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_postgres::{error::SqlState, types::PgLsn};

/// Rows written in one transaction, at most.
const AT_ONCE: usize = 500;
/// How often it is looked for something to write.
const LOOK: Duration = Duration::from_millis(500);
/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// So many attempts that took too long are enough for one look: one row among [`AT_ONCE`] is found by
/// fewer, and if all of them are slow, others wait.
const SLOW_AT_ONCE: usize = 12;
/// What may still be written once the changes have ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Waits for no lock that an application holds for long, and for no update for ever.
const PATIENCE: &str = "\
set lock_timeout = '2s';
select pg_catalog.set_config('statement_timeout', '30s', false)
from pg_catalog.pg_settings where name = 'statement_timeout' and setting::int8 not between 1 and 30000";

/// Writes back for one source, over a connection of its own.
pub struct Writer {
    /// The source's name.
    pub source: String,
    /// The source database.
    pub target: Target,
    /// The replication origin to write under.
    pub origin: String,
    /// Where each route's values go.
    pub destinations: Vec<Destination>,
    /// Keeps what is owed.
    pub store: Arc<dyn StateStore>,
    /// Knows what others can see.
    pub reader: Arc<dyn RowReader>,
}

/// The connection, or the state store, is of no use any more.
struct Lost(String);

/// One attempt to write several rows: they stand or fall together.
enum Refusal {
    /// One of them may be at fault.
    Rows(String),
    /// One of them may take too long, or waits for a lock.
    Slow(String),
    /// All of them: the table, or a right, or a lock on the whole of it.
    Table(String),
    Lost(String),
}

struct Session<'a> {
    writer: &'a Writer,
    client: Client,
    statements: HashMap<Arc<str>, Statements>,
    doubts: Doubts,
    /// Everything up to here was settled before it was read what is owed.
    settled: Lsn,
}

/// What became of one row.
#[derive(Clone, Copy, PartialEq)]
enum Row {
    Written,
    Gone,
    Locked,
    /// Somebody wrote it since, and perhaps it is another one.
    Changed,
}

impl Writer {
    /// Writes until `over`, and then what is left if that can be done at once. A failure is said and
    /// tried again: what is owed stays owed.
    pub async fn run(&self, mut over: watch::Receiver<bool>) {
        if self.destinations.is_empty() {
            return;
        }
        let mut ends = over.clone();
        let limit = async {
            let _ = ends.wait_for(|over| *over).await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = self.keep_writing(&mut over) => {}
            () = limit => {}
        }
    }

    async fn keep_writing(&self, over: &mut watch::Receiver<bool>) {
        let mut wait = FIRST_WAIT;
        loop {
            let Err(Lost(message)) = self.session(over, &mut wait).await else { return };
            if *over.borrow() {
                return;
            }
            tracing::warn!(
                source = self.source,
                again_in_ms = wait.as_millis() as u64,
                "writing back: {message}"
            );
            // Changes go on meanwhile.
            let _ = timeout(wait, over.wait_for(|over| *over)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn session(&self, over: &mut watch::Receiver<bool>, wait: &mut Duration) -> Result<(), Lost> {
        let mut session = self.open().await?;
        loop {
            let last = *over.borrow();
            let checkpoint = self.store.checkpoint().await.map_err(|error| Lost(error.to_string()))?;
            session.settled = checkpoint.map(|it| it.lsn).unwrap_or_default();
            let owed = self.store.owed(AT_ONCE).await.map_err(|error| Lost(error.to_string()))?;
            let more = owed.len() == AT_ONCE;
            session.repay(owed).await?;
            *wait = FIRST_WAIT;
            if last && !more {
                return Ok(());
            }
            if !more && !last {
                let _ = timeout(LOOK, over.wait_for(|over| *over)).await;
            }
        }
    }

    async fn open(&self) -> Result<Session<'_>, Lost> {
        let client = postgres::connect(&self.target).await.map_err(|error| Lost(error.to_string()))?;
        client.batch_execute(PATIENCE).await.map_err(|error| Lost(postgres::explain(&error)))?;
        let sql = "select pg_catalog.pg_replication_origin_session_setup($1)";
        client.execute(sql, &[&self.origin]).await.map_err(|error| {
            let advice = match error.code() {
                Some(&SqlState::UNDEFINED_OBJECT) => ": run `rowcall init`",
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => ": `rowcall init --print` shows what to grant",
                _ => "",
            };
            Lost(format!("replication origin `{}`: {}{advice}", self.origin, postgres::explain(&error)))
        })?;
        let (statements, doubts) = (HashMap::new(), Doubts::default());
        Ok(Session { writer: self, client, statements, doubts, settled: Lsn::ZERO })
    }
}

impl Session<'_> {
    async fn repay(&mut self, owed: Vec<Owed>) -> Result<(), Lost> {
        if owed.is_empty() {
            return Ok(());
        }
        let mut by_route: BTreeMap<Arc<str>, Vec<Owed>> = BTreeMap::new();
        for owed in owed {
            by_route.entry(Arc::clone(&owed.owing.at.route)).or_default().push(owed);
        }
        let mut ended = Vec::new();
        for (route, owed) in by_route {
            match self.writer.destinations.iter().find(|it| it.route == route) {
                Some(destination) => self.route(destination, owed, &mut ended).await?,
                // Its configuration has none any more.
                None => ended.extend(owed.into_iter().map(|it| (it, Repaid::Done))),
            }
        }
        self.writer.store.repaid(&ended).await.map_err(|error| Lost(error.to_string()))
    }

    async fn route(
        &mut self,
        destination: &Destination,
        owed: Vec<Owed>,
        ended: &mut Vec<(Owed, Repaid)>,
    ) -> Result<(), Lost> {
        let unseen = self.unseen(&owed).await;
        let (owed, early): (Vec<Owed>, Vec<Owed>) =
            owed.into_iter().partition(|it| it.owing.transaction.is_none_or(|it| !unseen.contains(&it)));
        let why = "the row's transaction is committed, but not visible to others yet";
        ended.extend(early.into_iter().map(|it| failed(it, why)));
        // What has failed before keeps nothing waiting that is new.
        let (fresh, tried): (Vec<Owed>, Vec<Owed>) = owed.into_iter().partition(|it| it.attempts == 0);
        let mut parts: Vec<&[Owed]> = vec![&tried, &fresh];
        let mut slow = 0;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if slow >= SLOW_AT_ONCE {
                ended.extend(part.iter().map(|it| failed(it.clone(), "others of its table take too long")));
                continue;
            }
            match self.attempt(destination, part).await {
                Ok(rows) => ended.extend(part.iter().zip(rows).map(|(it, row)| match row {
                    Row::Locked => failed(it.clone(), "the row is locked by another transaction"),
                    Row::Changed => {
                        failed(it.clone(), "the row was written since: it is looked first what became of it")
                    }
                    Row::Written | Row::Gone => (it.clone(), Repaid::Done),
                })),
                Err(Refusal::Lost(message)) => return Err(Lost(message)),
                Err(refusal @ (Refusal::Rows(_) | Refusal::Slow(_))) if part.len() > 1 => {
                    slow += usize::from(matches!(refusal, Refusal::Slow(_)));
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(Refusal::Rows(message) | Refusal::Slow(message) | Refusal::Table(message)) => {
                    tracing::warn!(
                        source = self.writer.source,
                        route = &*destination.route,
                        key = &*part[0].owing.at.key,
                        rows = part.len(),
                        "cannot be written back: {}",
                        message.lines().next().unwrap_or_default()
                    );
                    ended.extend(part.iter().map(|it| failed(it.clone(), &message)));
                }
            }
        }
        Ok(())
    }

    /// The transactions that others cannot see yet: a row of theirs only seems to be missing.
    async fn unseen(&self, owed: &[Owed]) -> HashSet<u32> {
        let transactions: HashSet<u32> = owed.iter().filter_map(|it| it.owing.transaction).collect();
        let mut unseen = HashSet::new();
        for transaction in transactions {
            if self.writer.reader.seen(transaction).await.is_err() {
                unseen.insert(transaction);
            }
        }
        unseen
    }

    /// Writes these rows in one transaction; what became of each.
    async fn attempt(&mut self, destination: &Destination, owed: &[Owed]) -> Result<Vec<Row>, Refusal> {
        if !self.statements.contains_key(&destination.route) {
            let prepared = destination.prepare(&self.client).await;
            let prepared = prepared.map_err(|message| match self.client.is_closed() {
                true => Refusal::Lost(message),
                false => Refusal::Table(message),
            })?;
            self.statements.insert(Arc::clone(&destination.route), prepared);
        }
        let written = self.write(destination, owed).await;
        if matches!(written, Err(Refusal::Table(_))) {
            // The table may have been altered.
            self.statements.remove(&destination.route);
        }
        written
    }

    async fn write(&mut self, destination: &Destination, owed: &[Owed]) -> Result<Vec<Row>, Refusal> {
        let Some(statements) = self.statements.get(&destination.route) else { return Ok(Vec::new()) };
        let keys: Vec<String> =
            owed.iter().map(|it| destination.key_json(split_key(&it.owing.at.key))).collect();
        let numbers = |rows: Vec<tokio_postgres::Row>| -> HashSet<usize> {
            rows.iter().map(|row| row.get::<_, i32>(0).unsigned_abs() as usize - 1).collect()
        };
        // Rows are not waited for here, so it is the table that is locked.
        let locking = |error: tokio_postgres::Error| match error.code() {
            Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED) => {
                Refusal::Table(postgres::explain(&error))
            }
            _ => judge(error),
        };
        let transaction = self.client.transaction().await.map_err(judge)?;
        let mut rows = vec![Row::Gone; owed.len()];
        let mut changed = Vec::new();
        for row in transaction.query(&statements.lock, &[&keys]).await.map_err(locking)? {
            let (at, of) = (row.get::<_, i32>(0).unsigned_abs() as usize - 1, row.get::<_, i64>(1) as u32);
            let is_the_row = self.doubts.is_the_row(&owed[at], of, self.settled);
            rows[at] = if is_the_row { Row::Written } else { Row::Changed };
            if !is_the_row {
                changed.push((at, of));
            }
        }
        if !changed.is_empty() {
            // The stream gets there by itself, since this is in the log.
            let sql = "select pg_catalog.pg_logical_emit_message(true, 'rowcall', '')";
            let row = transaction.query_one(sql, &[]).await.map_err(judge)?;
            let seen = Lsn::new(row.get::<_, PgLsn>(0).into());
            changed.iter().for_each(|(at, of)| self.doubts.doubt(&owed[*at], *of, seen));
        }
        let others: Vec<usize> = (0..owed.len()).filter(|at| rows[*at] == Row::Gone).collect();
        if !others.is_empty() {
            let keys: Vec<&String> = others.iter().map(|at| &keys[*at]).collect();
            for found in numbers(transaction.query(&statements.find, &[&keys]).await.map_err(judge)?) {
                rows[others[found]] = Row::Locked;
            }
        }
        let wanted: Vec<usize> = (0..owed.len()).filter(|at| rows[*at] == Row::Written).collect();
        if !wanted.is_empty() {
            let keys: Vec<&String> = wanted.iter().map(|at| &keys[*at]).collect();
            let json = |at: &usize| serde_json::to_string(&owed[*at].owing.values).unwrap_or_default();
            let values: Vec<String> = wanted.iter().map(json).collect();
            transaction.execute(&statements.write, &[&keys, &values]).await.map_err(judge)?;
        }
        transaction.commit().await.map_err(judge)?;
        for (owed, row) in owed.iter().zip(&rows) {
            if matches!(row, Row::Written | Row::Gone) {
                self.doubts.forget(owed);
            }
        }
        Ok(rows)
    }
}

fn failed(owed: Owed, error: &str) -> (Owed, Repaid) {
    let doubled = FIRST_WAIT.saturating_mul(1 << owed.attempts.min(10));
    let repaid = Repaid::Failed { again_in: doubled.min(LONGEST_WAIT), error: error.to_owned() };
    (owed, repaid)
}

/// Connections, resources and operators' interventions come and go; what is wrong with names,
/// rights or locks concerns every row; the rest is some row's own trouble, also that it takes too
/// long.
fn judge(error: tokio_postgres::Error) -> Refusal {
    let message = postgres::explain(&error);
    let Some(code) = error.code() else { return Refusal::Lost(message) };
    if [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(code) {
        return Refusal::Slow(message);
    }
    match code.code().get(..2) {
        Some("08" | "25" | "53" | "57" | "58" | "XX") => Refusal::Lost(message),
        Some("40" | "42") => Refusal::Table(message),
        _ => Refusal::Rows(message),
    }
}
