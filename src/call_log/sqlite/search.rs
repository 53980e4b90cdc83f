use super::place;
use crate::call_log::{CallQuery, CallRecord, RecordId};
use rusqlite::{Connection, Row, ToSql, params};
use serde::de::DeserializeOwned;

/// The record in the first column, or what is asked of it.
pub(super) fn read<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn select(query: &CallQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut sql = String::from("select record from call where true");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut failures_only = false;
    let mut narrow = |clause: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(" and ");
        sql.push_str(&clause.replace('?', &format!("?{}", values.len())));
    };
    // Those of a key or a change are few, and found by it: no other index is to be tried.
    let by = if query.key.is_some() || query.change.is_some() { "+" } else { "" };
    for (column, text) in [("entity", &query.entity), ("route", &query.route), ("class", &query.class)] {
        if let Some(text) = text {
            narrow(&format!("{by}{column} = ?"), Box::new(text.clone()));
        }
    }
    if let Some(key) = &query.key {
        // It is named first by a record, or among others.
        let named =
            "seq in (select seq from call where key = ? union all select seq from further_key where key = ?)";
        narrow(named, Box::new(key.clone()));
    }
    if let Some(change) = &query.change {
        let spot = place::spot_of_change(change).map_or("null".to_owned(), |it| it.to_string());
        let named = format!(
            "seq in (select seq from call where spot = {spot} union all select seq from further_change where change = ?)"
        );
        narrow(&named, Box::new(change.clone()));
    }
    if let Some(run) = query.run {
        narrow(&format!("{by}run = ?"), Box::new(run));
    }
    if let Some((from, to)) = query.status {
        narrow(&format!("{by}status >= ?"), Box::new(from));
        narrow(&format!("{by}status <= ?"), Box::new(to));
        failures_only = from >= 300;
    }
    let before = query.before.as_ref().map(|(at, _)| *at);
    let numbers = place::numbers(query.since, query.until);
    let end = numbers.end.min(before.map_or(i64::MAX, |it| place::numbers(None, Some(it)).end));
    if numbers.start > i64::MIN {
        narrow(&format!("{by}seq >= ?"), Box::new(numbers.start));
    }
    if end < i64::MAX {
        narrow(&format!("{by}seq < ?"), Box::new(end));
    }
    if failures_only && by.is_empty() {
        // Or the index of those is not used.
        sql.push_str(" and status >= 300");
    }
    sql.push_str(" order by seq desc");
    (sql, values)
}

pub(super) fn find(connection: &Connection, query: &CallQuery) -> rusqlite::Result<Vec<CallRecord>> {
    let (sql, values) = select(query);
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(&values))?;
    let mut found: Vec<CallRecord> = Vec::new();
    // Those of one microsecond come in any order, so all of them are read.
    let newest_first = |some: &mut [CallRecord]| some.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    let mut together = 0;
    while let Some(row) = rows.next()? {
        let record: CallRecord = read(row)?;
        // What the file is not asked, or not exactly, is looked at here.
        if !query.matches(&record) {
            continue;
        }
        let moment = place::microsecond(record.at);
        if found.get(together).is_some_and(|it| place::microsecond(it.at) != moment) {
            newest_first(&mut found[together..]);
            together = found.len();
            if together >= query.limit {
                break;
            }
        }
        found.push(record);
    }
    newest_first(&mut found[together..]);
    found.truncate(query.limit);
    Ok(found)
}

pub(super) fn get(connection: &Connection, id: &RecordId) -> rusqlite::Result<Option<CallRecord>> {
    let mut statement = connection.prepare_cached("select record from call where spot = ?")?;
    let mut rows = statement.query(params![place::spot(id)])?;
    while let Some(row) = rows.next()? {
        let record: CallRecord = read(row)?;
        if record.id == *id {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    /// How the file would look for it.
    fn plan(query: &CallQuery) -> String {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(super::super::write::SCHEMA).expect("its tables");
        let (sql, values) = select(query);
        let mut plan = connection.prepare(&format!("explain query plan {sql}")).expect("a plan");
        let steps = plan.query_map(rusqlite::params_from_iter(&values), |row| row.get::<_, String>(3));
        steps.and_then(Iterator::collect::<Result<Vec<_>, _>>).expect("its steps").join("; ")
    }

    #[test]
    fn what_is_asked_of_a_key_or_a_change_is_found_by_it_whatever_else_is_asked() {
        let text = || Some("x".to_owned());
        let whole = || CallQuery {
            entity: text(),
            route: text(),
            since: Some(Timestamp::UNIX_EPOCH),
            status: Some((400, 499)),
            ..CallQuery::default()
        };
        let change = Some("0/12AB.3".to_owned());
        for query in [CallQuery { key: text(), ..whole() }, CallQuery { change, ..whole() }] {
            let all = plan(&query);
            assert!(all.contains("SEARCH call USING INTEGER PRIMARY KEY (rowid=?)"), "{all}");
            let (name, column) = if query.key.is_some() { ("key", "key") } else { ("change", "spot") };
            assert!(all.contains(&format!("INDEX call_{column} ({column}=?)")), "{all}");
            assert!(all.contains(&format!("further_{name} USING PRIMARY KEY ({name}=?)")), "{all}");
        }
    }

    #[test]
    fn what_is_rare_is_found_by_an_index_of_its_own() {
        let status = CallQuery { status: Some((400, 599)), ..CallQuery::default() };
        let class = CallQuery { class: Some("timeout".to_owned()), ..CallQuery::default() };
        let run = CallQuery { run: Some(3), ..CallQuery::default() };
        for (query, index) in [(status, "call_status"), (class, "call_class"), (run, "call_run")] {
            let all = plan(&query);
            assert!(all.contains(index), "{index} in {all}");
        }
    }
}
