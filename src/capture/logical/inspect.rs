//! What `rowcall check` looks at, as data: nothing here judges.

use super::message::ReplicaIdentity;
use crate::{
    capture::{SourceError, sql::failed},
    model::{Lsn, TableName},
    postgres::Client,
};
use jiff::Timestamp;
use tokio_postgres::Row;

/// The server's settings and the role's privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The major version.
    pub version: u32,
    /// As the server calls itself.
    pub version_text: String,
    /// The database we are connected to.
    pub database: String,
    /// The role we are connected as.
    pub role: String,
    /// Must be `logical`.
    pub wal_level: String,
    /// How many replication slots there may be.
    pub slots: u32,
    /// How many there are.
    pub slots_used: u32,
    /// How many replication connections there may be.
    pub senders: u32,
    /// How many there are.
    pub senders_used: u32,
    /// How much log a slot may keep, in MB; `None` is without limit.
    pub slot_keeps_mb: Option<u64>,
    /// The server is a standby.
    pub standby: bool,
    /// The role may replicate: by its attribute or as a superuser.
    pub may_replicate: bool,
    /// The role may make publications and schemas in the database.
    pub may_create: bool,
    /// The database's encoding; texts of `SQL_ASCII` need not be UTF-8.
    pub encoding: String,
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// FOR ALL TABLES.
    pub all_tables: bool,
    /// The tables it publishes, however they came to be in it.
    pub tables: Vec<TableName>,
    /// Publishes inserts.
    pub inserts: bool,
    /// Publishes updates.
    pub updates: bool,
    /// Publishes deletes.
    pub deletes: bool,
    /// Publishes truncates.
    pub truncates: bool,
    /// Partitions are published as their root.
    pub via_root: bool,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Empty for a physical slot.
    pub plugin: String,
    /// Empty for a physical slot.
    pub database: String,
    /// The server's process that streams from it.
    pub active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// Up to where it was acknowledged.
    pub confirmed: Option<Lsn>,
    /// How much log there is behind that.
    pub lag_bytes: i64,
    /// How much log it keeps from being removed.
    pub kept_bytes: i64,
    /// How much more may be written before the server removes what it needs; `None` without limit.
    pub safe_bytes: Option<i64>,
    /// When it was so, by the server's clock.
    pub at: Timestamp,
}

/// What kind of relation a configured table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    Ordinary,
    /// The root of partitions.
    Partitioned,
    /// Its changes are not in the log.
    Unlogged,
    /// Its changes are not in the log.
    Temporary,
    /// A view, a foreign table or something else that cannot be published.
    NotATable,
}

/// A configured table, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its name.
    pub name: TableName,
    /// What it is.
    pub kind: TableKind,
    /// The primary key's columns, in the key's order.
    pub primary_key: Vec<String>,
    /// What the log keeps of an old row.
    pub identity: ReplicaIdentity,
    /// The columns that identify an old row; under full, none is singled out.
    pub identity_columns: Vec<String>,
    /// The role may read it, and use its schema.
    pub readable: bool,
}

/// Looks at the server and the role.
pub async fn server(client: &Client) -> Result<Server, SourceError> {
    let sql = "
select current_setting('server_version_num')::int4, current_setting('server_version'), current_database()::text,
       current_user::text, current_setting('wal_level'), current_setting('max_replication_slots')::int4,
       (select count(*) from pg_catalog.pg_replication_slots)::int4, current_setting('max_wal_senders')::int4,
       (select count(*) from pg_catalog.pg_stat_replication)::int4,
       (select setting::int8 from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'),
       pg_catalog.pg_is_in_recovery(), r.rolreplication or r.rolsuper,
       pg_catalog.has_database_privilege(current_database(), 'create'), current_setting('server_encoding')
  from pg_catalog.pg_roles r where r.rolname = current_user";
    let doing = "asking the server for its settings";
    let row = client.query_one(sql, &[]).await.map_err(|error| failed(doing, &error))?;
    read_server(&row).map_err(|error| failed(doing, &error))
}

fn read_server(row: &Row) -> Result<Server, tokio_postgres::Error> {
    let count = |at: usize| row.try_get::<_, i32>(at).map(|it| u32::try_from(it).unwrap_or(0));
    Ok(Server {
        version: count(0)? / 10_000,
        version_text: row.try_get(1)?,
        database: row.try_get(2)?,
        role: row.try_get(3)?,
        wal_level: row.try_get(4)?,
        slots: count(5)?,
        slots_used: count(6)?,
        senders: count(7)?,
        senders_used: count(8)?,
        slot_keeps_mb: row.try_get::<_, Option<i64>>(9)?.and_then(|it| u64::try_from(it).ok()),
        standby: row.try_get(10)?,
        may_replicate: row.try_get(11)?,
        may_create: row.try_get(12)?,
        encoding: row.try_get(13)?,
    })
}

/// Looks at a publication; `None` if there is none of this name.
pub async fn publication(client: &Client, name: &str) -> Result<Option<Publication>, SourceError> {
    let doing = format!("looking at publication `{name}`");
    let failed = |error| failed(doing.as_str(), &error);
    let sql = "select puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot
                 from pg_catalog.pg_publication where pubname = $1";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(failed)? else { return Ok(None) };
    // Without publish_via_partition_root the view names the partitions instead of their root.
    let sql =
        "select schemaname::text, tablename::text from pg_catalog.pg_publication_tables where pubname = $1
               union select n.nspname::text, c.relname::text from pg_catalog.pg_publication_rel r
                 join pg_catalog.pg_publication p on p.oid = r.prpubid
                 join pg_catalog.pg_class c on c.oid = r.prrelid
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace where p.pubname = $1 order by 1, 2";
    let mut tables = Vec::new();
    for table in client.query(sql, &[&name]).await.map_err(failed)? {
        let (schema, name): (&str, &str) =
            (table.try_get(0).map_err(failed)?, table.try_get(1).map_err(failed)?);
        tables.push(TableName { schema: schema.into(), name: name.into() });
    }
    let flag = |at: usize| row.try_get::<_, bool>(at).map_err(failed);
    Ok(Some(Publication {
        all_tables: flag(0)?,
        tables,
        inserts: flag(1)?,
        updates: flag(2)?,
        deletes: flag(3)?,
        truncates: flag(4)?,
        via_root: flag(5)?,
    }))
}

/// Looks at a slot; `None` if there is none of this name.
pub async fn slot(client: &Client, name: &str) -> Result<Option<Slot>, SourceError> {
    let doing = format!("looking at replication slot `{name}`");
    let failed = |error| failed(doing.as_str(), &error);
    let sql = "
select coalesce(plugin::text, ''), coalesce(database::text, ''), active_pid, coalesce(wal_status, ''),
       confirmed_flush_lsn::text, coalesce(here.lsn - confirmed_flush_lsn, 0)::int8, coalesce(here.lsn - restart_lsn, 0)::int8,
       safe_wal_size, clock_timestamp()
  from pg_catalog.pg_replication_slots,
       (select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                    else pg_catalog.pg_current_wal_lsn() end as lsn) here
 where slot_name = $1";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(failed)? else { return Ok(None) };
    let read = || -> Result<Slot, tokio_postgres::Error> {
        Ok(Slot {
            plugin: row.try_get(0)?,
            database: row.try_get(1)?,
            active_pid: row.try_get(2)?,
            wal_status: row.try_get(3)?,
            confirmed: row.try_get::<_, Option<&str>>(4)?.and_then(|it| it.parse().ok()),
            lag_bytes: row.try_get(5)?,
            kept_bytes: row.try_get(6)?,
            safe_bytes: row.try_get(7)?,
            at: row.try_get(8)?,
        })
    };
    read().map(Some).map_err(failed)
}

/// Looks at a table; `None` if there is none of this name.
pub async fn table(client: &Client, name: &TableName) -> Result<Option<TableState>, SourceError> {
    let doing = format!("looking at table {name}");
    let failed = |error| failed(doing.as_str(), &error);
    let keys = "array(select a.attname::text from pg_catalog.pg_index i
         cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, at)
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = c.oid and k.at <= i.indnkeyatts and";
    let sql = format!(
        "select c.relkind::text, c.relpersistence::text, c.relreplident::text,
       {keys} i.indisprimary order by k.at),
       {keys} case when c.relreplident = 'i' then i.indisreplident
                   else c.relreplident = 'd' and i.indisprimary end order by k.at),
       pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select')
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where n.nspname = $1 and c.relname = $2"
    );
    let found = client.query_opt(&sql, &[&&*name.schema, &&*name.name]).await.map_err(failed)?;
    let Some(row) = found else { return Ok(None) };
    let read = || -> Result<TableState, tokio_postgres::Error> {
        let kind = match (row.try_get(0)?, row.try_get(1)?) {
            ("r" | "p", "t") => TableKind::Temporary,
            ("r" | "p", "u") => TableKind::Unlogged,
            ("r", _) => TableKind::Ordinary,
            ("p", _) => TableKind::Partitioned,
            _ => TableKind::NotATable,
        };
        let letter = row.try_get::<_, &str>(2)?.bytes().next();
        Ok(TableState {
            name: name.clone(),
            kind,
            primary_key: row.try_get(3)?,
            identity: letter.and_then(ReplicaIdentity::from_letter).unwrap_or(ReplicaIdentity::Nothing),
            identity_columns: row.try_get(4)?,
            readable: row.try_get(5)?,
        })
    };
    read().map(Some).map_err(failed)
}
