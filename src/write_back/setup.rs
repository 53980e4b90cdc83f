//! What writing back needs of the source: an origin, and few rights.

use super::Destination;
use crate::postgres::Client;
use tokio_postgres::Error;

/// Something that is missing, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// What is missing.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// The rights a role needs beyond those for reading, for an administrator to run.
pub fn grants(role: &str, destinations: &[Destination]) -> Vec<String> {
    let role = quoted(role);
    let mut sql = vec![grant_session(&role)];
    sql.extend(destinations.iter().map(|it| grant_update(it, &it.columns, &role)));
    sql
}

/// Makes the origin, once.
pub fn create_origin(origin: &str) -> String {
    let name = origin.replace('\'', "''");
    format!(
        "select pg_catalog.pg_replication_origin_create('{name}') where not exists \
         (select from pg_catalog.pg_replication_origin where roname = '{name}');"
    )
}

fn grant_session(role: &str) -> String {
    format!("grant execute on function pg_catalog.pg_replication_origin_session_setup(text) to {role};")
}

fn grant_update(at: &Destination, columns: &[String], role: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|it| quoted(it)).collect();
    format!("grant update ({}) on table {} to {role};", columns.join(", "), at.table.quoted())
}

/// Makes the origin if it is not there; what was run.
pub async fn set_up(client: &Client, origin: &str) -> Result<Option<String>, Error> {
    if exists(client, origin).await? {
        return Ok(None);
    }
    let sql = create_origin(origin);
    client.batch_execute(&sql).await?;
    Ok(Some(sql))
}

async fn exists(client: &Client, origin: &str) -> Result<bool, Error> {
    let sql = "select exists (select from pg_catalog.pg_replication_origin where roname = $1)";
    Ok(client.query_one(sql, &[&origin]).await?.get(0))
}

/// What is missing for these destinations. Of a table that does not exist others will speak.
pub async fn lacking(
    client: &Client,
    role: &str,
    origin: &str,
    destinations: &[Destination],
) -> Result<Vec<Lacking>, Error> {
    let mut lacking = Vec::new();
    if !exists(client, origin).await? {
        let what =
            format!("replication origin `{origin}`, under which rows are written back, does not exist");
        lacking.push(Lacking { what, fix: "run `rowcall init`".to_owned() });
    }
    let quoted_role = quoted(role);
    // Whatever its arguments: newer servers may give it more.
    let sql = "select coalesce(bool_or(pg_catalog.has_function_privilege(p.oid, 'execute')), false)
                 from pg_catalog.pg_proc p
                where p.pronamespace = 'pg_catalog'::regnamespace and p.proname = 'pg_replication_origin_session_setup'";
    if !client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        let what = format!("role `{role}` may not write under a replication origin");
        lacking.push(Lacking { what, fix: format!("run `{}`", grant_session(&quoted_role)) });
    }
    for destination in destinations {
        columns(client, role, destination, &mut lacking).await?;
    }
    Ok(lacking)
}

async fn columns(
    client: &Client,
    role: &str,
    destination: &Destination,
    lacking: &mut Vec<Lacking>,
) -> Result<(), Error> {
    let sql = "select a.attname::text, a.attgenerated <> '' or a.attidentity = 'a',
                      pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'update')
                 from pg_catalog.pg_attribute a
                where a.attrelid = pg_catalog.to_regclass($1)::oid and a.attnum > 0 and not a.attisdropped
                  and a.attname = any($2)";
    let rows = client.query(sql, &[&destination.table.quoted(), &destination.columns]).await?;
    let (table, entity) = (&destination.table, &destination.route);
    let mut refused = Vec::new();
    for row in &rows {
        let (column, generated, may): (String, bool, bool) = (row.get(0), row.get(1), row.get(2));
        if generated {
            let what =
                format!("column `{column}` of table {table} is generated, so it cannot be written back");
            lacking.push(Lacking {
                what,
                fix: format!("name another column in `entities.{entity}.write_back`"),
            });
        } else if !may {
            refused.push(column);
        }
    }
    if !refused.is_empty() {
        let what = format!("role `{role}` may not update {} of table {table}", refused.join(", "));
        let fix = format!("run `{}`", grant_update(destination, &refused, &quoted(role)));
        lacking.push(Lacking { what, fix });
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_granted_the_columns_and_nothing_else() {
        let loan = Destination {
            route: "loan".into(),
            table: "Loans".parse().expect("a name"),
            key: vec!["id".to_owned()],
            columns: vec!["remote_id".to_owned(), "a \"b".to_owned()],
        };
        assert_eq!(
            grants("app", &[loan]),
            [
                "grant execute on function pg_catalog.pg_replication_origin_session_setup(text) to \"app\";",
                "grant update (\"remote_id\", \"a \"\"b\") on table \"public\".\"Loans\" to \"app\";",
            ]
        );
    }
}
