//! Numbered, forward-only migrations of schema `rowcall`.

use tokio_postgres::{Client, Error};

/// One step of the schema's history. A released one is never edited.
#[derive(Debug)]
pub struct Migration {
    /// 1, 2, 3, …; a number may come later than a higher one, and is applied then.
    pub number: i32,
    /// What it is about.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// Every migration, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "state", sql: include_str!("../../../sql/0001_state.sql") },
    Migration { number: 2, name: "delivery", sql: include_str!("../../../sql/0002_delivery.sql") },
    Migration { number: 3, name: "runs", sql: include_str!("../../../sql/0003_runs.sql") },
    Migration { number: 4, name: "schedule", sql: include_str!("../../../sql/0004_schedule.sql") },
    Migration { number: 5, name: "checkpoint", sql: include_str!("../../../sql/0005_checkpoint.sql") },
    Migration { number: 6, name: "replay", sql: include_str!("../../../sql/0006_replay.sql") },
    Migration { number: 7, name: "call_log", sql: include_str!("../../../sql/0007_call_log.sql") },
    Migration { number: 8, name: "audit", sql: include_str!("../../../sql/0008_audit.sql") },
    Migration {
        number: 9,
        name: "call_log_status",
        sql: include_str!("../../../sql/0009_call_log_status.sql"),
    },
    Migration { number: 10, name: "replayed", sql: include_str!("../../../sql/0010_replayed.sql") },
    Migration { number: 11, name: "operator", sql: include_str!("../../../sql/0011_operator.sql") },
    Migration { number: 12, name: "notice", sql: include_str!("../../../sql/0012_notice.sql") },
    Migration { number: 13, name: "token", sql: include_str!("../../../sql/0013_token.sql") },
];

/// `create schema if not exists` would want the right to create schemas even where it exists.
const LEDGER: &str = "\
do $$ begin
    if to_regnamespace('rowcall') is null then
        create schema rowcall;
    end if;
end $$;
create table if not exists rowcall.migration (
    number     integer     primary key,
    name       text        not null,
    applied_at timestamptz not null default now()
);";

/// The migrations this database lacks.
pub async fn pending_migrations(client: &Client) -> Result<Vec<&'static Migration>, Error> {
    let exists = "select to_regclass('rowcall.migration') is not null";
    if !client.query_one(exists, &[]).await?.get::<_, bool>(0) {
        return Ok(MIGRATIONS.iter().collect());
    }
    let applied = client.query("select number from rowcall.migration", &[]).await?;
    let applied: Vec<i32> = applied.iter().map(|row| row.get(0)).collect();
    Ok(MIGRATIONS.iter().filter(|it| !applied.contains(&it.number)).collect())
}

/// Applies what is missing, in one transaction, and says what that was. Two at once wait for each
/// other.
pub async fn migrate(client: &mut Client) -> Result<Vec<&'static Migration>, Error> {
    if pending_migrations(client).await?.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute("select pg_advisory_xact_lock(hashtextextended('rowcall.migrate', 0))").await?;
    let pending = pending_migrations(transaction.client()).await?;
    transaction.batch_execute(&sql_of(&pending)).await?;
    transaction.commit().await?;
    Ok(pending)
}

/// The SQL that applies every migration to an empty database, for `rowcall init --print`.
pub fn migrations_sql() -> String {
    sql_of(&MIGRATIONS.iter().collect::<Vec<_>>())
}

fn sql_of(migrations: &[&Migration]) -> String {
    let mut sql = format!("{LEDGER}\n");
    for Migration { number, name, sql: step } in migrations {
        sql.push_str(step);
        sql.push_str(&format!("insert into rowcall.migration (number, name) values ({number}, '{name}');\n"));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_in_the_order_of_their_numbers() {
        assert!(MIGRATIONS.is_sorted_by(|one, next| one.number < next.number));
    }
}
