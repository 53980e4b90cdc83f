//! The slots of named checkpoints: copies of the source's slot that nobody streams from.

use crate::{
    capture::{SourceError, sql::failed},
    model::{Lsn, Span},
    postgres::Client,
};
use tokio_postgres::error::SqlState;

/// Postgres' limit of a slot's name.
const LONGEST: usize = 63;

/// The slot of a source's checkpoint of this name, or why it cannot have that name.
pub fn mark_slot(source_slot: &str, name: &str) -> Result<String, String> {
    let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(format!("`{name}` cannot be a checkpoint's name: use a–z, 0–9 and `_`"));
    }
    if name.parse::<Span>().is_ok() {
        return Err(format!(
            "`{name}` cannot be a checkpoint's name: `rowcall replay --from {name}` means a time"
        ));
    }
    let slot = format!("{source_slot}_cp_{name}");
    if slot.len() > LONGEST {
        let left = LONGEST.saturating_sub(source_slot.len() + "_cp_".len());
        return Err(format!("`{name}` is too long for a checkpoint's name: at most {left} characters"));
    }
    Ok(slot)
}

/// Copies a slot where it stands, and says from where on the copy can be read.
pub async fn copy_slot(client: &Client, from: &str, to: &str, role: &str) -> Result<Lsn, SourceError> {
    let doing = format!("replication slot `{from}` cannot be copied to `{to}`");
    let sql = "select lsn::text from pg_catalog.pg_copy_logical_replication_slot($1::name, $2::name, false)";
    let row = client.query_one(sql, &[&from, &to]).await.map_err(|error| {
        let advice = match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                format!(": run `alter role \"{}\" with replication`", role.replace('"', "\"\""))
            }
            Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) => {
                ": every checkpoint takes one of the server's `max_replication_slots`: drop one that is not needed \
                 (`rowcall checkpoint list`), or raise the limit and restart the server"
                    .to_owned()
            }
            Some(&SqlState::DUPLICATE_OBJECT) => {
                format!(": take another name, or, if nobody needs it, run `select pg_drop_replication_slot('{to}')`")
            }
            Some(&SqlState::UNDEFINED_OBJECT) => ": run `rowcall init`".to_owned(),
            _ => String::new(),
        };
        // What lacks room now lacks it until a person makes some.
        match failed(doing.as_str(), &error) {
            SourceError::Connection { doing, message } if !advice.is_empty() => {
                SourceError::Final(format!("{doing}: {message}{advice}"))
            }
            SourceError::Final(message) => SourceError::Final(message + &advice),
            other => other,
        }
    })?;
    let told: Result<&str, _> = row.try_get(0);
    match told.map(str::parse) {
        Ok(Ok(lsn)) => Ok(lsn),
        _ => Err(SourceError::Final(format!("{doing}: the server does not say where it stands"))),
    }
}

/// Drops a slot, and says whether there was one.
pub async fn drop_slot(client: &Client, slot: &str) -> Result<bool, SourceError> {
    let sql = "select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots
                where slot_name = $1";
    match client.query(sql, &[&slot]).await {
        Ok(dropped) => Ok(!dropped.is_empty()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => Ok(false),
        Err(error) => Err(failed(format!("replication slot `{slot}` cannot be dropped"), &error)),
    }
}

/// The slots whose names begin like this.
pub async fn slots_like(client: &Client, prefix: &str) -> Result<Vec<String>, SourceError> {
    let sql =
        "select slot_name::text from pg_catalog.pg_replication_slots where starts_with(slot_name::text, $1)";
    let rows = client.query(sql, &[&prefix]).await;
    let rows = rows.map_err(|error| failed("looking at the replication slots", &error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Lets a slot that nobody streams from forget everything before a position.
pub async fn advance_slot(client: &Client, slot: &str, to: Lsn) -> Result<(), SourceError> {
    let sql = "select pg_catalog.pg_replication_slot_advance($1::name, $2::text::pg_lsn)";
    let moved = client.execute(sql, &[&slot, &to.to_string()]).await;
    moved.map(drop).map_err(|error| failed(format!("replication slot `{slot}` cannot be moved on"), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_a_name_that_fits_into_its_slots() {
        assert_eq!(mark_slot("rowcall", "before_2"), Ok("rowcall_cp_before_2".to_owned()));
        for bad in ["", "Before", "a-b", "a b", "ä", "a'b", "30m"] {
            assert!(mark_slot("rowcall", bad).is_err(), "{bad}");
        }
        let (longest, longer) = ("a".repeat(52), "a".repeat(53));
        assert!(mark_slot("rowcall", &longest).is_ok());
        assert!(mark_slot("rowcall", &longer).is_err_and(|it| it.contains("at most 52 characters")));
    }
}
