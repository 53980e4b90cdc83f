//! Large values, rows that go and come back in one transaction, and transactions of thousands of rows.

use super::{Statement, Writer};

/// Ids from here on are those of rows that are written by the thousand.
const MANY: u64 = 100_000;

impl Writer {
    pub(super) fn wide_statement(&mut self) -> Statement {
        let id = self.id();
        let roll = self.dice.below(200);
        let near = self.near("customers", id);
        match roll {
            0..50 => {
                let text = self.large_text();
                (
                    format!("customer {id} has a long name"),
                    format!("update customers set name = {text} where id = {near}"),
                )
            }
            // Postgres does not log again a large value that stays as it is.
            50..110 => {
                let phone = self.dice.number();
                (
                    format!("customer {id} called"),
                    format!("update customers set phone = '+1 {phone}' where id = {near}"),
                )
            }
            110..140 => {
                let text = self.large_text();
                (
                    format!("new customer {id} with a long name"),
                    format!("insert into customers values ({id}, {text}, null) on conflict do nothing"),
                )
            }
            140..197 => {
                let (value, other) = (self.dice.below(1_000_000), self.id());
                let loan = self.near("loans", other);
                let again = format!(
                    "insert into collateral select {id}, l, 'again', {value} from {loan} as t(l) on conflict do nothing"
                );
                self.next = Some((format!("collateral {id} again"), again));
                (format!("collateral {id} gone for now"), format!("delete from collateral where id = {id}"))
            }
            _ => self.many_rows(),
        }
    }

    /// Too large for its row, and hard to compress: some kilobytes, now and then up to 200.
    fn large_text(&mut self) -> String {
        let most = if self.dice.happens(10) { 6_200 } else { 600 };
        let (seed, times) = (self.dice.number(), 100 + self.dice.below(most));
        format!("(select string_agg(md5(i || '{seed}'), '') from generate_series(1, {times}) i)")
    }

    /// They come, change, and go.
    fn many_rows(&mut self) -> Statement {
        let (number, of) = (self.number, self.of);
        let rows = 1_000 + self.dice.below(1_500);
        let ours = format!("id >= {MANY} and id % {of} = {number} % {of}");
        match self.dice.below(4) {
            0 | 1 => (
                format!("{rows} customers at once"),
                format!(
                    "insert into customers select {number} + {of} * ({MANY} + i), 'One of many', null
                     from generate_series(1, {rows}) i on conflict do nothing"
                ),
            ),
            2 => (
                "many customers renamed".to_owned(),
                format!("update customers set name = 'One of {rows}' where {ours}"),
            ),
            _ => ("many customers gone".to_owned(), format!("delete from customers where {ours}")),
        }
    }
}
