use crate::model::{Cell, Row};
use std::sync::Arc;

/// A key as text: the value itself, or the values of a composite key joined by commas. A comma or
/// backslash within a value is escaped by a backslash, so that no two keys look alike.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> Arc<str> {
    let mut parts = parts.into_iter();
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if rest.is_empty() && !first.contains([',', '\\']) {
        return Arc::from(first);
    }
    let mut key = String::with_capacity(first.len() + 16);
    for (at, part) in std::iter::once(first).chain(rest).enumerate() {
        if at > 0 {
            key.push(',');
        }
        for c in part.chars() {
            if matches!(c, ',' | '\\') {
                key.push('\\');
            }
            key.push(c);
        }
    }
    Arc::from(key)
}

/// The values of a key that [`join`] made, or a person typed.
pub fn split(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = key.chars();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        match c {
            ',' => parts.push(String::new()),
            '\\' => parts[last].extend(chars.next()),
            c => parts[last].push(c),
        }
    }
    parts
}

/// Longer keys fit no index of the state database.
pub(super) const LONGEST: usize = 1_024;

/// The key a row has in these columns, or why it has none.
pub(super) fn of(row: &Row, columns: &[usize]) -> Result<Arc<str>, String> {
    let key = read(row, columns)?;
    if key.len() > LONGEST {
        let table = &row.table.name;
        return Err(format!(
            "the key of a row of table {table} has {} bytes; at most {LONGEST} are possible",
            key.len()
        ));
    }
    Ok(key)
}

fn read(row: &Row, columns: &[usize]) -> Result<Arc<str>, String> {
    if let [column] = columns
        && let Cell::Text(text) = row.cell(*column)
    {
        return Ok(join([text]));
    }
    let part = |&column: &usize| match row.cell(column) {
        Cell::Text(text) => Ok(text),
        Cell::Null => Err(problem(row, column, "is null")),
        Cell::Unchanged => Err(problem(
            row,
            column,
            "was not sent: it is not part of the replica identity; use `alter table … replica identity full`, \
             or a key that is",
        )),
    };
    let parts: Vec<&str> = columns.iter().map(part).collect::<Result<_, _>>()?;
    Ok(join(parts))
}

fn problem(row: &Row, column: usize, what: &str) -> String {
    let table = &row.table;
    let name = table.columns.get(column).map_or("?", |it| &*it.name);
    format!("key column `{name}` of table {} {what}", table.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_joined_key_splits_into_what_it_was_made_of(parts in prop::collection::vec(".*", 1..4)) {
            let key = join(parts.iter().map(String::as_str));
            prop_assert_eq!(split(&key), parts);
        }
    }
}
