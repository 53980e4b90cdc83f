use crate::{
    capture::{SourceError, chunk::MARK_PREFIX, sql::failed},
    model::Lsn,
    postgres::Client,
};
use tokio_postgres::{error::SqlState, types::PgLsn};

/// Writes a heartbeat into the log, and gives a position that a stream which moves has soon passed.
///
/// Where nothing can be written, on a standby or without the right to, it is the position that the server
/// has reached.
pub async fn beat(client: &Client) -> Result<Lsn, SourceError> {
    let failed = |error| failed("writing a heartbeat into the log", &error);
    // Only what is flushed is streamed; a standby that has to confirm commits is not waited for.
    let write = format!(
        "select pg_catalog.set_config('synchronous_commit', 'local', true),
                pg_catalog.pg_logical_emit_message(true, '{MARK_PREFIX}', 'heartbeat')"
    );
    let reached =
        "select null::text, case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                          else pg_catalog.pg_current_wal_flush_lsn() end";
    let row = match client.query_one(&write, &[]).await {
        Err(error)
            if [Some(&SqlState::INSUFFICIENT_PRIVILEGE), Some(&SqlState::READ_ONLY_SQL_TRANSACTION)]
                .contains(&error.code())
                || error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) =>
        {
            client.query_one(reached, &[]).await
        }
        written => written,
    };
    let row = row.map_err(failed)?;
    let at: PgLsn = row.try_get(1).map_err(failed)?;
    Ok(Lsn::new(at.into()))
}
