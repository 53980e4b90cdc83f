mod wide;

use super::{WorldError, doing};
use crate::demo::dice::Dice;
use std::fmt::Write;
use tokio_postgres::{Client, error::SqlState};

/// Somebody who keeps writing: inserts, updates, deletes, key changes, transactions over several
/// rows and tables, and some that roll back. What it does follows from its dice and the rows.
///
/// Several can write at once: each keeps to ids of its own (those that leave its number as the
/// remainder), so that they never wait for each other and an id's versions rise in commit order.
#[derive(Debug)]
pub struct Writer {
    dice: Dice,
    number: u64,
    of: u64,
    /// Ids are taken from this many, again and again, so that deleted ones come back.
    ids: u64,
    /// It also writes what few databases have much of: see `wide.rs`.
    wide: bool,
    /// What it writes next, whatever the dice say.
    next: Option<Statement>,
}

/// SQL without its `returning`, and its name for people.
type Statement = (String, String);

/// What one transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Rows written by its statements, not counting what followed by foreign keys.
    pub rows: u64,
    /// It ended with a rollback, so that nothing of this may ever reach the bank.
    pub rolled_back: bool,
    /// The last version a row was given, if any was.
    pub version: Option<i64>,
    /// What was written, for people.
    pub summary: String,
}

const NAMES: &[&str] = &[
    "Ada",
    "Özlem",
    "Zoë",
    "李雷",
    "O''Neill",
    "a \"quoted\" name",
    "back\\slash",
    "Ольга",
    "{{ braces }}",
    "two\nlines",
];

/// They wait for each other, or one takes away what the other refers to.
const BETWEEN: [SqlState; 2] = [SqlState::T_R_DEADLOCK_DETECTED, SqlState::FOREIGN_KEY_VIOLATION];

impl Writer {
    /// Writer `number` of `of`, over some `ids` ids a table.
    pub fn new(dice: Dice, number: u64, of: u64, ids: u64) -> Self {
        Self { dice, number, of: of.max(1), ids: ids.max(1), wide: false, next: None }
    }

    /// One that also writes large values and leaves them as they are, deletes rows and inserts them again in
    /// one transaction, and now and then writes thousands of rows at once.
    pub fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// Makes one transaction. One that the server ends because another writer's came in between
    /// counts as rolled back.
    pub async fn write(&mut self, client: &mut Client) -> Result<Written, WorldError> {
        match self.transact(client).await {
            Err(error) if error.source.code().is_some_and(|it| BETWEEN.contains(it)) => {
                Ok(Written { rows: 0, rolled_back: true, version: None, summary: String::new() })
            }
            result => result,
        }
    }

    async fn transact(&mut self, client: &mut Client) -> Result<Written, WorldError> {
        let statements = 1 + self.dice.below(4) * self.dice.below(3);
        let rolled_back = self.dice.happens(12);
        let mut written = Written { rows: 0, rolled_back, version: None, summary: String::new() };
        let mut transaction = client.transaction().await.map_err(doing("beginning"))?;
        self.next = None;
        let mut left = statements;
        while left > 0 || self.next.is_some() {
            left = left.saturating_sub(1);
            let (what, sql) = match self.next.take() {
                Some(next) => next,
                None if self.wide && self.dice.happens(8) => self.wide_statement(),
                None => self.statement(),
            };
            let undone = self.dice.happens(5);
            let part = transaction.savepoint("part").await.map_err(doing("setting a savepoint"))?;
            let rows =
                part.query(&format!("{sql} returning version"), &[]).await.map_err(doing("writing"))?;
            if undone {
                part.rollback().await.map_err(doing("rolling back to a savepoint"))?;
                continue;
            }
            part.commit().await.map_err(doing("writing"))?;
            written.rows += rows.len() as u64;
            if let Some(row) = rows.last() {
                if !sql.starts_with("delete") {
                    written.version = Some(row.get(0));
                }
                let separator = if written.summary.is_empty() { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(written.summary, "{separator}{what}");
            }
        }
        if rolled_back {
            transaction.rollback().await.map_err(doing("rolling back"))?;
        } else {
            transaction.commit().await.map_err(doing("committing"))?;
        }
        Ok(written)
    }

    fn id(&mut self) -> u64 {
        self.number + self.of * (1 + self.dice.below(self.ids))
    }

    /// An existing row of ours, at or after this id.
    fn near(&self, table: &str, id: u64) -> String {
        let Self { number, of, .. } = self;
        format!(
            "(select id from {table} where id >= {id} and id % {of} = {number} % {of} order by id limit 1)"
        )
    }

    fn statement(&mut self) -> Statement {
        let (id, other) = (self.id(), self.id());
        let roll = self.dice.below(100);
        let amount = format!("{}.{:02}", self.dice.below(1_000_000), self.dice.below(100));
        let status = *self.dice.one(&["active", "closed", "draft"]);
        let months = 1 + self.dice.below(120);
        let kind = *self.dice.one(&["house", "car", "boat", "painting"]);
        let name = *self.dice.one(NAMES);
        let phone =
            if self.dice.happens(20) { "null".to_owned() } else { format!("'+49 {}'", self.dice.number()) };
        let near = |table: &str, id: u64| self.near(table, id);
        let moved = |table: &str| {
            format!(
                "update {table} set id = {other} where id = {} and not exists (select from {table} where id = {other})",
                near(table, id)
            )
        };
        match roll {
            0..12 => (
                format!("new customer {id}"),
                format!("insert into customers values ({id}, '{name}', {phone}) on conflict do nothing"),
            ),
            12..28 => (
                format!("customer {id} renamed"),
                format!(
                    "update customers set name = '{name} {months}', phone = {phone} where id = {}",
                    near("customers", id)
                ),
            ),
            28..31 => (
                format!("customer {id} gone with all loans"),
                format!("delete from customers where id = {}", near("customers", id)),
            ),
            31..33 => (format!("customer {id} is now {other}"), moved("customers")),
            33..48 => (
                format!("new loan {id} of {amount}"),
                format!(
                    "insert into loans select {id}, c, {amount}, '{status}', {months} from {} as t(c) on conflict do nothing",
                    near("customers", other)
                ),
            ),
            48..70 => (
                format!("loan {id} {status}, {amount}"),
                format!(
                    "update loans set amount = {amount}, status = '{status}', months = {months} where id = {}",
                    near("loans", id)
                ),
            ),
            70..75 => {
                (format!("loan {id} gone"), format!("delete from loans where id = {}", near("loans", id)))
            }
            75..78 => (format!("loan {id} is now {other}"), moved("loans")),
            78..82 => (
                "a customer's loans extended".to_owned(),
                format!("update loans set months = months + 1 where customer_id = {}", near("customers", id)),
            ),
            82..90 => (
                format!("new collateral {id}"),
                format!(
                    "insert into collateral select {id}, l, '{kind}', {amount} from {} as t(l) on conflict do nothing",
                    near("loans", other)
                ),
            ),
            90..96 => (
                format!("collateral {id} worth {amount}"),
                format!(
                    "update collateral set value = {amount}, kind = '{kind}' where id = {}",
                    near("collateral", id)
                ),
            ),
            96..98 => (
                format!("collateral {id} gone"),
                format!("delete from collateral where id = {}", near("collateral", id)),
            ),
            _ => (format!("collateral {id} is now {other}"), moved("collateral")),
        }
    }
}
