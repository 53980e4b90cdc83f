//! The SQL that reads pieces of tables. Pure.

use crate::capture::{
    KeyValues,
    chunk::ChunkOf,
    described::{Described, quoted},
};

/// `(a,b)` of a key's columns.
fn row(key: &[String], prefix: &str) -> String {
    let columns: Vec<_> = key.iter().map(|it| format!("{prefix}{}", quoted(it))).collect();
    format!("({})", columns.join(","))
}

/// `($1,$2)`, one parameter for each column, whose type it has. Only for a row type the server does
/// not see which.
fn parameters(known: &Described, key: &[String], used: usize) -> String {
    let parameter = |(at, column): (usize, &String)| {
        let ty = if known.is_composite(column) { known.sql_type(column) } else { "" };
        format!("${}{}{ty}", used + at + 1, if ty.is_empty() { "" } else { "::" })
    };
    format!("({})", key.iter().enumerate().map(parameter).collect::<Vec<_>>().join(","))
}

/// `unnest($1::int[],…)`, one parameter for each column.
fn unnested(known: &Described, key: &[String], used: usize) -> String {
    let array = |(at, column): (usize, &String)| format!("${}::{}[]", used + at + 1, known.sql_type(column));
    let arrays: Vec<_> = key.iter().enumerate().map(array).collect();
    format!("unnest({})", arrays.join(","))
}

/// What is read before the rows, in their snapshot.
pub(super) fn seen(known: &Described) -> String {
    format!("select pg_catalog.pg_current_snapshot()::pg_catalog.text, {}", known.signature_now())
}

/// Which rows of the table: those that have a key, are wanted, and come behind the given one.
fn condition(known: &Described, of: &ChunkOf, behind: bool) -> String {
    let mut terms: Vec<_> = of.key.iter().map(|column| known.not_null(column)).collect();
    let mut used = 0;
    for operator in [behind.then_some(">"), of.until.as_ref().map(|_| "<=")].into_iter().flatten() {
        terms.push(format!("{} {operator} {}", row(&of.key, ""), parameters(known, &of.key, used)));
        used += of.key.len();
    }
    if of.keys.is_some() {
        terms.push(format!("{} in (select * from {})", row(&of.key, ""), unnested(known, &of.key, used)));
    }
    if let Some(filter) = &of.filter {
        terms.push(wrapped(filter));
    }
    terms.join(" and ")
}

/// The line break ends a comment in the filter's last line.
fn wrapped(filter: &str) -> String {
    format!("({}\n)", trimmed(filter))
}

fn trimmed(filter: &str) -> &str {
    filter.trim().trim_end_matches(';')
}

/// The next rows. Its parameters are those of [`given`].
pub(super) fn rows(known: &Described, of: &ChunkOf, behind: bool, limit: usize) -> String {
    let mut printed = String::new();
    known.print_columns(&mut printed);
    let table = of.table.quoted();
    // With the table in front: a bare name would mean the text that is selected.
    let keys: Vec<_> = of.key.iter().map(|it| format!("{table}.{}", quoted(it))).collect();
    format!(
        "select /* {} */ {} from {} where {} order by {} limit {limit}",
        known.signature,
        // Without the first comma; a table that has a key has columns.
        printed.trim_start_matches(", "),
        table,
        condition(known, of, behind),
        keys.join(",")
    )
}

/// The keys of so many rows, by chance.
pub(super) fn sample(known: &Described, of: &ChunkOf, rows: u32) -> String {
    let mut printed = String::new();
    known.print(&of.key, &mut printed);
    format!(
        "select {} from {} where {} order by pg_catalog.random() limit {rows}",
        printed.trim_start_matches(", "),
        of.table.quoted(),
        condition(known, &ChunkOf { keys: None, until: None, ..of.clone() }, false)
    )
}

/// How many rows there are; without its first word, something to explain.
pub(super) fn count(known: &Described, of: &ChunkOf) -> String {
    format!(
        "select pg_catalog.count(*) from {} where {}",
        of.table.quoted(),
        condition(known, &ChunkOf { keys: None, until: None, ..of.clone() }, false)
    )
}

/// What the planner thinks of it.
pub(super) fn plan(known: &Described, of: &ChunkOf) -> String {
    format!(
        "explain (format json) select from {} where {}",
        of.table.quoted(),
        condition(known, &ChunkOf { keys: None, until: None, ..of.clone() }, false)
    )
}

/// How many bytes the table's rows take, its partitions' included.
pub(super) fn size(known: &Described) -> String {
    let id = known.table.id.0;
    format!(
        "select (coalesce(pg_catalog.pg_relation_size({id}), 0) + coalesce((select \
         pg_catalog.sum(pg_catalog.pg_relation_size(relid)) from pg_catalog.pg_partition_tree({id})), 0))::bigint"
    )
}

/// The places in the list, from 1 on, of the keys that have no row.
pub(super) fn absent(known: &Described, of: &ChunkOf) -> String {
    let names: Vec<_> = (1..=of.key.len()).map(|at| format!("k{at}")).collect();
    let same = of.key.iter().zip(&names).map(|(column, name)| format!("it.{} = k.{name}", quoted(column)));
    format!(
        "select k.at from {} with ordinality as k({},at) where not exists (select from {} it where {}) order by k.at",
        unnested(known, &of.key, 0),
        names.join(","),
        of.table.quoted(),
        same.collect::<Vec<_>>().join(" and ")
    )
}

/// What the parameters of [`rows`] are.
pub(super) fn given(of: &ChunkOf, after: Option<&KeyValues>) -> Vec<String> {
    let mut given: Vec<String> = after.into_iter().chain(&of.until).flatten().cloned().collect();
    if let Some(keys) = &of.keys {
        given.extend(arrays(of.key.len(), keys));
    }
    given
}

/// For each column of the key, its values in all of them as an array prints them.
pub(super) fn arrays(columns: usize, keys: &[KeyValues]) -> Vec<String> {
    let array = |at: usize| {
        let mut text = String::from("{");
        for (count, key) in keys.iter().enumerate() {
            text.push_str(if count == 0 { "\"" } else { ",\"" });
            for letter in key[at].chars() {
                if matches!(letter, '"' | '\\') {
                    text.push('\\');
                }
                text.push(letter);
            }
            text.push('"');
        }
        text.push('}');
        text
    };
    (0..columns).map(array).collect()
}

#[cfg(test)]
mod tests;
