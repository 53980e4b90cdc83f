//! The demo's database: three related tables, somebody who keeps writing to them, the
//! configuration that keeps a bank in step with them, and the comparison of the two.

mod compare;
mod writer;

pub use compare::{Comparison, compare, expected, held};
pub use writer::{Writer, Written};

use tokio_postgres::Client;

/// What the database said when something was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("the demo's database, {doing}: {}", .source.as_db_error().map_or_else(|| .source.to_string(), ToString::to_string))]
pub struct WorldError {
    doing: &'static str,
    source: tokio_postgres::Error,
}

/// For `map_err`.
fn doing(doing: &'static str) -> impl Fn(tokio_postgres::Error) -> WorldError {
    move |source| WorldError { doing, source }
}

/// Creates the tables `customers`, `loans` and `collateral` where they are not there yet. Every
/// write to a row gives it a greater `version`, so that going back can be seen from outside.
pub async fn create(client: &Client) -> Result<(), WorldError> {
    client.batch_execute(include_str!("schema.sql")).await.map_err(doing("creating its tables"))
}

/// Fills empty tables: this many customers with two loans each, every second of which has
/// collateral. Tables with rows are left as they are.
pub async fn seed(client: &Client, customers: u32) -> Result<(), WorldError> {
    client.batch_execute(&format!(
        "insert into customers select i, 'Customer ' || i, '+49 30 ' || 100000 + i from generate_series(1, {customers}) i
           where not exists (select from customers);
         insert into loans select i, (i + 1) / 2, 100 * (i % 700) + 0.5, case i % 3 when 0 then 'active' when 1 then 'draft' else 'closed' end, 6 + i % 60
           from generate_series(1, 2 * {customers}) i where not exists (select from loans);
         insert into collateral select i, 2 * i, 'house', 1000 * i from generate_series(1, {customers}) i
           where not exists (select from collateral)"
    )).await.map_err(doing("filling its tables"))
}

/// The configuration for this world: `name` is the slot's and the publication's.
pub fn configuration(database_url: &str, bank_url: &str, name: &str) -> String {
    // Between double quotes in YAML.
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${");
    include_str!("rowcall.yaml")
        .replace("@DATABASE_URL@", &escaped(database_url))
        .replace("@BANK_URL@", &escaped(bank_url))
        .replace("@NAME@", &escaped(name))
}
