//! Going through rows and links, and looking again at what does not agree.

use super::{AuditError, Field, Finding, Kind, Pacing, Place, Subject, Summary};
use crate::{
    capture::{ChunkLimit, ChunkOf, ChunkReader, KeyValues, RowReader},
    model::{Cell, Change, ChangeId, Image, Link, Lsn, Row},
    postgres::explain,
    routing::{Fetch, join_key, split_key},
    state::{
        Hold, Known, RouteKey,
        postgres::{linked_keys, read_checkpoint, recall},
    },
    synchronize::{Heard, Step, Work},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

/// Rows of a piece.
const PIECE: usize = 200;
/// So many pieces' bytes may be held at once: one, and what is looked at again, of any size.
pub(super) const HELD: usize = 5;
/// How often what keeps changing is looked at again.
const ROUNDS: usize = 3;
/// How long it takes until something is looked at again where no service says how far it is.
const AGAIN: Duration = Duration::from_millis(300);
/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_millis(100);

/// Goes through one subject.
pub struct Auditor {
    subject: Subject,
    pacing: Pacing,
    of: ChunkOf,
    place: Place,
    /// The service fell behind once: it is not waited for as long any more.
    behind: bool,
    next_at: Option<Instant>,
    /// When it began, which tells its questions from those of other audits.
    began: i64,
    /// How often it has looked, which tells them from each other.
    looks: u32,
    /// What has been counted so far.
    pub summary: Summary,
}

/// How one look ended.
enum Seen {
    Agrees,
    Unwanted,
    Found(Kind, Vec<Field>, Option<String>),
}

/// One key, its row or only the key of one, and what is known of it.
struct Looked {
    key: String,
    row: Row,
    gone: bool,
    known: Known,
}

type Rows = BTreeMap<String, (Row, bool)>;

impl Auditor {
    /// Begins.
    pub fn new(subject: Subject, pacing: Pacing) -> Self {
        let (table, key) = (subject.route.table.clone(), subject.route.key.clone());
        let of = ChunkOf { table, key, filter: None, keys: None, until: None };
        let began = (subject.call_log.clock)().as_microsecond();
        let (behind, next_at, looks, summary) = (false, None, 0, Summary::default());
        Self { subject, pacing, of, place: Place::Begin, behind, next_at, began, looks, summary }
    }

    /// Goes on where another one was. A sample is drawn anew.
    #[must_use]
    pub fn going_on(self, pacing: Pacing, place: Place) -> Self {
        let place = if pacing.sample.is_some() { Place::Begin } else { place };
        Self { pacing, place, ..self }
    }

    /// The route's name.
    pub fn route(&self) -> &Arc<str> {
        &self.subject.route.name
    }

    /// Where it goes on: everything before is looked at.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How many rows it will look at, about.
    pub async fn rows_expected(&self) -> Result<u64, AuditError> {
        let rows = self.subject.chunks.estimate(&self.of).await?;
        Ok(self.pacing.sample.map_or(rows, |sample| rows.min(sample.get().into())))
    }

    /// The findings of the next piece; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Vec<Finding>>, AuditError> {
        let (looked, place) = match self.place.clone() {
            Place::Begin => {
                if let Some(sample) = self.pacing.sample {
                    self.of.keys = Some(self.subject.chunks.sample(&self.of, sample.get()).await?);
                }
                (Vec::new(), Place::Rows(None))
            }
            Place::Rows(after) => {
                let limit = ChunkLimit { rows: PIECE, bytes: self.subject.piece };
                let chunk = self.subject.chunks.chunk(&self.of, after.as_ref(), limit).await?;
                self.summary.rows += chunk.rows.len() as u64;
                let after = chunk.rows.last().map(|row| values(row, &self.of.key));
                let place = match (chunk.last, self.pacing.sample) {
                    (false, _) => Place::Rows(after),
                    (true, Some(_)) => Place::Over,
                    (true, None) => Place::Links(None),
                };
                (self.with_known(chunk.rows.into_iter().map(|row| (row, false))).await?, place)
            }
            Place::Links(after) => {
                let client = self.subject.state.get().await.map_err(no_state)?;
                let route = &self.subject.route.name;
                let keys = linked_keys(&client, route, after.as_deref(), PIECE).await.map_err(state)?;
                drop(client);
                self.summary.links += keys.len() as u64;
                let split: Vec<KeyValues> = keys.iter().map(|key| split_key(key)).collect();
                let absent = self.subject.chunks.absent(&self.of, &split).await?;
                let full = keys.len() >= PIECE;
                let place = if full { Place::Links(keys.last().cloned()) } else { Place::Over };
                (self.with_known(absent.rows.into_iter().map(|row| (row, true))).await?, place)
            }
            Place::Over => return Ok(None),
        };
        let seen = self.look(&looked).await?;
        let mut doubtful = Vec::new();
        for (it, seen) in looked.iter().zip(seen) {
            match seen {
                Seen::Agrees => {}
                Seen::Unwanted => self.summary.skipped += 1,
                Seen::Found(..) => doubtful.push(it.key.clone()),
            }
        }
        let findings = self.again(doubtful).await?;
        self.summary.findings += findings.len() as u64;
        self.place = place;
        Ok(Some(findings))
    }

    /// Looks again until each key has stood still, and says what is wrong with it then.
    async fn again(&mut self, mut keys: Vec<String>) -> Result<Vec<Finding>, AuditError> {
        let mut findings = Vec::new();
        for _ in 0..ROUNDS {
            if keys.is_empty() {
                break;
            }
            let before = self.rows(&keys).await?;
            let fence = self.subject.chunks.fence().await?;
            let passed = self.settled(fence).await?;
            let looked = self.with_known(before.values().cloned()).await?;
            let seen = self.look(&looked).await?;
            let after = self.rows(&keys).await?;
            // What could not be read with the others is looked at again.
            keys.retain(|key| !before.contains_key(key));
            for (it, seen) in looked.into_iter().zip(seen) {
                let Seen::Found(kind, fields, message) = seen else { continue };
                let (kind, fields, message) = match it.known.hold {
                    _ if kind == Kind::Unread => (kind, fields, message),
                    Hold::Free if passed => (kind, fields, message),
                    Hold::Free => (Kind::Behind, Vec::new(), None),
                    _ => (Kind::Parked, Vec::new(), None),
                };
                let still =
                    after.get(&it.key).is_some_and(|(row, gone)| *gone == it.gone && is_same(row, &it.row));
                if still {
                    findings.push(self.finding(it.key, kind, fields, message));
                } else {
                    keys.push(it.key);
                }
            }
        }
        self.summary.changing += keys.len() as u64;
        findings.sort_by(|one: &Finding, other| one.key.cmp(&other.key));
        Ok(findings)
    }

    fn finding(&self, key: String, finding: Kind, fields: Vec<Field>, message: Option<String>) -> Finding {
        let Subject { source, entity, route, .. } = &self.subject;
        let (source, entity, route) = (source.clone(), entity.clone(), route.name.to_string());
        Finding { source, entity, route, key, finding, fields, message }
    }

    /// The rows of these keys, and for each without a row one of which only the key is known.
    async fn rows(&self, keys: &[String]) -> Result<Rows, AuditError> {
        let split: Vec<KeyValues> = keys.iter().map(|key| split_key(key)).collect();
        let of = ChunkOf { keys: Some(split.clone()), ..self.of.clone() };
        let limit = ChunkLimit { rows: keys.len(), bytes: (HELD - 1) * self.subject.piece };
        let there = self.subject.chunks.chunk(&of, None, limit).await?.rows;
        let absent = self.subject.chunks.absent(&self.of, &split).await?.rows;
        let there = there.into_iter().map(|row| (row, false));
        let all = there.chain(absent.into_iter().map(|row| (row, true)));
        Ok(all.map(|(row, gone)| (self.key_of(&row), (row, gone))).collect())
    }

    fn key_of(&self, row: &Row) -> String {
        join_key(values(row, &self.of.key).iter().map(String::as_str)).to_string()
    }

    /// Whether the service settles everything up to there in time.
    async fn settled(&mut self, fence: Lsn) -> Result<bool, AuditError> {
        if !self.subject.served {
            self.subject.unless_stopped(sleep(AGAIN)).await?;
            return Ok(true);
        }
        let until =
            Instant::now() + if self.behind { LOOK.min(self.pacing.patience) } else { self.pacing.patience };
        loop {
            let client = self.subject.state.get().await.map_err(no_state)?;
            let checkpoint = read_checkpoint(&client, &self.subject.source).await.map_err(state)?;
            drop(client);
            let passed = checkpoint.is_some_and(|it| it.lsn >= fence);
            if passed || Instant::now() >= until {
                self.behind = !passed;
                return Ok(passed);
            }
            self.subject.unless_stopped(sleep(LOOK)).await?;
        }
    }

    async fn with_known(&self, rows: impl Iterator<Item = (Row, bool)>) -> Result<Vec<Looked>, AuditError> {
        let rows: Vec<(String, Row, bool)> = rows.map(|(row, gone)| (self.key_of(&row), row, gone)).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let route = &self.subject.route.name;
        let at = |key: &String| RouteKey { route: Arc::clone(route), key: key.as_str().into() };
        let keys: Vec<RouteKey> = rows.iter().map(|(key, ..)| at(key)).collect();
        let client = self.subject.state.get().await.map_err(no_state)?;
        let known = recall(&client, &keys).await.map_err(state)?;
        let looked = rows.into_iter().zip(known);
        Ok(looked.map(|((key, row, gone), known)| Looked { key, row, gone, known }).collect())
    }

    async fn look(&mut self, looked: &[Looked]) -> Result<Vec<Seen>, AuditError> {
        let pause = self.pacing.rate.map(|rate| Duration::from_secs(1) / rate.get());
        let mut next_at = self.next_at;
        let due = looked.iter().map(|it| {
            let at = pause.map(|pause| {
                let at = next_at.unwrap_or_else(Instant::now).max(Instant::now());
                next_at = Some(at + pause);
                at
            });
            (it, at)
        });
        let due: Vec<_> = due.collect();
        self.next_at = next_at;
        self.looks += 1;
        let (subject, look) = (&self.subject, &format!("{:x}.{}", self.began, self.looks));
        // Not by a closure, of which the compiler would not see that it may be sent to another thread.
        let mut asked = Vec::with_capacity(due.len());
        for (it, at) in due {
            asked.push(subject.look_at(at, it, look));
        }
        stream::iter(asked).buffered(subject.at_once.max(1)).try_collect().await
    }
}

impl Subject {
    async fn look_at(&self, at: Option<Instant>, it: &Looked, look: &str) -> Result<Seen, AuditError> {
        if let Some(at) = at {
            self.unless_stopped(sleep_until(at)).await?;
        }
        self.look(it, look).await
    }

    async fn look(&self, it: &Looked, look: &str) -> Result<Seen, AuditError> {
        let unread = |message| Ok(Seen::Found(Kind::Unread, Vec::new(), Some(message)));
        let link: Option<&Link> = it.known.link.as_ref().filter(|link| !link.gone);
        if it.gone && link.is_none() {
            return Ok(Seen::Agrees);
        }
        let row = it.row.clone();
        let image = if it.gone { Image::Delete { old: row } } else { Image::Read { new: row } };
        let change = Change {
            id: ChangeId::default(),
            table: Arc::clone(&it.row.table),
            image,
            committed_at: Timestamp::UNIX_EPOCH,
            transaction: None,
        };
        let fetched = match &self.route.fetch {
            Some(Fetch::Sql(sql)) if !it.gone => self.reader.fetch(sql, &split_key(&it.key)).await?,
            _ => None,
        };
        let (key, fetched) = (it.key.as_str(), fetched.as_ref());
        let work = Work { change: &change, key, link, fetched, parents: None, uncertain: false };
        let synchronizer = &self.route.synchronizer;
        let step =
            || synchronizer.before_parents(&work).unwrap_or_else(|| synchronizer.next_step(&work, &[]));
        if !it.gone && matches!(step(), Step::Skip(_)) {
            return Ok(Seen::Unwanted);
        }
        let call = match self.read.call(&work) {
            Ok(call) => call,
            Err(message) => return unread(message),
        };
        let answer = match self.ask(&call, key, look).await? {
            Ok(answer) => answer,
            Err(message) => return unread(message),
        };
        let found = |kind| Ok(Seen::Found(kind, Vec::new(), None));
        match self.read.hear(&work, &answer) {
            Heard::Missing if it.gone => Ok(Seen::Agrees),
            Heard::Missing => found(Kind::Missing),
            Heard::There { .. } if it.gone => found(Kind::Extra),
            Heard::There { body } => match self.read.differences(&work, &body) {
                Ok(differences) if differences.is_empty() => Ok(Seen::Agrees),
                Ok(differences) => {
                    let field = |it: crate::synchronize::Difference| Field {
                        field: it.field,
                        here: it.here,
                        there: it.there,
                    };
                    Ok(Seen::Found(Kind::Different, differences.into_iter().map(field).collect(), None))
                }
                Err(message) => unread(message),
            },
            Heard::Unclear(message) => unread(message),
        }
    }
}

fn values(row: &Row, columns: &[String]) -> KeyValues {
    let text = |column: &String| match row.get(column) {
        Some(Cell::Text(text)) => text.to_owned(),
        _ => String::new(),
    };
    columns.iter().map(text).collect()
}

/// The table may have been described anew in between, so only the values count.
fn is_same(one: &Row, other: &Row) -> bool {
    let count = one.table.columns.len();
    count == other.table.columns.len() && (0..count).all(|at| one.cell(at) == other.cell(at))
}

fn state(error: tokio_postgres::Error) -> AuditError {
    AuditError::State(explain(&error))
}

fn no_state(error: deadpool_postgres::PoolError) -> AuditError {
    AuditError::State(error.to_string())
}
