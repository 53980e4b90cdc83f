use crate::state::{KeyFilter, KeyHash};
use futures_util::TryStreamExt;
use std::pin::pin;
use tokio_postgres::{Client, Error};

/// Beyond that many keys every one is asked about: a filter of them takes ten megabytes.
const MOST: usize = 8_000_000;
/// There is room for as many again, and for these.
const ROOM: usize = 1_000_000;

const COUNT: &str = "select (select count(*) from rowcall.link) + (select count(*) from rowcall.parked)";
const KEYS: &str = "select route, key from rowcall.link union all select route, key from rowcall.parked";

/// Keys that come while this is read are the caller's to add.
pub(super) async fn read(client: &Client) -> Result<Option<KeyFilter>, Error> {
    let count = client.query_one(COUNT, &[]).await?.get::<_, i64>(0).unsigned_abs() as usize;
    if count > MOST {
        return Ok(None);
    }
    let mut filter = KeyFilter::with_room(2 * count + ROOM);
    let none: [&str; 0] = [];
    let mut rows = pin!(client.query_raw(KEYS, none).await?);
    while let Some(row) = rows.try_next().await? {
        filter.add(KeyHash::new(row.get(0), row.get(1)));
    }
    Ok(Some(filter))
}
