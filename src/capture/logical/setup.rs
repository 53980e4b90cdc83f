//! What `rowcall init` makes: the publication and the slot. Everything can be run twice.

use super::inspect::{self, Publication};
use crate::{
    capture::{SourceError, sql::failed},
    model::TableName,
    postgres::Client,
};
use tokio_postgres::error::SqlState;

/// What must be there for a source.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The replication slot's name.
    pub slot: &'a str,
    /// The publication's name.
    pub publication: &'a str,
    /// The tables that entities name.
    pub tables: &'a [TableName],
}

/// What was done, for the person who ran it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The statements that were run; empty if all was there.
    pub statements: Vec<String>,
    /// Tables the publication has beyond the configured ones: their changes are sent for nothing.
    pub extra: Vec<TableName>,
}

const FLAGS: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";

/// The statements that make it all on a server that has nothing yet, in order, for `--print`.
pub fn statements(wanted: Wanted<'_>, server_version: u32) -> Vec<String> {
    vec![create_publication(wanted), create_slot(wanted.slot, server_version >= 17)]
}

/// The least a role needs to run Rowcall, for an administrator to run.
pub fn grants(role: &str, database: &str, tables: &[TableName]) -> Vec<String> {
    let role = quoted(role);
    let mut schemas: Vec<_> = tables.iter().map(|table| &*table.schema).collect();
    schemas.sort_unstable();
    schemas.dedup();
    let mut sql = vec![
        format!("alter role {role} with login replication;"),
        format!("grant connect on database {} to {role};", quoted(database)),
    ];
    sql.extend(schemas.iter().map(|it| format!("grant usage on schema {} to {role};", quoted(it))));
    sql.extend(tables.iter().map(|it| format!("grant select on table {} to {role};", it.quoted())));
    sql.push(format!("create schema if not exists rowcall authorization {role};"));
    sql
}

/// Makes what is missing. The publication first: the slot must not begin before it.
pub async fn set_up(client: &Client, wanted: Wanted<'_>) -> Result<Made, SourceError> {
    let mut made = Made { statements: Vec::new(), extra: Vec::new() };
    match inspect::publication(client, wanted.publication).await? {
        None => run(client, create_publication(wanted), &mut made).await?,
        Some(found) => {
            for statement in alterations(wanted, &found)? {
                run(client, statement, &mut made).await?;
            }
            made.extra = found.tables.into_iter().filter(|it| !wanted.tables.contains(it)).collect();
        }
    }
    set_up_slot(client, wanted.slot, &mut made).await?;
    Ok(made)
}

/// Drops a slot that is lost, so that [`set_up`] makes it anew; what was run. Nothing more can be read
/// from it.
pub async fn drop_lost_slot(client: &Client, slot: &str) -> Result<String, SourceError> {
    let sql = format!("select pg_catalog.pg_drop_replication_slot('{}');", slot.replace('\'', "''"));
    client.batch_execute(&sql).await.map_err(|error| explained(&sql, &error))?;
    Ok(sql)
}

async fn set_up_slot(client: &Client, slot: &str, made: &mut Made) -> Result<(), SourceError> {
    if let Some(found) = inspect::slot(client, slot).await? {
        let server = inspect::server(client).await?;
        if found.plugin != "pgoutput" || found.database != server.database {
            return Err(SourceError::Final(format!(
                "replication slot `{slot}` exists, but reads database `{}` by `{}`: name another slot in \
                 `capture.logical.slot`",
                found.database, found.plugin
            )));
        }
        return Ok(());
    }
    let version = inspect::server(client).await?.version;
    if version >= 17 {
        let sql = create_slot(slot, true);
        match client.batch_execute(&sql).await {
            Ok(()) => {
                made.statements.push(sql);
                return Ok(());
            }
            // Such as on a standby, where a slot cannot fail over.
            Err(error) if refuses_failover(&error) => {
                tracing::info!(error = %crate::postgres::explain(&error), "the slot is made without FAILOVER");
            }
            Err(error) => return Err(explained(&sql, &error)),
        }
    }
    run(client, create_slot(slot, false), made).await
}

fn refuses_failover(error: &tokio_postgres::Error) -> bool {
    let code = error.code();
    let states = [
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::INVALID_PARAMETER_VALUE,
    ];
    let about = error.as_db_error().is_some_and(|error| error.message().contains("failover"));
    about && code.is_some_and(|code| states.contains(code))
}

async fn run(client: &Client, sql: String, made: &mut Made) -> Result<(), SourceError> {
    client.batch_execute(&sql).await.map_err(|error| explained(&sql, &error))?;
    made.statements.push(sql);
    Ok(())
}

fn explained(sql: &str, error: &tokio_postgres::Error) -> SourceError {
    let advice = match error.code() {
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            ": run the statements of `rowcall init --print` as the tables' owner or a superuser"
        }
        Some(&SqlState::UNDEFINED_TABLE) => ": check `table` of the entities",
        Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {
            ": set `wal_level = logical` in postgresql.conf and restart the server"
        }
        Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) => {
            ": raise `max_replication_slots`, or drop slots nobody reads"
        }
        _ => "",
    };
    match failed(format!("`{sql}` failed"), error) {
        SourceError::Final(message) => SourceError::Final(message + advice),
        other => other,
    }
}

fn create_publication(wanted: Wanted<'_>) -> String {
    let tables = list(wanted.tables);
    format!("create publication {} for table {tables} with ({FLAGS});", quoted(wanted.publication))
}

/// What a publication lacks.
fn alterations(wanted: Wanted<'_>, found: &Publication) -> Result<Vec<String>, SourceError> {
    let name = wanted.publication;
    if found.all_tables {
        return Err(SourceError::Final(format!(
            "publication `{name}` is FOR ALL TABLES, which would publish Rowcall's own state: drop it or name another in \
             `capture.logical.publication`"
        )));
    }
    let mut sql = Vec::new();
    let missing: Vec<_> = wanted.tables.iter().filter(|it| !found.tables.contains(it)).cloned().collect();
    if !missing.is_empty() {
        sql.push(format!("alter publication {} add table {};", quoted(name), list(&missing)));
    }
    let Publication { inserts, updates, deletes, truncates, via_root, .. } = *found;
    if !(inserts && updates && deletes && truncates && via_root) {
        sql.push(format!("alter publication {} set ({FLAGS});", quoted(name)));
    }
    Ok(sql)
}

fn create_slot(slot: &str, failover: bool) -> String {
    let failover = if failover { ", failover => true" } else { "" };
    let name = slot.replace('\'', "''");
    format!("select pg_catalog.pg_create_logical_replication_slot('{name}', 'pgoutput'{failover});")
}

fn list(tables: &[TableName]) -> String {
    tables.iter().map(TableName::quoted).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(names: &[&str]) -> Vec<TableName> {
        names.iter().map(|name| name.parse().expect("a table name")).collect()
    }

    fn published(tables: &[&str]) -> Publication {
        let tables = self::tables(tables);
        Publication {
            all_tables: false,
            tables,
            inserts: true,
            updates: true,
            deletes: true,
            truncates: true,
            via_root: true,
        }
    }

    #[test]
    fn a_fresh_server_gets_the_publication_before_the_slot() {
        let tables = tables(&["loans", "crm.Customers"]);
        let wanted = Wanted { slot: "it's", publication: "p\"", tables: &tables };
        assert_eq!(
            statements(wanted, 17),
            [
                "create publication \"p\"\"\" for table \"public\".\"loans\", \"crm\".\"Customers\" with (publish = \
                 'insert, update, delete, truncate', publish_via_partition_root = true);",
                "select pg_catalog.pg_create_logical_replication_slot('it''s', 'pgoutput', failover => true);",
            ]
        );
        assert!(!statements(wanted, 16)[1].contains("failover"));
    }

    #[test]
    fn a_publication_gets_what_it_lacks_and_no_more() {
        let tables = tables(&["a", "b"]);
        let wanted = Wanted { slot: "s", publication: "p", tables: &tables };
        let added = alterations(wanted, &published(&["a", "c"])).expect("alterations");
        assert_eq!(added, ["alter publication \"p\" add table \"public\".\"b\";"]);
        assert!(alterations(wanted, &published(&["a", "b"])).expect("alterations").is_empty());
        let partial = Publication { via_root: false, ..published(&["a", "b"]) };
        assert_eq!(alterations(wanted, &partial).expect("alterations").len(), 1);
        let everything = Publication { all_tables: true, ..published(&[]) };
        assert!(alterations(wanted, &everything).is_err());
    }

    #[test]
    fn grants_name_each_schema_once() {
        let grants = grants("app", "db", &tables(&["a", "b", "crm.c"]));
        assert_eq!(grants.iter().filter(|it| it.contains("usage on schema")).count(), 2);
        assert_eq!(grants.iter().filter(|it| it.contains("grant select")).count(), 3);
    }
}
