//! How it goes: what the running service reports, and what anyone may read.

use super::lsn;
use crate::model::{Lsn, ParkReason, ParkedState};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::{Client, Error, types::PgLsn};

/// What an instance is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Streams and settles.
    Running,
    /// Tries to reach the source again.
    Reconnecting,
    /// Ended in an orderly way.
    Stopped,
}

impl InstanceState {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Reconnecting => "reconnecting",
            Self::Stopped => "stopped",
        }
    }
}

/// The instance that holds, or last held, a source's lease.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InstanceStatus {
    /// Host and process.
    pub name: String,
    /// As it last reported; a crash cannot.
    pub state: String,
    /// Whether it reported lately.
    pub alive: bool,
    /// In this state since.
    pub since: Timestamp,
}

/// One source, as `rowcall status` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SourceStatus {
    /// Its name in the configuration.
    pub source: String,
    /// Everything that ends at or before this is settled.
    pub checkpoint: Lsn,
    /// When the newest settled transaction was committed.
    pub settled_commit_at: Option<Timestamp>,
    /// The slot.
    pub slot: String,
    /// Everything that was committed before this has been read, as was last told.
    pub received: Option<Lsn>,
    /// How long the oldest unsettled transaction has been waiting.
    pub lag_seconds: f64,
    /// Who is at work.
    pub instance: Option<InstanceStatus>,
}

/// One route, as `rowcall status` shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RouteStatus {
    /// Its name.
    pub route: String,
    /// Its source.
    pub source: String,
    /// Changes applied, ever.
    pub applied: i64,
    /// Changes skipped, ever.
    pub skipped: i64,
    /// Changes parked now.
    pub parked: i64,
    /// Changes read and not settled.
    pub in_flight: i64,
    /// Of those, how many wait for another attempt.
    pub backing_off: i64,
    /// Parked changes by state and reason.
    pub parked_by: Vec<ParkedCount>,
    /// Rows that values are still to be written back into.
    pub to_write_back: i64,
    /// Why that failed for one of them.
    pub write_back_error: Option<String>,
    /// The newest failure.
    pub last_error: Option<String>,
    /// When it was.
    pub last_error_at: Option<Timestamp>,
}

/// How many changes are parked in one state for one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ParkedCount {
    /// Where they stand.
    pub state: Option<ParkedState>,
    /// Why.
    pub reason: Option<ParkReason>,
    /// How many.
    pub count: i64,
}

/// An instance that has not reported for this long is taken for dead.
pub(super) const ALIVE: &str = "15 seconds";

/// Says who is at work on the source and in what state.
pub async fn report_instance(
    client: &Client,
    source: &str,
    name: &str,
    state: InstanceState,
    received: Option<Lsn>,
) -> Result<(), Error> {
    let sql = "\
        insert into rowcall.instance as i (source, name, state, received_lsn) values ($1, $2, $3, $4)
        on conflict (source) do update
        set since = case when (i.name, i.state) = (excluded.name, excluded.state) then i.since else now() end,
            name = excluded.name, state = excluded.state, seen_at = now(),
            received_lsn = coalesce(excluded.received_lsn, i.received_lsn),
            pending_since = case when excluded.state = 'running' then i.pending_since end";
    let received = received.map(|lsn| PgLsn::from(lsn.raw()));
    client.execute(sql, &[&source, &name, &state.name(), &received]).await?;
    Ok(())
}

/// Everything the state database knows of these sources.
pub async fn read_status(
    client: &Client,
    sources: &[String],
) -> Result<(Vec<SourceStatus>, Vec<RouteStatus>), Error> {
    let rows = client.query(&source_sql(), &[&sources]).await?;
    let sources_read = rows.iter().map(read_source).collect();
    let mut routes: Vec<RouteStatus> =
        client.query(ROUTES, &[&sources]).await?.iter().map(read_route).collect();
    for row in client.query(PARKED, &[&sources]).await? {
        let name: &str = row.get(0);
        let count = ParkedCount {
            state: ParkedState::from_name(row.get(1)),
            reason: ParkReason::from_name(row.get(2)),
            count: row.get(3),
        };
        if let Some(route) = routes.iter_mut().find(|it| it.route == name) {
            route.parked += count.count;
            route.parked_by.push(count);
        }
    }
    for row in client.query(OWED, &[&sources]).await? {
        let name: &str = row.get(0);
        if let Some(route) = routes.iter_mut().find(|it| it.route == name) {
            (route.to_write_back, route.write_back_error) = (row.get(1), row.get(2));
        }
    }
    Ok((sources_read, routes))
}

fn source_sql() -> String {
    format!(
        "select c.source, c.lsn, c.committed_at, c.slot,
                coalesce(extract(epoch from now() - i.pending_since), 0)::float8,
                i.name, i.state, i.seen_at > now() - interval '{ALIVE}', i.since, i.received_lsn
         from rowcall.checkpoint c left join rowcall.instance i using (source)
         where c.source = any($1) order by c.source"
    )
}

const ROUTES: &str = "\
select route, source, applied, skipped, in_flight, backing_off, last_error, last_error_at
from rowcall.route_status where source = any($1) order by source, route";

const PARKED: &str = "\
select route, state, reason, count(*) from rowcall.parked where source = any($1)
group by route, state, reason order by route, count(*) desc";

const OWED: &str = "\
select route, count(*), min('key ' || key || ': ' || error) from rowcall.write_back where source = any($1)
group by route";

fn read_source(row: &tokio_postgres::Row) -> SourceStatus {
    let instance = row.get::<_, Option<String>>(5).map(|name| InstanceStatus {
        name,
        state: row.get(6),
        alive: row.get(7),
        since: row.get(8),
    });
    SourceStatus {
        source: row.get(0),
        checkpoint: lsn(row.get(1)),
        settled_commit_at: row.get(2),
        slot: row.get(3),
        received: row.get::<_, Option<PgLsn>>(9).map(lsn),
        lag_seconds: row.get::<_, f64>(4).max(0.0),
        instance,
    }
}

fn read_route(row: &tokio_postgres::Row) -> RouteStatus {
    RouteStatus {
        route: row.get(0),
        source: row.get(1),
        applied: row.get(2),
        skipped: row.get(3),
        parked: 0,
        in_flight: row.get(4),
        backing_off: row.get(5),
        parked_by: Vec::new(),
        to_write_back: 0,
        write_back_error: None,
        last_error: row.get(6),
        last_error_at: row.get(7),
    }
}
