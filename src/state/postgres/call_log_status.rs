//! How the log of calls stands: reported by the instance at work, read by anyone.

use super::status::ALIVE;
use jiff::Timestamp;
use serde_json::Value;
use tokio_postgres::{Client, Error, types::Json};

const WRITE: &str = "\
insert into rowcall.call_log_status (source, gauges) values ($1, $2)
on conflict (source) do update set gauges = excluded.gauges, updated_at = now()";

/// What was said by an instance that is not at work any more says nothing about now.
const READ: &str = "\
select source, gauges, s.updated_at
from rowcall.call_log_status s join rowcall.instance i using (source)
where source = any($1) and i.state = 'running' and i.seen_at > now() - $2::text::interval
  and s.updated_at >= i.since
order by source";

/// Says how it stands.
pub async fn report_call_log(client: &Client, source: &str, gauges: &Value) -> Result<(), Error> {
    client.execute(WRITE, &[&source, &Json(gauges)]).await.map(drop)
}

/// What was said last for each of these sources and when, as far as someone is at work on them.
pub async fn read_call_log(
    client: &Client,
    sources: &[String],
) -> Result<Vec<(String, Value, Timestamp)>, Error> {
    let rows = client.query(READ, &[&sources, &ALIVE]).await?;
    let read = |row: &tokio_postgres::Row| (row.get(0), row.get::<_, Json<Value>>(1).0, row.get(2));
    Ok(rows.iter().map(read).collect())
}
