//! Where values go, and the statements that bring them there.

use crate::{
    model::TableName,
    postgres::{self, Client},
};
use serde_json::{Map, Value};
use std::{collections::HashMap, sync::Arc};
use tokio_postgres::Statement;

/// The rows of one route, and the columns of them that are written.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The route's name.
    pub route: Arc<str>,
    /// The entity's own table.
    pub table: TableName,
    /// The columns that name a row.
    pub key: Vec<String>,
    /// The columns that are written.
    pub columns: Vec<String>,
}

/// The statements of one destination, made for its columns as they are.
#[derive(Debug)]
pub(super) struct Statements {
    /// `$1`: keys. The numbers of those whose rows are there and could be locked at once, and the
    /// transaction that each row is of.
    pub lock: Statement,
    /// `$1`: keys. The numbers of those whose rows are there.
    pub find: Statement,
    /// `$1`: keys, `$2`: values. Writes what differs.
    pub write: Statement,
}

impl Destination {
    /// The key's parts by column, as the statements take it.
    pub(super) fn key_json(&self, parts: Vec<String>) -> String {
        let parts = self.key.iter().cloned().zip(parts.into_iter().map(Value::String));
        Value::Object(parts.collect::<Map<_, _>>()).to_string()
    }

    /// Reads the columns' types and prepares the statements.
    pub(super) async fn prepare(&self, client: &Client) -> Result<Statements, String> {
        let explained = |error: tokio_postgres::Error| postgres::explain(&error);
        let sql = "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
                     from pg_catalog.pg_attribute a
                    where a.attrelid = pg_catalog.to_regclass($1)::oid and a.attnum > 0 and not a.attisdropped";
        let rows = client.query(sql, &[&self.table.quoted()]).await.map_err(explained)?;
        let types: HashMap<&str, &str> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let record = |columns: &[String]| -> Result<String, String> {
            let column = |name: &String| match types.get(name.as_str()) {
                Some(ty) => Ok(format!("{} {ty}", quoted(name))),
                None => Err(format!("table {} has no column `{name}`", self.table)),
            };
            Ok(columns.iter().map(column).collect::<Result<Vec<_>, _>>()?.join(", "))
        };
        let (key, values) = (record(&self.key)?, record(&self.columns)?);
        let sql = self.sql(&key, &values);
        let mut prepared = Vec::with_capacity(sql.len());
        for sql in &sql {
            prepared.push(client.prepare(sql).await.map_err(explained)?);
        }
        match <[Statement; 3]>::try_from(prepared) {
            Ok([lock, find, write]) => Ok(Statements { lock, find, write }),
            Err(_) => Err("a statement is missing".to_owned()),
        }
    }

    /// Values are compared as text: not every type has an equality.
    fn sql(&self, key: &str, values: &str) -> [String; 3] {
        let table = self.table.quoted();
        let matches: Vec<String> =
            self.key.iter().map(|it| quoted(it)).map(|it| format!("t.{it} = k.{it}")).collect();
        let matches = matches.join(" and ");
        let keys = format!(
            " from pg_catalog.unnest($1::text[]) with ordinality as w (key, at)
              cross join lateral pg_catalog.jsonb_to_record(w.key::jsonb) as k ({key})
              join {table} t on {matches}"
        );
        let given = |column: &str| format!("pg_catalog.jsonb_exists(w.given, {})", literal(column));
        let set: Vec<String> = self
            .columns
            .iter()
            .map(|it| format!("{0} = case when {1} then v.{0} else t.{0} end", quoted(it), given(it)))
            .collect();
        let differs: Vec<String> = self
            .columns
            .iter()
            .map(|it| format!("{1} and t.{0}::text is distinct from v.{0}::text", quoted(it), given(it)))
            .collect();
        let write = format!(
            "update {table} as t set {set}
               from (select key::jsonb, given::jsonb from rows from (
                     pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) as w (key, given)) w
              cross join lateral pg_catalog.jsonb_to_record(w.key) as k ({key})
              cross join lateral pg_catalog.jsonb_to_record(w.given) as v ({values})
              where {matches} and ({differs})",
            set = set.join(", "),
            differs = differs.join(" or "),
        );
        let lock = format!("select w.at::int4, t.xmin::text::int8{keys} for no key update of t skip locked");
        [lock, format!("select w.at::int4{keys}"), write]
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    // As it is meant whatever `standard_conforming_strings` says.
    if text.contains('\\') { format!("E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_wherever_they_stand() {
        let destination = Destination {
            route: "loan".into(),
            table: "Odd.it\"s".parse().expect("a name"),
            key: vec!["the \"id".to_owned(), "b".to_owned()],
            columns: vec!["it's".to_owned()],
        };
        let [lock, find, write] = destination.sql("K", "V");
        assert!(lock.ends_with("for no key update of t skip locked"), "{lock}");
        assert!(
            find.contains(r#"join "Odd"."it""s" t on t."the ""id" = k."the ""id" and t."b" = k."b""#),
            "{find}"
        );
        assert!(write.contains(r#"jsonb_exists(w.given, 'it''s') then v."it's""#), "{write}");
        let key = destination.key_json(vec!["7".to_owned(), "x\"".to_owned()]);
        assert_eq!(key, r#"{"the \"id":"7","b":"x\""}"#);
    }
}
